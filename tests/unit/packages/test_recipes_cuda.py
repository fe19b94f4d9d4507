"""What a bare name of a CUDA family means on each platform; checksums and GPU architectures are the platform's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from jetson_containers.platforms import tables
from jetson_containers.recipes.why import explain_package
from jetson_containers.resolver.solve import solve
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from pathlib import Path

TREE = ROOT_DIR / "packages"
FAMILIES = ("cudnn", "tensorrt", "nccl", "cuda-python", "cupy", "pycuda", "torchvision", "torchaudio", "triton")

DEFAULTS = {  # in the order of FAMILIES; None: the platform has none
    "r32.7.1": ("8.2.1.32", "8.2.1", None, None, "9.6.0", "2022.1", "0.11.1", "0.10.0", None),
    "r35.4.1": ("8.6.0.166", "8.5.2.2", "2.21.5", None, "12.1.0", "2022.1", "0.16.2", "2.1.2", None),
    "r36.3.0": ("8.9.4.25", "8.6.2.3", "2.27.7", "12.2.1", "13.6.0", "2026.1", "0.19.1", "2.4.0", None),
    "r36.4.3": ("9.3.0.75", "10.3.0.30", "2.27.7", "12.6.2.post1", "14.0.1", "2026.1", "0.26.0", "2.11.0", "3.6.0"),
    "r38.2.0": ("9.12.0.46", "10.13.3.9", "2.27.7", "13.0.3", "14.0.1", "2026.1", "0.28.0", "2.11.0", "3.7.1"),
    "r39.2.0": ("9.20.0.46", "10.16.2.10", "2.29.7", "13.2.0", "14.0.1", "2026.1", "0.28.0", "2.11.0", "3.7.1"),
    "sbsa": ("9.20.0.48", "10.16.1.11", "2.29.7", "13.2.0", "14.0.1", "2026.1", "0.28.0", "2.11.0", "3.7.1"),
    "x86_64-cu129": ("9.12.0.46", "10.13.0.35", "2.29.7", "12.9.10", "14.0.1", "2026.1", "0.25.0", "2.10.0", "3.6.0"),
    "cpu": (None, None, None, None, None, None, "0.28.0", "2.11.0", None),
}


def default(target: str, family: str) -> str | None:
    return next((p.version for p in load(target).available.values() if p.family == family and p.default), None)


@pytest.mark.parametrize("target", DEFAULTS)
def test_bare_name_of_cuda_families_means_the_version_of_the_platform(target: str) -> None:
    """A bare name means the version of the platform."""
    assert tuple(default(target, family) for family in FAMILIES) == DEFAULTS[target]


@pytest.mark.parametrize(
    "release", [row for row in tables.releases() if row.l4t.major < 36], ids=lambda row: f"r{row.l4t}"
)
def test_cudnn_and_tensorrt_of_old_jetpacks_are_those_of_the_release(release: tables.Release) -> None:
    """JetPack 4 mounts its own, the base image of JetPack 5 holds them: another version would be refused or untrue."""
    for family, version in (("cudnn", release.cudnn), ("tensorrt", release.tensorrt)):
        if version and release.cuda >= Version("10.2"):
            assert default(f"r{release.l4t}", family) == version, family


@pytest.mark.parametrize("target", DEFAULTS)
def test_absent_family_of_cuda_says_why(target: str) -> None:
    """A family that is absent says why."""
    for family, version in zip(FAMILIES, DEFAULTS[target], strict=True):
        if version is None:
            rules = explain_package(load(target), family)["rules"]
            assert any(rule["reason"] for rule in rules if not rule["ok"]), family


@pytest.mark.parametrize("target", [target for target in DEFAULTS if target != "cpu"])
def test_archives_that_are_fetched_have_checksums(target: str) -> None:
    """An archive that is fetched has its checksum."""
    for family, prefix in (("cudnn", "CUDNN"), ("tensorrt", "TENSORRT")):
        args = load(target).find(family).build_args
        if args[f"{prefix}_PROVIDER"] == "archive":
            assert re.fullmatch(r"[0-9a-f]{64}", args[f"{prefix}_SHA256"])
            assert args[f"{prefix}_URL"].startswith("https://developer.")


@pytest.mark.parametrize("file", sorted(TREE.rglob("debs-*.sha256")), ids=lambda path: path.name)
def test_jetpack_packages_each_have_a_checksum(file: Path) -> None:
    """Every package of JetPack has its checksum."""
    line = re.compile(r"[0-9a-f]{64}  pool/main/\S+_arm64\.deb")
    assert all(line.fullmatch(text) for text in file.read_text().splitlines())


@pytest.mark.parametrize(
    ("target", "family", "argument", "value"),
    [
        ("r35.4.1", "cupy", "CUPY_NVCC_GENERATE_CODE", "arch=compute_72,code=sm_72;arch=compute_87,code=sm_87"),
        ("r36.4.3", "nccl", "NVCC_GENCODE", "-gencode=arch=compute_87,code=sm_87"),
        ("r36.4.0", "torchvision", "TORCH_CUDA_ARCH_LIST", "8.7"),
        ("cpu", "torchvision", "TORCH_CUDA_ARCH_LIST", ""),
        ("r36.4.3", "flash-attention", "TORCH_CUDA_ARCH_LIST", "8.7"),
        ("r36.4.3", "flashinfer", "FLASHINFER_CUDA_ARCH_LIST", "8.7"),
        ("r38.2.0", "flashinfer", "FLASHINFER_CUDA_ARCH_LIST", "11.0f"),
    ],
)
def test_gpu_architectures_are_spelled_as_the_project_wants_them(
    target: str, family: str, argument: str, value: str
) -> None:
    """GPU architectures are spelled as the project wants them."""
    assert load(target).find(family).build_args[argument] == value


@pytest.mark.parametrize(
    ("target", "request_", "members"),
    [
        ("r36.4.3", "cudastack", ["cuda", "cudnn", "tensorrt"]),
        ("r36.4.3", "cudastack:standard", ["cuda", "cudnn", "tensorrt"]),
        ("r36.4.3", "cudastack:minimal", ["cuda", "cudnn"]),
        ("r35.4.1", "cudastack", ["cuda", "cudnn", "tensorrt"]),
        ("x86_64,cu129", "cudastack", ["cuda", "cudnn", "tensorrt"]),
        ("x86_64,cu129,py3.13", "cudastack", ["cuda", "cudnn"]),
    ],
)
def test_cudastack_stands_for_the_libraries_of_cuda(target: str, request_: str, members: list[str]) -> None:
    """Trees of others depend on `cudastack` or one of its two versions."""
    found = load(target)
    packages = solve(found, [request_]).packages
    assert [item.family for item in packages if item.family in {"cuda", "cudnn", "tensorrt"}] == members
    assert packages[-1].family == "cudastack"


@pytest.mark.parametrize("lock", sorted(ROOT_DIR.glob("packages/cuda/cuda/wheels-*.lock")), ids=lambda path: path.stem)
def test_toolkits_from_wheels_have_the_programs_that_recipes_call(lock: Path) -> None:
    """A toolkit from wheels brings nvcc, and cuobjdump and nvdisasm, with which recipes check what they compiled."""
    names = set(re.findall(r"^([a-z0-9-]+)==", lock.read_text(), re.MULTILINE))
    assert names >= {"nvidia-cuda-nvcc", "nvidia-cuda-cuobjdump", "nvidia-cuda-nvdisasm"}


@pytest.mark.parametrize(
    ("target", "dockerfile"),
    [("x86_64,cu130", "Dockerfile.wheel"), ("r39.2.0", "Dockerfile.wheel"), ("r38.2.0", "Dockerfile.wheel"),
     ("r36.4.3", "Dockerfile"), ("x86_64,cu126", "Dockerfile")],
)  # fmt: skip
def test_cupy_is_compiled_only_where_no_wheel_has_code_for_the_platform(target: str, dockerfile: str) -> None:
    """With CUDA 13 CuPy is the published wheel; before that it is compiled."""
    assert load(target).find("cupy").dockerfile == dockerfile
