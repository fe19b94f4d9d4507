"""The old interface, `mlc_chat`, of JetPack 5's images."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm.runtimes.interface import Job, ServeOptions
from jetson_containers.llm.runtimes.mlc import devices
from tests.unit import mlc_options
from tests.unit.llm.runtimes.mlc.helpers import MLC, RUNTIME, job, prepared_by, target

if TYPE_CHECKING:
    from pathlib import Path


def test_mlc_old_interface_is_served_by_our_script() -> None:
    """The old interface is served by our own script."""
    service = RUNTIME.serve(job(on="orin-jp5"), ServeOptions(port=9000, host="0.0.0.0"))
    root = "/data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    assert service.argv[1:5] == (
        "/run/jetson-containers/drivers/mlc_old_server.py", root, "--model-lib",
        f"{root}/Llama-2-7b-chat-hf-q4f16_ft-cuda.so",
    )  # fmt: skip
    assert (service.model, service.health) == ("Llama-2-7b-chat-hf", "/health")


OLD_SWITCHES = [
    ("orin-jp5", "", "--use-cuda-graph --use-flash-attn-mqa"),
    ("orin-jp5", "O0", "--no-cutlass-attn --no-cutlass-norm --no-cublas"),
    ("orin-jp5", "O1", "--use-flash-attn-mqa"),
    ("orin-jp5", "cudagraph=1;cublas_gemm=1", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
    ("orin-jp5", "cutlass_attn=1;cutlass_norm=1;cublas_gemm=0;cudagraph=0", "--use-flash-attn-mqa --no-cublas"),
    ("xavier-jp5", "", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
    ("xavier-jp5", "O3", "--use-cuda-graph --no-cutlass-attn --no-cutlass-norm"),
]


@pytest.mark.parametrize(("on", "opt", "switches"), OLD_SWITCHES)
def test_mlc_opt_levels_become_switches_of_the_old_interface(on: str, opt: str, switches: str) -> None:
    """Levels become switches of the old interface."""
    argv = RUNTIME.steps(job(on=on, opt=opt))[1].argv
    assert " ".join(argv[argv.index("--use-cache") + 2 :]) == switches


OPTS = [
    ("", "O2", 0),
    ("O3", "O3", 0),
    ("o1", "O1", 0),
    ("flashinfer=0;cudagraph=1", "flashinfer=0;cudagraph=1", 0),
    ("ipc_allreduce_strategy=AUTO", "ipc_allreduce_strategy=AUTO", 0),
    ('"cutlass_attn=1;cutlass_norm=0;cublas_gemm=0;cudagraph=0"', "cutlass=1;cublas_gemm=0;cudagraph=0", 3),
    ("cutlass_attn=0;cutlass_norm=0;", "cutlass=0", 2),
    ("cutlass_attn=0;cutlass_norm=1", "cutlass=1", 3),
]


@pytest.mark.parametrize(("text", "translated", "notices"), OPTS)
def test_mlc_old_spellings_of_opt_are_translated(text: str, translated: str, notices: int) -> None:
    """Old spellings of --opt are translated."""
    value, said = devices.translate_opt(text)
    assert value == translated
    assert len(said) == notices
    assert mlc_options.problems(("mlc_llm", "compile", "x", "--opt", value, "-o", "y")) == []


def test_mlc_old_keys_of_overrides_reach_all_steps_translated() -> None:
    """Old keys of --overrides are translated and reach all steps."""
    asked = job("Mistral-7B-Instruct-v0.2", overrides="sliding_window=512;prefill_chunk_size=128")
    assert MLC.notices(asked) == ("--overrides: `sliding_window` is called `sliding_window_size` now",)
    _, configure, compiled = RUNTIME.steps(asked)
    assert "--sliding-window-size 512 --prefill-chunk-size 128" in shlex.join(configure.argv)
    assert "--overrides 'sliding_window_size=512;prefill_chunk_size=128'" in shlex.join(compiled.argv)
    assert "sliding_window_size=512;prefill_chunk_size=128" in shlex.join(
        RUNTIME.serve(asked, ServeOptions(port=1)).argv
    )


def test_mlc_serves_an_old_build_as_it_is() -> None:
    """An old build is served as it is."""
    source = "/data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    made = Job(
        source=source,
        name="Llama-2-7b-chat-hf-q4f16_ft",
        config=None,
        quantization="",
        target=target("orin-jp5"),
        prepared=True,
    )
    assert RUNTIME.check(made).ok
    assert RUNTIME.steps(made) == ()
    assert MLC.library(made) == f"{source}/Llama-2-7b-chat-hf-q4f16_ft-cuda.so"
    phone = Job(
        source=source,
        name="Llama-2-7b-chat-hf-q4f16_ft",
        config=None,
        quantization="",
        target=target("orin-jp5"),
        prepared=True,
        device="android",
    )
    assert "quantized already" in RUNTIME.check(phone).reason


def test_mlc_pipeline_builds_with_the_old_interface(tmp_path: Path) -> None:
    """The pipeline builds with the old interface."""
    runner, pipeline = prepared_by(tmp_path)
    pipeline.run(RUNTIME.steps(job(on="orin-jp5")))
    made = tmp_path / "data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"
    assert (made / "params/ndarray-cache.json").is_file()
    assert (made / "Llama-2-7b-chat-hf-q4f16_ft-cuda.so").is_file()
    assert (made.parent / "models/Llama-2-7b-chat-hf/config.json").is_file()
    pipeline.run(RUNTIME.steps(job(on="orin-jp5")))
    assert runner.ran == ["build"]
