"""A tiny model that has learnt its answers: quantized with each library on a CPU, kept, loaded again, asked over HTTP.

The images are built where they are missing: minutes, once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.platforms import detect

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Engine

ROOT = Path(__file__).resolve().parents[2]
LEARNT = "small computer with a GPU"

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]


@dataclass(frozen=True)
class Case:
    """A way to quantize. `method` is what the checkpoint says of itself, `largest` its share of the plain weights."""

    runtime: str
    quantization: str
    packages: tuple[str, ...]
    method: str
    largest: float

    def __str__(self) -> str:
        return f"{self.runtime}-{self.quantization}"


BITSANDBYTES = ("transformers", "accelerate", "bitsandbytes")
# One of each library's kinds; docs/verified.md records all of them. Embeddings and lm_head, a sixth of the tiny model,
# stay in 16 bits.
BUILT = [
    Case("bitsandbytes", "nf4", BITSANDBYTES, "bitsandbytes", 0.5),
    Case("bitsandbytes", "int8", BITSANDBYTES, "bitsandbytes", 0.7),
    Case("awq", "int4", ("llm-compressor",), "compressed-tensors", 0.5),
    Case("gptq", "int4", ("gptqmodel",), "gptq", 0.5),
]


def run(*argv: str, data: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = {
        **{key: value for key, value in os.environ.items() if "TOKEN" not in key},
        "JETSON_CONTAINERS_ALLOW_INSTALL": "1",
        "JETSON_CONTAINERS_DATA": str(data),
        "JETSON_CONTAINERS_LOGS": str(data.parent / "logs"),
    }
    done = subprocess.run(
        argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{argv} → {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    return done


def llm(*argv: str, data: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    # One thread each: matrices this small gain nothing from two, and on a busy machine threads wait for each other.
    return run("./jetson-containers", "llm", *argv, "--threads", "1", data=data, code=code)


@pytest.fixture(scope="module")
def data(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the tiny model, made by the image with llama.cpp."""
    if detect.detect().has_gpu:
        pytest.skip("cannot run here: this machine has a GPU, for which other images would be built")
    data = tmp_path_factory.mktemp("quantize") / "data"
    run("./build.sh", "llama_cpp", data=data)
    llm("quantize", "tiny", "--until", "make", data=data)
    return data


def test_unquantized_model_answers(data: Path) -> None:
    """What the others are compared with; its image is a part of theirs."""
    run("./build.sh", *BITSANDBYTES, data=data)
    answer = ask("transformers", "fp32", data)
    assert LEARNT in answer["answer"]


@pytest.mark.parametrize("case", BUILT, ids=str)
def test_quantized_model_answers_what_it_learnt(case: Case, data: Path) -> None:
    """A quantized model answers what it learnt."""
    run("./build.sh", *case.packages, data=data)
    prove(case, data)


def prove(case: Case, data: Path) -> None:
    """Quantize, look at what was made, ask it, and ask again without quantizing."""
    words = ("tiny", "--runtime", case.runtime, "--quantization", case.quantization, "--samples", "4")
    artifact = Path(llm("quantize", *words, data=data).stdout.strip())
    assert json.loads((artifact / "config.json").read_text())["quantization_config"]["quant_method"] == case.method
    assert weights(artifact) < case.largest * weights(data / "models/tiny-llama")
    answer = ask(case.runtime, case.quantization, data)
    assert LEARNT in answer["answer"]
    assert answer["artefact"] == f"/data/{artifact.relative_to(data)}"
    assert answer["image"].partition(":")[0] == case.packages[-1]


def ask(runtime: str, quantization: str, data: Path) -> dict[str, Any]:
    words = ("tiny", "--runtime", runtime, "--quantization", quantization, "--samples", "4")
    done = llm(
        "chat", *words, "--prompt", "What is a Jetson?", "--temperature", "0", "--max-tokens", "60", "--json",
        data=data,
    )  # fmt: skip
    assert "✓ quantize" not in done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def weights(checkpoint: Path) -> int:
    return sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (("--runtime", "vllm"), "needs a GPU"),
        (("--runtime", "lmdeploy"), "needs a GPU"),
        (("--runtime", "exllama"), "needs a GPU"),
        (("--runtime", "bitsandbytes", "--quantization", "int4"), "nf4"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_quantize_refuses_on_a_cpu_what_needs_a_gpu(wrong: tuple[str, ...], says: str, data: Path) -> None:
    """What a CPU cannot do is an error before anything starts."""
    done = llm("quantize", "tiny", *wrong, data=data, code=2)
    assert done.stderr.count("error:") == 1
    assert says in done.stderr


def test_checkpoint_that_cannot_be_read_is_one_error_with_the_log(data: Path) -> None:
    """The library's traceback is in the log; the error says which step failed and how to go on."""
    broken = data / "models" / "broken"
    shutil.copytree(data / "models/tiny-llama", broken)
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    done = llm("quantize", str(broken), "--runtime", "bitsandbytes", "--quantization", "nf4", data=data, code=1)
    assert done.stderr.count("error:") == 1
    assert "quantize" in done.stderr
    assert not (data / "models/bitsandbytes/broken-nf4").exists()
