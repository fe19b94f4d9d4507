"""CUDA from NVIDIA's wheels: when it is chosen, what its locks hold, and how it is laid out."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from jetson_containers.platforms import detect, overrides
from jetson_containers.recipes import catalog, locks
from jetson_containers.resolver.solve import solve
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from jetson_containers.recipes.catalog import Catalog

TREE = ROOT_DIR / "packages"
# What pip asks of markers on the machines that these wheels are for.
MACHINES: tuple[dict[str, str], ...] = (
    {"sys_platform": "linux", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_machine": "aarch64"},
    {"sys_platform": "win32", "platform_machine": "AMD64"},
)
RELEASES = ("13.0", "13.1", "13.2", "13.3", "13.4", "13.5")


@cache
def load(target: str, source: str) -> Catalog:
    return catalog.load([TREE], overrides.with_cuda_source(detect.parse_target(target), source, "test"))


@cache
def wheels() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wheels", TREE / "shared/cuda/wheels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def chosen(target: str, source: str, *requests: str) -> dict[str, str]:
    """The versions of CUDA's families in an image and in what its packages are compiled on."""
    found = solve(load(target, source), requests)
    members = [*found.packages, *(package for closure in found.build_closures.values() for package in closure)]
    return {
        package.family: package.version or ""
        for package in members
        if package.family in {"cuda", "cuda-runtime", "cudnn", "nccl"}
    }


@pytest.mark.long
@pytest.mark.parametrize("target", ["x86_64,cu130", "sbsa,cu130", "r38.2.0", "x86_64,cu130,debian12"])
def test_cuda_comes_from_wheels_where_the_setting_says_so(target: str) -> None:
    """The setting chooses for an image and for everything that is compiled for it; otherwise it is apt."""
    requests = ("llama_cpp", "cudnn", "nccl")
    assert chosen(target, "wheels", *requests) == {
        "cuda": "13.0-wheels",
        "cuda-runtime": "13.0-wheels",
        "cudnn": "9.12.0.46-wheels",
        "nccl": "2.27.7-wheels",
    }
    assert chosen(target, "apt", *requests) == {
        "cuda": "13.0",
        "cuda-runtime": "13.0",
        "cudnn": "9.12.0.46",
        "nccl": "2.27.7",
    }


@pytest.mark.parametrize("request_", ["cuda:13.0-wheels", "cuda-runtime:13.0-wheels"])
def test_cuda_that_is_named_brings_its_other_half_from_the_same_source(request_: str) -> None:
    """One of the two by name is enough: a toolkit never stands on the libraries of the other source."""
    found = chosen("x86_64,cu130", "apt", request_, "llama_cpp")
    assert (found["cuda"], found["cuda-runtime"]) == ("13.0-wheels", "13.0-wheels")
    found = chosen("x86_64,cu130", "wheels", request_.replace("-wheels", ""), "llama_cpp")
    assert (found["cuda"], found["cuda-runtime"]) == ("13.0", "13.0")


@pytest.mark.parametrize("target", ["x86_64,cu134", "sbsa,cu133", "x86_64,cu130,debian13", "x86_64,ubuntu26.04"])
def test_cuda_comes_from_wheels_where_there_is_nothing_else(target: str) -> None:
    """NVIDIA's apt repository has no such release for the distribution, or none whose key is known."""
    release = str(detect.parse_target(target).cuda)
    assert chosen(target, "apt", "cuda")["cuda"] == f"{release}-wheels"


@pytest.mark.parametrize(
    ("target", "source", "version"),
    [
        ("x86_64,cu134", "apt", "2.29.7-wheels"),  # NVIDIA's apt repository has none for it
        ("r39.2.0", "apt", "2.29.7"),
        ("r39.2.0", "wheels", "2.29.7-wheels"),
        ("sbsa,cu131", "wheels", "2.27.7-wheels"),
        ("r36.4.3", "wheels", "2.27.7"),
    ],
)
def test_nccl_is_the_release_that_was_made_with_the_images_cuda(target: str, source: str, version: str) -> None:
    """2.27.7 was made with CUDA 13.0 and 2.29.7 with 13.2; integrated GPUs of JetPack 6 are in no wheel."""
    assert chosen(target, source, "nccl")["nccl"] == version


@pytest.mark.parametrize("version", ["2.27.7", "2.29.7"])
def test_locks_of_nccl_hold_both_machines_and_nothing_else(version: str) -> None:
    """One wheel for x86_64 and one for Arm."""
    text = (TREE / f"cuda/nccl/wheels-{version}.lock").read_text()
    assert [(pin.name, pin.version) for pin in locks.pins(text)] == [("nvidia-nccl-cu13", version)]
    assert text.count("--hash=sha256:") == 2


@pytest.mark.parametrize("target", ["r36.4.3", "x86_64,cu129", "r35.4.1"])
def test_cuda_before_13_comes_from_apt_whatever_the_setting_says(target: str) -> None:
    """There is nothing to choose."""
    assert chosen(target, "wheels", "cuda") == chosen(target, "apt", "cuda")


@pytest.mark.parametrize("release", RELEASES)
def test_locks_of_cuda_hold_one_release_and_no_wheel_twice(release: str) -> None:
    """The compiler's wheels take the runtime of any release; here it is the image's, which has its own lock."""
    below, above = (
        {pin.name: pin.version for pin in locks.pins((TREE / "cuda" / name / f"wheels-{release}.lock").read_text())}
        for name in ("cuda-runtime", "cuda")
    )
    assert set(below) & set(above) == {"cuda-toolkit"}
    assert below["cuda-toolkit"] == above["cuda-toolkit"]
    of_the_release = {
        "cuda-toolkit",
        "nvidia-cuda-runtime",
        "nvidia-cuda-nvrtc",
        "nvidia-cuda-nvcc",
        "nvidia-nvvm",
        "nvidia-cuda-crt",
    }
    found = {**below, **above}
    assert {found[name].rpartition(".")[0] for name in of_the_release} == {release}


@pytest.mark.parametrize("release", RELEASES)
def test_locks_of_cuda_have_files_for_both_machines(release: str) -> None:
    """Each wheel has at least a file for x86_64 and one for Arm."""
    for name in ("cuda-runtime", "cuda"):
        text = (TREE / "cuda" / name / f"wheels-{release}.lock").read_text()
        blocks = [block for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE) if block]
        few = [block for block in blocks if block.count("--hash=") < 2 and not block.startswith("cuda-toolkit")]
        assert blocks
        assert not few


def fake_wheels(folder: Path, files: dict[str, str]) -> Path:
    """What pip leaves of wheels: their files, and for each a record with its version."""
    for path, wheel in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
        info = folder / f"{wheel}.dist-info"
        (info / "licenses").mkdir(parents=True, exist_ok=True)
        (info / "licenses" / "License.txt").write_text("terms")
        with (info / "RECORD").open("a") as record:
            record.write(f"{path},sha256=abc,1\n")
    return folder


def test_wheels_are_laid_out_as_by_apt(tmp_path: Path) -> None:
    """Libraries have whole versions and plain names; directories are a toolkit's, and a second set joins the first."""
    prefix = tmp_path / "cuda-13.0"
    runtime = fake_wheels(
        tmp_path / "one",
        {
            "nvidia/cu13/lib/libcudart.so.13": "nvidia_cuda_runtime-13.0.96",
            "nvidia/cu13/lib/libcupti.so.13": "nvidia_cuda_cupti-13.0.85",
            "nvidia/cu13/include/cuda.h": "nvidia_cuda_runtime-13.0.96",
        },
    )
    compiler = fake_wheels(
        tmp_path / "two",
        {
            "nvidia/cu13/bin/nvcc": "nvidia_cuda_nvcc-13.0.88",
            "nvidia/cu13/lib/libnvvm.so.4": "nvidia_nvvm-13.0.88",
            "nvidia/cu13/lib/libculibos.a": "nvidia_cuda_culibos-13.0.85",
            "nvidia/cu13/include/crt/host_defines.h": "nvidia_cuda_crt-13.0.88",
        },
    )
    for folder in (runtime, compiler):
        wheels().name_libraries(folder, folder / "nvidia/cu13")
        wheels().lay_out(folder / "nvidia/cu13", prefix, "sbsa-linux")
        wheels().keep_licenses(folder, prefix)
    library = prefix / "lib64/libcudart.so.13.0.96"
    assert library.read_text() == "nvidia/cu13/lib/libcudart.so.13"
    for name in ("libcudart.so", "libcudart.so.13"):
        assert (prefix / "lib64" / name).resolve() == library.resolve()
    assert (prefix / "extras/CUPTI/lib64/libcupti.so").exists()
    assert (prefix / "nvvm/lib64/libnvvm.so.4").read_text() == "nvidia/cu13/lib/libnvvm.so.4"
    assert (prefix / "targets/sbsa-linux/include/cuda.h").exists()
    assert (prefix / "include/crt/host_defines.h").exists()
    assert (prefix / "bin/nvcc").exists()
    assert (prefix / "doc/nvidia_cuda_nvcc-13.0.88/License.txt").read_text() == "terms"


def test_wheels_of_libraries_have_three_parts_of_the_version(tmp_path: Path) -> None:
    """As cuDNN's archives name them; a second one beside another of the base image is refused."""
    folder = fake_wheels(tmp_path / "new", {"nvidia/cudnn/lib/libcudnn.so.9": "nvidia_cudnn_cu13-9.12.0.46"})
    tree = folder / "nvidia/cudnn"
    wheels().name_libraries(folder, tree, parts=3)
    assert (tree / "lib/libcudnn.so.9").readlink().name == "libcudnn.so.9.12.0"
    place = tmp_path / "lib"
    place.mkdir()
    wheels().check_others(tree, place)
    (place / "libcudnn.so.9.12.0").touch()
    wheels().check_others(tree, place)
    (place / "libcudnn.so.9.3.0").touch()
    with pytest.raises(SystemExit, match=r"libcudnn\.so\.9\.3\.0"):
        wheels().check_others(tree, place)


def test_stubs_have_every_function_of_the_headers(tmp_path: Path) -> None:
    """Names behind macros and the forms for streams of each thread are functions of the driver, too."""
    (tmp_path / "cuda.h").write_text(
        "#define cuMemAlloc cuMemAlloc_v2\n"
        "#define cuMemcpy __CUDA_API_PTDS(cuMemcpy)\n"
        "#define cuStreamQuery __CUDA_API_PTSZ(cuStreamQuery)\n"
        "CUresult CUDAAPI cuInit(unsigned int Flags);\ntypedef int cuuint32_t; cudaError_t cudaMalloc();\n"
    )
    headers, pattern = wheels().STUBS["libcuda.so"]
    assert wheels().functions_of(tmp_path, headers, pattern) == [
        "cuInit",
        "cuMemAlloc",
        "cuMemAlloc_v2",
        "cuMemcpy",
        "cuMemcpy_ptds",
        "cuStreamQuery",
        "cuStreamQuery_ptsz",
    ]


@pytest.mark.parametrize("release", RELEASES)
def test_locked_wheels_for_arm_are_there(release: str) -> None:
    """A line that counts on Arm has one wheel more than its other machines need: OpenCL's has none for Arm."""
    lock = TREE / f"cuda/cuda-runtime/wheels-{release}.lock"
    lines = lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "cuda-toolkit"))]
    assert wanted
    for line in wanted:
        requirement = Requirement(line.partition("--hash")[0])
        on = [requirement.marker is None or requirement.marker.evaluate(machine) for machine in MACHINES]
        assert line.count("--hash") >= sum(on), requirement.name
