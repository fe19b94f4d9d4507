"""From a model's name to the exact commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers import llm
from jetson_containers.errors import UsageError
from jetson_containers.runtimes.base import ChatOptions
from jetson_containers.runtimes.llama_cpp import LlamaCpp

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    model = tmp_path / "data" / "models" / "mine"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model.parent / "ready.gguf").write_bytes(b"GGUF")
    (model.parent / "empty").mkdir()
    return tmp_path / "data"


def test_tiny_is_made_on_the_spot(data: Path) -> None:
    source, steps, name = llm.source_of("tiny", data)
    assert (source, name) == ("/data/models/tiny-llama", "tiny-llama")
    assert [step.argv for step in steps] == [("make-tiny-model", "{output}")]


@pytest.mark.parametrize("spelling", ["{data}/models/mine", "{data}/models/mine/", "/data/models/mine"])
def test_a_directory_below_data_is_used_where_it_is(data: Path, spelling: str) -> None:
    assert llm.source_of(spelling.format(data=data), data) == ("/data/models/mine", (), "mine")


@pytest.mark.parametrize(
    ("model", "name"),
    [("Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5-0.5B-Instruct"), ("org/model@refs/pr/1", "model"), ("a/b@v1.0", "b")],
)
def test_a_hub_name_is_left_to_the_downloader(data: Path, model: str, name: str) -> None:
    assert llm.source_of(model, data) == (model, (), name)


def test_only_the_download_gets_network_and_token() -> None:
    for step in LlamaCpp().prepare("/data/models/huggingface/x", "x", "Q4_K_M"):
        assert (step.network, step.token) == (False, False)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/etc", "outside the data directory"),
        ("{data}/models/empty", "no config.json"),
        ("nonsense", "no model `nonsense`"),
        ("a/b/c/d", "no model"),
    ],
)
def test_what_is_no_model_is_said(data: Path, model: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        llm.source_of(model.format(data=data), data)


def test_llama_cpp_converts_once_and_quantizes_from_that() -> None:
    convert, quantize = LlamaCpp().prepare("/data/models/mine", "mine", "q4_k_m")
    assert convert.argv == (
        "convert_hf_to_gguf.py", "/data/models/mine", "--outfile", "{output}", "--outtype", "f16",
    )  # fmt: skip
    assert quantize.argv == ("llama-quantize", "/data/models/llama_cpp/mine/mine-F16.gguf", "{output}", "Q4_K_M")
    assert quantize.output == "/data/models/llama_cpp/mine/mine-Q4_K_M.gguf"


def test_a_gguf_file_needs_no_preparation(data: Path) -> None:
    source, _, _ = llm.source_of(str(data / "models" / "ready.gguf"), data)
    assert LlamaCpp().prepare(source, "ready", "Q4_K_M") == ()


def test_an_unknown_quantization_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        LlamaCpp().prepare("/data/x", "x", "q4f16_1")
    assert "Q4_K_M" in (caught.value.hint or "")


def test_chat_always_sets_the_context() -> None:
    argv = LlamaCpp().chat("/data/a.gguf", ChatOptions("hi", 8, 512, threads=2, seed=1))
    assert argv == (
        "llama-cli", "-m", "/data/a.gguf", "-c", "512", "-n", "8", "--single-turn", "--simple-io",
        "--no-display-prompt", "-p", "hi", "-t", "2", "-s", "1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("output", "speed"),
    [
        ("blah\n[ Prompt: 120.5 t/s | Generation: 33.2 t/s ]\n", 33.2),
        ("eval time = 10.0 ms / 5 runs ( 2.0 ms per token, 500.00 tokens per second)", 500.0),
        ("nothing", None),
    ],
)
def test_the_speed_is_the_runtimes_own_figure(output: str, speed: float | None) -> None:
    assert LlamaCpp().tokens_per_second(output) == speed


def test_an_unknown_runtime_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        llm.runtime_named("mlc3")
    assert "llama_cpp" in (caught.value.hint or "")


def test_the_answer_is_cut_out_of_the_banner() -> None:
    output = "build : b1\n\n> What?\n A small computer.\n\n[ Prompt: 1.0 t/s | Generation: 2.0 t/s ]\n\nExiting..."
    assert LlamaCpp().answer(output, "What?") == "A small computer."
    assert LlamaCpp().answer("plain text\n", "What?") == "plain text"
