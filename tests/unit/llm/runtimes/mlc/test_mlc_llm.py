"""The interface of today, `mlc_llm`: the server, its memory and its limits."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.runtimes.interface import ServeOptions, Target
from jetson_containers.llm.runtimes.mlc import mlc_llm
from tests.unit import mlc_options
from tests.unit.llm.runtimes.mlc.helpers import CONFIGS, MLC, RUNTIME, job, target

FIRST_SERVE = "usage: MLC LLM Serve CLI [--mode M] [--model-lib-path P] [--max-batch-size N] [--max-total-seq-length N]"


TODAYS_SERVE = "usage: MLC LLM Serve CLI [--mode M] [--model-lib LIB] [--overrides O] [--api-key K]"


@pytest.mark.parametrize(
    ("version", "printed", "spelling"),
    [
        ("0.20.0", "", "today"),
        ("", "", "today"),
        ("0.1.1", "", "first"),
        ("0.1.1", TODAYS_SERVE, "today"),
        ("0.20.0", FIRST_SERVE, "first"),
    ],
)
def test_mlc_server_gets_its_limits_in_the_spelling_of_the_image(version: str, printed: str, spelling: str) -> None:
    """The server gets its limits in the image's spelling."""
    probed = {"mlc_llm serve --help": printed} if printed else {}
    where = Target(platform=target("orin-jp6").platform, versions={"mlc": version} if version else {}, probed=probed)
    argv = RUNTIME.serve(job(target=where, context=2048, max_batch=2), ServeOptions(port=9000)).argv
    assert mlc_options.problems(argv) == []
    text = shlex.join(argv)
    if spelling == "first":
        assert (
            "--max-batch-size 2 --max-total-seq-length 4096 --prefill-chunk-size 1024 --gpu-memory-utilization 0.85"
            in text
        )
        assert "--model-lib-path" in text
    else:
        limits = "max_num_sequence=2;max_total_seq_length=4096;context_window_size=2048;prefill_chunk_size=1024"
        assert f"--overrides '{limits};gpu_memory_utilization=0.85'" in text


@pytest.mark.parametrize(("batch", "mode"), [(1, "interactive"), (4, "local"), (16, "server")])
def test_mlc_server_mode_follows_the_batch(batch: int, mode: str) -> None:
    """The server's mode follows the batch."""
    assert f"--mode {mode}" in shlex.join(RUNTIME.serve(job(max_batch=batch), ServeOptions(port=9000)).argv)


@pytest.mark.parametrize("on", ["orin-jp5", "orin-jp6"])
def test_mlc_serves_only_what_runs_here(on: str) -> None:
    """Only what runs here is served."""
    for place in ("windows", "metal", "iphone", "android", "webgpu"):
        with pytest.raises(UsageError, match="does not run on this machine"):
            RUNTIME.serve(job(on=on, device=place), ServeOptions(port=9000))
    assert "--device vulkan --model-lib" in shlex.join(
        RUNTIME.serve(job(device="vulkan"), ServeOptions(port=9000)).argv
    )


def test_mlc_server_key_is_never_in_the_argv() -> None:
    """A key is never in the argv."""
    plain = RUNTIME.serve(job(), ServeOptions(port=9000))
    assert plain.argv[:2] == ("mlc_llm", "serve")
    assert plain.health == "/v1/models"  # it listens only when the model is loaded
    guarded = RUNTIME.serve(job(), ServeOptions(port=9000, api_key=True))
    assert guarded.argv[1].endswith("/drivers/mlc_serve.py")
    assert guarded.argv[2:] == plain.argv[2:]
    assert guarded.health == "/health"
    assert "--api-key" not in guarded.argv
    assert plain.model == guarded.model == RUNTIME.artifact(job())


def shape_of(model: str, **options: Any) -> tuple[int, int, int]:
    planned = mlc_llm.shape(job(model, **options))
    return (0 if planned.window else planned.context, planned.window, planned.chunk)


SHAPES = [
    ("Llama-2-7b-chat-hf", {}, (4096, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"context": 512}, (512, 0, 512)),
    ("Llama-2-7b-chat-hf", {"context": 8192}, (4096, 0, 1024)),  # its training ends there
    ("Llama-2-7b-chat-hf", {"prefill_chunk": 256}, (4096, 0, 256)),
    ("Llama-2-7b-chat-hf", {"device": "webgpu"}, (2048, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"device": "iphone"}, (768, 0, 768)),
    ("Llama-2-7b-chat-hf", {"device": "android"}, (768, 0, 768)),
    ("Llama-2-7b-chat-hf", {"device": "android", "context": 1024}, (1024, 0, 1024)),
    ("Llama-2-7b-chat-hf", {"overrides": "context_window_size=1024;prefill_chunk_size=128"}, (1024, 0, 128)),
    ("Qwen2.5-1.5B-Instruct", {"context": 8192}, (8192, 0, 1024)),
    ("Mistral-7B-Instruct-v0.2", {}, (4096, 0, 1024)),  # its config has no window
    ("Mistral-7B-Instruct-v0.2", {"device": "iphone"}, (0, 1024, 128)),
    ("Mistral-7B-Instruct-v0.2", {"device": "android"}, (0, 1024, 128)),
    ("Mistral-7B-Instruct-v0.2", {"device": "webgpu"}, (2048, 0, 1024)),
    ("Mistral-7B-Instruct-v0.2", {"sliding_window": 2048}, (0, 2048, 1024)),
]


@pytest.mark.parametrize(("model", "options", "expected"), SHAPES)
def test_mlc_memory_is_planned_as_documented(
    model: str, options: dict[str, Any], expected: tuple[int, int, int]
) -> None:
    """Memory is planned as documented."""
    assert shape_of(model, **options) == expected


def test_mlc_model_with_a_window_uses_it() -> None:
    """A model with a window of its own uses it."""
    first = from_hf({**CONFIGS["Mistral-7B-Instruct-v0.2"], "sliding_window": 4096})
    assert shape_of("Mistral-7B-Instruct-v0.2", config=first) == (0, 4096, 1024)
    assert shape_of("Mistral-7B-Instruct-v0.2", config=first, context=2048) == (0, 2048, 1024)
    build = shlex.join(RUNTIME.steps(job("Mistral-7B-Instruct-v0.2", "orin-jp5", config=first))[1].argv)
    assert "--max-seq-len 4096 --sliding-window 4096 --prefill-chunk-size 1024" in build


def test_mlc_notes_a_context_beyond_the_model_or_the_documentation() -> None:
    """A context beyond the model or the documentation is noted."""
    assert "limited to that" in MLC.notices(job(context=8192))[0]
    assert "gives `iphone` a context of 768" in MLC.notices(job(device="iphone", context=2048))[0]
