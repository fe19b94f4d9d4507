"""Versions that belong together: what recipes tie, what their locks pin, and the check that looks into an image."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import JetsonError
from jetson_containers.resolver import solve
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TREE = ROOT_DIR / "packages"
CHECK = TREE / "shared/tests/requirements.py"

# `Requires-Dist` of vLLM's wheels (0.28.0 addb0ffd…, 0.19.1 71a87f46…) and requirements/cuda.txt of its archive
# (0.21.0 05ff89c3…).
VLLM: Mapping[str, Mapping[str, str]] = {
    "0.28.0": {"pytorch": "2.13.0", "flashinfer": "0.6.16.post3", "numba": "0.65.0", "torchvision": "0.28.0"},
    "0.21.0": {"pytorch": "2.11.0", "flashinfer": "0.6.8.post1", "numba": "0.65.0", "torchvision": "0.26.0"},
    "0.19.1": {"pytorch": "2.10.0", "flashinfer": "0.6.6", "numba": "0.61.2", "torchvision": "0.25.0"},
}
# Python packages that both locks of a row hold, as vLLM names them.
VLLM_PINS = {
    "0.28.0": {"apache-tvm-ffi": "0.1.11", "nvidia-cutlass-dsl": "4.6.2"},
    "0.21.0": {"apache-tvm-ffi": "0.1.9", "nvidia-cutlass-dsl": "4.4.2", "nvidia-cudnn-frontend": "1.18.0"},
    "0.19.1": {},
}
TARGETS = {
    "r36.4.3": "0.21.0", "r38.2.0": "0.28.0", "r39.2.0": "0.28.0", "sbsa": "0.28.0", "x86_64": "0.28.0",
    "x86_64-cu129": "0.19.1",
}  # fmt: skip


def pins(lock: Path) -> dict[str, str]:
    """The versions that a lock holds, by name; the last where it depends on the Python."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parametrize("request_", [("vllm", "flashinfer"), ("flashinfer", "vllm"), ("numba", "vllm")])
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_vllm_stands_on_the_versions_that_it_names(target: str, request_: tuple[str, ...]) -> None:
    """vLLM names one torch, FlashInfer and numba exactly; an image has these, whatever the order of the request."""
    chain = {package.family: package.version for package in solve.solve(load(target), request_).packages}
    named = VLLM[TARGETS[target]]
    assert chain["vllm"] == TARGETS[target]
    assert {family: chain[family] for family in named if family in chain} == {
        family: version for family, version in named.items() if family in chain
    }
    assert set(request_) | {"numba", "pytorch"} <= set(chain)


@pytest.mark.parametrize(
    ("target", "request_"),
    [
        ("x86_64-cu129", ("vllm:0.19.1", "numba:0.65.0")),
        ("r36.4.3", ("vllm", "numba:0.61.2")),
        ("r36.4.3", ("flashinfer", "pytorch:2.5")),
        ("r39.2.0", ("vllm", "pytorch:2.12.0")),
        ("x86_64-cpu", ("llm-compressor", "accelerate:1.15.0")),
    ],
)
def test_versions_that_pip_would_not_install_together_are_refused(target: str, request_: tuple[str, ...]) -> None:
    """A request for versions of which one excludes the other is refused."""
    with pytest.raises(JetsonError):
        solve.solve(load(target), request_)


@pytest.mark.parametrize("request_", [("llm-compressor",), ("accelerate", "llm-compressor", "gptqmodel")])
@pytest.mark.parametrize("target", ["r36.4.3", "r39.2.0", "sbsa", "x86_64-cpu"])
def test_llm_compressor_stands_on_the_newest_accelerate_that_it_takes(target: str, request_: tuple[str, ...]) -> None:
    """Its wheel 0.13.0 requires `accelerate<=1.14.0`; without it accelerate is the newest that there is."""
    chain = {package.family: package.version for package in solve.solve(load(target), request_).packages}
    assert chain["accelerate"] == "1.14.0"
    alone = {package.family: package.version for package in solve.solve(load(target), ["accelerate"]).packages}
    assert alone["accelerate"] == "1.15.0"


@pytest.mark.parametrize("vllm", sorted(VLLM))
def test_flashinfer_lock_holds_the_pins_of_its_vllm(vllm: str) -> None:
    """Whichever of the two is installed last, what both bring is what vLLM names."""
    lock = pins(TREE / f"ml/flashinfer/flashinfer-{VLLM[vllm]['flashinfer']}.lock")
    own = pins(TREE / f"llm/vllm/vllm-{vllm}.lock")
    for name, version in VLLM_PINS[vllm].items():
        assert lock[name] == version
        assert own.get(name, version) == version


def test_libraries_of_two_locks_that_meet_in_an_image_are_one_version() -> None:
    """numba-cuda and FlashInfer's nccl4py use one cuda-core."""
    numba = pins(next((TREE / "ml/numba").glob("numba-cuda-*.lock")))
    assert numba["cuda-core"] == pins(TREE / "ml/flashinfer/flashinfer-0.6.16.post3.lock")["cuda-core"]


@pytest.mark.parametrize(
    ("lock", "datasets", "newest"),
    [
        ("auto_awq/auto_awq-0.2.9.lock", "5.0.1", (2026, 6, 0)),
        ("auto_gptq/auto_gptq-0.7.1.lock", "3.1.0", (2024, 9, 0)),
        ("llm-compressor/llmcompressor-0.13.0.lock", "5.0.1", (2026, 6, 0)),
    ],
)
def test_lock_with_datasets_holds_the_fsspec_that_it_takes(lock: str, datasets: str, newest: tuple[int, ...]) -> None:
    """datasets bounds fsspec, and the hub's client, which is below, brings a newer one."""
    text = (TREE / "llm" / lock).read_text()
    assert f"datasets=={datasets}" in text
    found = re.search(r"^fsspec==([\d.]+)", text, re.MULTILINE)
    assert found
    assert tuple(map(int, found[1].split("."))) <= newest


# The check that looks into an image ---------------------------------------------------------------------------------


def look(site: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECK), *names],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )


def distribution(site: Path, name: str, version: str, *requires: str) -> None:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_requirements_check_finds_a_version_that_is_excluded(tmp_path: Path) -> None:
    """A requirement that the image breaks is an error that names both sides."""
    distribution(tmp_path, "zz-server", "0.28.0", "zz-kernels==0.6.16.post3", "zz-left-out")
    distribution(tmp_path, "zz-kernels", "0.6.11")
    done = look(tmp_path, "zz-server")
    assert done.returncode == 1
    assert "zz-server 0.28.0 wants zz-kernels==0.6.16.post3, and 0.6.11 is there" in done.stderr
    assert "without zz-left-out" in done.stdout


@pytest.mark.parametrize(
    "requirement",
    [
        "zz-kernels==2.13.0",  # a local part does not count
        "zz-kernels>=2.12,<2.14",
        "zz-kernels==9; python_version < '3'",
        "zz-kernels==9; extra == 'more'",
        "zz-kernels",
    ],
)
def test_requirements_check_accepts_what_pip_would(tmp_path: Path, requirement: str) -> None:
    """A requirement that holds, or is for another Python or an extra, is none that breaks."""
    distribution(tmp_path, "zz-server", "1.0", requirement)
    distribution(tmp_path, "zz-kernels", "2.13.0+cu130")
    done = look(tmp_path, "zz-server", "zz-not-there")
    assert (done.returncode, done.stderr) == (0, "")
