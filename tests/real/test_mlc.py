"""MLC without a GPU, for real: a tiny model is made, converted, compiled for the CPU, asked and served, in containers.

The sources of MLC come from GitHub and its Rust crates from their registry. Where these cannot be reached, the tests
run with an image that was built here before, and are skipped where there is none. A compile takes minutes of a CPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.engine.interface import Engine

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(ROOT / "jetson-containers")
SOURCES = "https://github.com/mlc-ai/mlc-llm"
QUESTION = "<|user|> What is a Jetson?<|assistant|>"  # MLC has no template of the tiny model's own roles

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(3600)]


def run(*argv: str, data: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [COMMAND, *argv], cwd=data.parent, env=environment(data), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{argv} → {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done


def environment(data: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if "TOKEN" not in key}
    return {**kept, "JETSON_CONTAINERS_DATA": str(data), "JETSON_CONTAINERS_LOGS": str(data.parent / "logs")}


def local_image() -> str:
    """The image of MLC for this machine's CPU that is here already; empty where there is none."""
    words = [str(ROOT / "autotag"), "--target", "cpu", "--disable", "registry,build", "mlc"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def sources_answer() -> bool:
    done = subprocess.run(
        ["git", "ls-remote", "--exit-code", SOURCES, "HEAD"], env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode == 0


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """The image with MLC for the CPU, built where it is not there and its sources are."""
    assert engine.capabilities
    if found := local_image():
        return found
    if not sources_answer():
        pytest.skip(f"cannot run here: no image of mlc for the CPU is here, and {SOURCES} does not answer")
    env = {**os.environ, "JETSON_CONTAINERS_ALLOW_INSTALL": "1"}
    words = [str(ROOT / "build.sh"), "mlc", "--target", "cpu"]
    subprocess.run(words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=True)
    return local_image()


@pytest.fixture(scope="module")
def data(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which the tiny model has been made once."""
    data = tmp_path_factory.mktemp("mlc") / "data"
    run("llm", "quantize", "tiny", "--runtime", "mlc", "--image", image, "--until", "make", data=data)
    return data


def chat(image: str, data: Path, mode: str, *more: str) -> subprocess.CompletedProcess[str]:
    return run(
        "llm", "chat", "tiny", "--runtime", "mlc", "--image", image, "--quantization", mode, "--conv-template", "LM",
        "--temperature", "0", "-p", QUESTION, *more, data=data,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["q4f16_1", "q4f32_1"])
def test_mlc_on_a_cpu_answers_what_the_model_learned(image: str, data: Path, mode: str) -> None:
    """Converted, configured, compiled and asked; the second time nothing is made again, and the answer is the same."""
    first = chat(image, data, mode, "--json")
    answer = json.loads(first.stdout)
    assert "small computer with a GPU" in answer["answer"]
    assert (answer["runtime"], answer["quantization"]) == ("mlc", mode)
    assert answer["decode_tokens_per_s"] > 0
    assert (data / f"models/mlc/dist/libs/tiny-llama-{mode}-cpu.so").is_file()
    again = chat(image, data, mode, "--json")
    assert "✓ compile" not in again.stderr
    assert "✓ convert" not in again.stderr
    assert json.loads(again.stdout)["answer"] == answer["answer"]


@pytest.fixture
def served(image: str, data: Path) -> Iterator[str]:
    """A detached server; ends with the test."""
    words = ["--runtime", "mlc", "--image", image, "--quantization", "q4f16_1", "--conv-template", "LM"]
    done = run("llm", "serve", "tiny", *words, "--detach", "--json", data=data)
    answer = json.loads(done.stdout)
    yield answer["url"]
    subprocess.run(["docker", "rm", "-f", answer["name"]], capture_output=True, check=True)


def test_mlc_on_a_cpu_serves_completions(served: str) -> None:
    """MLC's own server answers with the protocol of OpenAI."""
    with urllib.request.urlopen(f"{served.rstrip('/')}/models", timeout=60) as response:
        model = json.load(response)["data"][0]["id"]
    body = json.dumps({"model": model, "prompt": QUESTION, "max_tokens": 32, "temperature": 0}).encode()
    asked = urllib.request.Request(
        f"{served.rstrip('/')}/completions", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(asked, timeout=300) as response:
        text = json.load(response)["choices"][0]["text"]
    assert "small computer" in text
