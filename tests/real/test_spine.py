"""The whole way, for real: recipes → image → autotag → run → a language model that answers.

On a machine where nothing is built yet this compiles llama.cpp once (minutes); afterwards everything is reused.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.engine.interface import BuildRequest
from tests.real.conftest import LABEL, PREFIX, SESSION
from tests.unit.container_scripts.test_image_check import linked

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Engine

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("build-essential", "python", "cmake", "numpy", "huggingface_hub", "llama_cpp", "llm-tools")

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]


def run(*argv: str, data: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "JETSON_CONTAINERS_ALLOW_INSTALL": "1"}
    if data is not None:
        env["JETSON_CONTAINERS_DATA"] = str(data)
    done = subprocess.run(
        argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        pytest.fail(f"{' '.join(argv)} → {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}")
    return done


@pytest.fixture(scope="module")
def built(engine: Engine) -> str:
    """All first families, built by the public command; the name of the image with llama.cpp."""
    for family in FAMILIES:
        run("./build.sh", family)
    return run("./autotag", "--disable", "registry,build", "llama_cpp").stdout.strip()


def test_second_build_builds_nothing_and_says_so(built: str) -> None:
    """A second build builds nothing and says so."""
    for family in FAMILIES:
        done = run("./build.sh", family)
        assert "nothing to build" in done.stderr, family
        assert done.stdout == ""


def test_autotag_answers_with_one_line(built: str) -> None:
    """autotag answers with one line."""
    done = run("./autotag", "--disable", "registry,build", "llama_cpp")
    assert done.stdout == built + "\n"
    assert built.startswith("llama_cpp:0.3.36-")


def test_autotag_finds_one_image_for_two_names(built: str) -> None:
    """One image can hold what two names ask for."""
    done = run("./autotag", "--disable", "registry,build", "numpy", "llama_cpp")
    image = done.stdout.strip()
    labels = json.loads(run("docker", "inspect", "--format", "{{json .Config.Labels}}", image).stdout)
    names = {name.partition(":")[0] for name in json.loads(labels["io.jetson-containers.packages"])}
    assert {"numpy", "llama_cpp"} <= names


@pytest.mark.parametrize(
    "program",
    ["llama-cli", "llama-quantize", "llama-server", "llama-bench", "convert_hf_to_gguf.py", "huggingface-downloader"],
)
def test_image_holds_the_programs(built: str, program: str) -> None:
    """The programs are in the image."""
    done = run("./run.sh", "--network", "none", built, program, "--help", check=False)
    assert done.returncode in {0, 1}, done.stderr
    assert "usage" in (done.stdout + done.stderr).lower()


def test_runtime_image_holds_no_compiler(built: str) -> None:
    """The runtime image holds no compiler."""
    done = run("./run.sh", built, "sh", "-c", "command -v c++ cmake nvcc; test -d /tmp/llama_build", check=False)
    assert done.returncode != 0
    assert done.stdout == ""


def test_stages_remember_that_their_tests_passed(built: str) -> None:
    """Every stage remembers that its tests passed."""
    labels = json.loads(run("docker", "inspect", "--format", "{{json .Config.Labels}}", built).stdout)
    tests = json.loads(labels["io.jetson-containers.tests"])
    assert tests["status"] in {"passed", "skipped"}
    for name, record in tests["packages"].items():
        assert record["status"] in {"passed", "skipped", "none"}, name


def test_image_holds_no_secret_and_no_name_of_the_machine(built: str) -> None:
    """No secret and no name of the building machine is in the image."""
    env = json.loads(run("docker", "inspect", "--format", "{{json .Config.Env}}", built).stdout)
    names = {entry.partition("=")[0] for entry in env}
    assert not names & {"PIP_CERT", "SSL_CERT_FILE", "PIP_FIND_LINKS", "PIP_INDEX_URL", "HTTP_PROXY", "http_proxy"}
    found = run("./run.sh", "--network", "none", built, "sh", "-c", "ls /run/jetson /dev/jetson", check=False)
    assert found.stdout == ""


def test_tiny_model_is_quantized_and_answers(built: str, tmp_path: Path) -> None:
    """A tiny model is quantized and answers."""
    data = tmp_path / "data"
    argv = (
        "./jetson-containers",
        "llm",
        "chat",
        "tiny",
        "--image",
        built,
        "--json",
        "--seed",
        "1",
        "-p",
        "Who are you?",
    )
    first = run(*argv, data=data)
    answer = json.loads(first.stdout)
    assert answer["quantization"] == "Q4_K_M"
    assert answer["tokens_per_s"] > 0
    assert answer["answer"]
    made = data / "models" / "llama_cpp" / "tiny-llama"
    full, quantized = made / "tiny-llama-F16.gguf", made / "tiny-llama-Q4_K_M.gguf"
    assert quantized.read_bytes()[:4] == b"GGUF"
    assert quantized.stat().st_size < 0.6 * full.stat().st_size
    before = quantized.stat().st_mtime_ns
    second = run(*argv, data=data)
    assert second.stderr.count("already done") == 3
    assert quantized.stat().st_mtime_ns == before


def test_missing_model_is_one_clear_error(built: str) -> None:
    """A missing model is one clear error."""
    done = run("./jetson-containers", "llm", "chat", "no-such-model", "--image", built, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("error:") == 1


def test_test_checks_the_image_without_a_gpu(built: str, engine: Engine, tmp_path: Path) -> None:
    """The image that was built is whole; with a library whose neighbour is gone it is not."""
    said = json.loads(run("./jetson-containers", "test", built, "--json").stdout)
    assert (said["problems"], said["sm"]) == ([], [])
    assert said["linked_files"] > 20
    linked(tmp_path / "libdead.so", needed=("libgone.so",), runpath="/build/tree")
    broken = f"{PREFIX}/broken:1"
    text = f"FROM {built}\nCOPY libdead.so /opt/dead/\n"
    engine.build(
        BuildRequest(context=tmp_path, dockerfile=text, tag=broken, labels={LABEL: SESSION}), lambda _line: None
    )
    done = run("./jetson-containers", "test", broken, "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["problems"]) == (1, ["/opt/dead/libdead.so needs libgone.so"])
