"""What has code for the GPU of a platform, what says that it has none, and what is set where it helps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.plan import request
from jetson_containers.plan.plan import PlanOptions
from jetson_containers.resolver import solve
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package

TREE = ROOT_DIR / "packages"


def default(target: str, family: str) -> Package:
    """What a bare name means on a target."""
    return load(target).members(family)[0]


def text(package: Package) -> str:
    return (package.path / str(package.dockerfile)).read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "version", "provider"),
    [
        ("r36.4.3", "1.23.0", "CUDA"),
        ("r36.4.3,cu128", "1.23.0", "CUDA"),
        ("r38.2.0", "1.31.1", "CUDA"),
        ("r39.2.0", "1.31.1", "CUDA"),
        ("sbsa", "1.31.1", "CUDA"),
        ("gb10", "1.31.1", "CUDA"),
        ("x86_64", "1.31.1", "CUDA"),
        ("x86_64-cu129", "1.25.1", "CUDA"),
        ("x86_64,cu128,ubuntu22.04", "1.23.2", "CUDA"),
        ("x86_64,cpu", "1.25.1", "CPU"),
        ("sbsa,cu129", "1.25.1", "CPU"),
    ],
)
def test_onnxruntime_uses_the_gpu_where_a_build_has_its_code(target: str, version: str, provider: str) -> None:
    """A wheel where one has the GPU's code, a compile on JetPack 7, else a CPU build."""
    package = default(target, "onnxruntime")
    assert (package.version, package.build_args["ORT_PROVIDER"]) == (version, f"{provider}ExecutionProvider")
    assert bool(package.caution) == (target in ("sbsa", "gb10", "sbsa,cu129"))
    assert bool(package.artifacts) == target.startswith(("r38", "r39"))
    if package.artifacts:
        assert package.build_args["CUDA_ARCHITECTURES"] == ";".join(map(str, load(target).platform.sm))


@pytest.mark.parametrize(
    ("target", "version", "codes"),
    [
        ("r36.4.3", "4.8.1", "arch=compute_87,code=sm_87"),
        ("r38.2.0", "4.8.1", "arch=compute_110,code=sm_110"),
        ("r39.2.0", "4.8.1", "arch=compute_87,code=sm_87 arch=compute_110,code=sm_110"),
        ("x86_64-cu129", "4.8.5", None),
        ("x86_64,cpu", "4.8.5", None),
    ],
)
def test_faster_whisper_stands_on_a_ctranslate2_for_the_gpu(target: str, version: str, codes: str | None) -> None:
    """The wheel of CTranslate2 has CUDA 12 on x86_64 and none on Arm; elsewhere it is compiled for the GPUs."""
    chain = {package.family: package for package in solve.solve(load(target), ["faster-whisper"]).packages}
    assert chain["ctranslate2"].version == version
    assert chain["ctranslate2"].build_args.get("CUDA_GENCODE") == codes
    assert chain["onnxruntime"].name == default(target, "onnxruntime").name
    assert ("cuda-runtime" in chain) == (target != "x86_64,cpu")


@pytest.mark.parametrize(
    ("target", "unified"),
    [
        ("r36.4.3", True),
        ("r38.2.0", True),
        ("r39.2.0", True),
        ("sbsa", False),
        ("x86_64", False),
        ("x86_64-cu129", False),
    ],
)
def test_llama_cpp_spills_into_host_memory_on_jetsons_only(target: str, unified: bool) -> None:
    """GPU and CPU of a Jetson share their memory; a GPU with its own would get slow without a word."""
    found = [package for package in load(target).available.values() if package.family == "llama_cpp"]
    assert len(found) == 2
    assert {"GGML_CUDA_ENABLE_UNIFIED_MEMORY=" in text(package) for package in found} == {unified}


def test_llama_cpp_for_other_gpus_differs_in_nothing_else() -> None:
    """Both Dockerfiles have the same instructions but for that variable."""

    def instructions(name: str) -> list[str]:
        lines = (TREE / "llm/llama_cpp" / name).read_text().splitlines()
        return [line for line in lines if line and not line.startswith(("#", "ENV GGML_CUDA_ENABLE_UNIFIED_MEMORY"))]

    assert instructions("Dockerfile") == instructions("Dockerfile.discrete")


@pytest.mark.parametrize(
    ("target", "version"), [("r36.4.3", "4.13.0"), ("r38.2.0", "4.13.0"), ("r39.2.0", "4.14.0"), ("x86_64", "4.14.0")]
)
def test_opencv_has_a_version_with_networks_on_the_gpu_and_windows(target: str, version: str) -> None:
    """`-dnn` is made with cuDNN and GTK, and only where it is asked for."""
    chain = {package.family: package for package in solve.solve(load(target), [f"opencv:{version}-dnn"]).packages}
    assert {name: chain["opencv"].build_args[name] for name in ("WITH_CUDNN", "WITH_GTK")} == {
        "WITH_CUDNN": "ON",
        "WITH_GTK": "ON",
    }
    assert "cudnn" in chain
    assert chain["opencv"].artifacts
    assert "cudnn" in {need.family for need in chain["opencv"].artifacts.depends}
    assert default(target, "opencv").version == version
    assert "WITH_GTK" not in default(target, "opencv").build_args


def test_opencv_is_compiled_with_what_its_configuration_needs_for_openblas() -> None:
    """OpenBLAS's package has no lapacke.h, and without it OpenCV's configuration leaves OpenBLAS out."""
    installed = (TREE / "ml/opencv/Dockerfile.build").read_text().split()
    assert {"libopenblas-dev", "liblapacke-dev"} <= set(installed)


def test_torch_for_orin_on_jetpack_7_finds_the_libraries_it_is_linked_with() -> None:
    """cuDSS and NVIDIA's LAPACK are in no package of CUDA there; they come by their hashes."""
    package = load("r39.2.0").find("pytorch:2.12.0")
    lock = (package.path / "jetpack7/libraries.lock").read_text()
    assert "jetpack7/libraries.lock" in text(package)
    assert {"nvidia-cudss-cu13", "nvpl-lapack", "nvpl-blas"} <= set(re.findall(r"^([\w-]+)==", lock, re.MULTILINE))
    assert lock.count("--hash=sha256:") >= 3


@pytest.mark.parametrize("target", ["r35.4.1", "r36.4.3", "r38.2.0", "r39.2.0", "sbsa", "x86_64"])
def test_ollama_names_one_library_in_both_variables(target: str) -> None:
    """Ollama passes over a directory that differs from either; on JetPack 7 it looks for itself."""
    args = default(target, "ollama").build_args
    release = args["JETSON_JETPACK"]
    assert release == {"r35.4.1": "5", "r36.4.3": "6"}.get(target, "")
    assert args["OLLAMA_LLM_LIBRARY"] == (f"cuda_jetpack{release}" if release else "")
    assert (f"-jetpack{release}" in args["OLLAMA_ARCHIVES"]) == bool(release)


@pytest.mark.parametrize(
    ("target", "request_", "said"),
    [
        ("r39.2.0", "pytorch", "`pytorch:2.13.0`: its wheel has no code for Orin (SM 87)"),
        ("r38.2.0", "pytorch", ""),
        ("x86_64", "pytorch", ""),
        ("sbsa", "onnxruntime", "`onnxruntime:1.31.1`: its wheel has GPU code for SM 89, 90, 120 and 121 only"),
        ("sbsa,cu129", "onnxruntime", "`onnxruntime:1.25.1`: a CPU build"),
    ],
)
def test_plan_says_what_a_recipe_warns_of(target: str, request_: str, said: str) -> None:
    """A `caution` of a row stands among the notices of every plan with it."""
    catalog = load(target)
    wanted = request.Request(packages=(request_,))
    made = request.assemble(wanted, catalog.platform, lambda _platform: catalog, PlanOptions()).plans[0]
    notices = [notice for notice in made.notices if notice.startswith(f"`{request_}:")]
    assert [notice[: len(said)] for notice in notices] == ([said] if said else [])


def test_numba_is_installed_without_the_layer_whose_library_is_missing(tmp_path: Path) -> None:
    """The image has no TBB and gets OpenMP's library; the other layers stay, and numba-cuda comes where asked for."""
    layers = tmp_path / "place/numba/np/ufunc"
    layers.mkdir(parents=True)
    for name in ("tbbpool", "omppool", "workqueue"):
        (layers / f"{name}.cpython-311-x86_64-linux-gnu.so").touch()
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\ncase "$*" in\n*platlib*) echo {tmp_path}/place ;;\n*) echo "$*" >> {tmp_path}/log ;;\nesac\n'
    )
    python.chmod(0o755)
    env = {"PATH": f"{python.parent}:/usr/bin:/bin", "NUMBA_VERSION": "9.9", "NUMBA_CUDA": "0.8"}
    done = subprocess.run(
        ["bash", str(TREE / "ml/numba/install.sh")], env=env, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name.partition(".")[0] for file in layers.iterdir()) == ["omppool", "workqueue"]
    assert " libgomp1 " in (TREE / "ml/numba/Dockerfile").read_text()
    log = (tmp_path / "log").read_text()
    assert [Path(line.split()[-1]).name for line in log.splitlines()] == ["numba-9.9.lock", "numba-cuda-0.8.lock"]
