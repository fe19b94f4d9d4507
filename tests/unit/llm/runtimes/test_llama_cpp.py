"""llama.cpp's commands and verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from jetson_containers.llm.models import config
from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from jetson_containers.platforms import detect
from tests.unit.llm.fakes import CPU

ORIN = detect.parse_target("orin-nx-16gb,r36.4.3")


NEW_HELP = "-ngl, --gpu-layers, --n-gpu-layers N  max layers, 'auto', or 'all' (default: auto)\n-lm, --load-mode MODE"


OLD_HELP = "-ngl, --n-gpu-layers N  number of layers to store in VRAM\n--no-mmap  do not memory-map model"


def job(**given: Any) -> Job:
    values: dict[str, Any] = {
        "source": "/data/models/mine", "name": "mine", "config": None, "quantization": "Q4_K_M",
        "target": Target(platform=CPU, device="cpu"), "context": 512,
    }  # fmt: skip
    return Job(**{**values, **given})


def test_llama_cpp_converts_once_and_quantizes_from_that() -> None:
    """Conversion happens once, and quantization starts from its result."""
    convert, quantize = LlamaCpp().steps(job(quantization="q4_k_m"))
    assert convert.argv == (
        "convert_hf_to_gguf.py", "/data/models/mine", "--outfile", "{output}", "--outtype", "f16",
    )  # fmt: skip
    assert convert.intermediate
    assert quantize.argv == ("llama-quantize", "/data/models/llama_cpp/mine/mine-F16.gguf", "{output}", "Q4_K_M")
    assert quantize.output == LlamaCpp().artifact(job()) == "/data/models/llama_cpp/mine/mine-Q4_K_M.gguf"


def test_llama_cpp_sixteen_bits_are_an_artifact_of_their_own() -> None:
    """Sixteen bits are an artifact of their own."""
    (convert,) = LlamaCpp().steps(job(quantization="F16"))
    assert not convert.intermediate


def test_llama_cpp_gguf_file_needs_no_preparation() -> None:
    """A GGUF file needs no preparation."""
    ready = job(source="/data/models/x.gguf", prepared=True)
    assert LlamaCpp().steps(ready) == ()
    assert LlamaCpp().artifact(ready) == "/data/models/x.gguf"


def test_llama_cpp_steps_get_no_network() -> None:
    """No step gets network."""
    assert not any(step.network for step in LlamaCpp().steps(job()))


def test_llama_cpp_server_always_gets_its_context_and_batch() -> None:
    """The server always gets its context and batch."""
    service = LlamaCpp().serve(job(max_batch=2), ServeOptions(port=8080, threads=2))
    assert service.argv == (
        "llama-server", "-m", "/data/models/llama_cpp/mine/mine-Q4_K_M.gguf", "--alias", "mine", "-c", "1024", "-np",
        "2", "-ub", "512", "--host", "127.0.0.1", "--port", "8080", "-t", "2",
    )  # fmt: skip
    assert service.key_env == "LLAMA_API_KEY"


@pytest.mark.parametrize(
    ("said", "expected"),
    [(NEW_HELP, ("--load-mode", "none")), (OLD_HELP, ("-ngl", "99", "--no-mmap")), ("", ("--port", "8080"))],
)
def test_llama_cpp_options_are_spelled_as_the_image_has_them(said: str, expected: tuple[str, ...]) -> None:
    """Options are spelled as the image has them."""
    target = Target(platform=ORIN, device="cuda", probed={"llama-server --help": said})
    argv = LlamaCpp().serve(job(target=target), ServeOptions(port=8080)).argv
    assert argv[-len(expected) :] == expected


def test_llama_cpp_unknown_quantization_lists_the_known_ones() -> None:
    """An unknown quantization lists the known ones."""
    verdict = LlamaCpp().check(job(quantization="q4f16_1"))
    assert not verdict.ok
    assert "Q4_K_M" in verdict.instead


def config_of(model_type: str, method: str = "") -> config.ModelConfig:
    quantized = config.Quantized(method=method, bits=4, group=128) if method else None
    return config.ModelConfig(
        architecture="",
        model_type=model_type,
        layers=2,
        hidden=64,
        intermediate=128,
        heads=4,
        kv_heads=4,
        head_dim=16,
        vocab=100,
        max_position=4096,
        quantized=quantized,
    )


@pytest.mark.parametrize(
    ("model_type", "method", "says"),
    [("llama", "", ""), ("internlm", "", "does not know"), ("llama", "gptq", ""), ("llama", "awq", "cannot read")],
)
def test_llama_cpp_refuses_what_its_converter_cannot_read(model_type: str, method: str, says: str) -> None:
    """What the converter cannot read is refused with what can read it."""
    verdict = LlamaCpp().check(job(target=Target(platform=ORIN), config=config_of(model_type, method)))
    assert (verdict.ok, says in verdict.reason) == (not says, True)
    assert verdict.ok or verdict.instead.startswith("--runtime ")


def test_llama_cpp_tries_an_architecture_newer_than_the_table_with_a_note() -> None:
    """An architecture newer than the table is tried, with a note."""
    new = job(config=config_of("llama9"))
    assert LlamaCpp().check(new).ok
    assert "llama9" in " ".join(LlamaCpp().notices(new))
    assert LlamaCpp().notices(job(config=config_of("llama"))) == ()
