"""Rules for recipes of CUDA, machine learning and speech: each stands for a mistake that once was in the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UnavailablePackageError
from jetson_containers.dockerfile import inject
from jetson_containers.platforms import detect
from jetson_containers.platforms.cuda_repository import of_ubuntu, own
from jetson_containers.platforms.overrides import rebase
from jetson_containers.platforms.platform import default_base_image
from jetson_containers.recipes import catalog, shared
from jetson_containers.resolver import solve
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package

TREE = ROOT_DIR / "packages"
TARGETS = [
    *("r32.7.1", "r35.4.1", "r36.2.0", "r36.3.0", "r36.4.0", "r36.4.3", "r36.5.0", "r38.2.0", "r39.2.0"),
    *("sbsa", "x86_64", "x86_64-cu129", "cpu"),
    *("r35.4.1,cu118", "r35.4.1,cu122", "r36.3.0,cu124", "r36.4.3,cu124", "r36.4.3,cu128", "r36.4.3,cu129,ubuntu24.04"),
]
GPU_TARGETS = [target for target in TARGETS if target != "cpu"]
JETPACK_4 = "r32.7.1"
SCRIPTS = sorted(path for path in TREE.rglob("*.sh") if not path.name.startswith("test"))
# Locks whose packages end in the image's own environment, not in an artifact part or an environment beside it.
FINAL_LOCKS = sorted(
    path
    for group in ("cuda", "ml", "speech")
    for path in (TREE / group).rglob("*.lock")
    if not path.name.startswith(("build", "sdist"))
)


def available(target: str, family: str) -> list[Package]:
    return [package for package in load(target).available.values() if package.family == family]


def entries(lock: Path) -> list[tuple[str, str]]:
    """(name, version) of every line of a lock."""
    return re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)", lock.read_text(), re.MULTILINE)


# CUDA ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", GPU_TARGETS)
def test_base_image_brings_cuda_where_it_has_to(target: str) -> None:
    """Where the base image has to bring CUDA, it is one that does."""
    args = load(target).find("cuda-runtime").build_args
    base = default_base_image(detect.parse_target(target))
    if args["CUDA_PROVIDER"] == "base":
        assert base.startswith("nvcr.io/nvidia/l4t-jetpack:")
    elif target.startswith("r36"):
        assert base.startswith("ubuntu:"), "a base image with another CUDA"


@pytest.mark.parametrize("target", GPU_TARGETS)
def test_cuda_newer_than_the_driver_of_an_integrated_gpu_brings_cuda_compat(target: str) -> None:
    """A toolkit newer than the driver of an integrated GPU brings cuda-compat."""
    platform = detect.parse_target(target)
    assert platform.cuda is not None
    if platform.arch != "tegra" or load(target).find("cuda-runtime").build_args["CUDA_PROVIDER"] != "apt":
        return
    newer = platform.driver_cuda is not None and platform.cuda > platform.driver_cuda
    packages = load(target).find("cuda-runtime").build_args["CUDA_PACKAGES"]
    assert ("cuda-compat" in packages) == newer


@pytest.mark.parametrize("target", GPU_TARGETS)
def test_cuda_packages_are_of_one_release_each_by_its_version(target: str) -> None:
    """The repository has all releases; a name without a version would take the newest."""
    for family in ("cuda", "cuda-runtime"):
        args = load(target).find(family).build_args
        wanted = f"-{args['CUDA_VERSION'].replace('.', '-')}={args['CUDA_VERSION']}."
        assert [name for name in args.get("CUDA_PACKAGES", "").split() if wanted not in name] == []


@pytest.mark.parametrize("target", ["r36.2.0", "r36.3.0,cu124", "r36.4.3", "r36.4.3,cu128", "r35.4.1"])
def test_cudnn_is_the_one_that_its_users_were_linked_to(target: str) -> None:
    """torch 2.4 and ONNX Runtime 1.18 and before are linked to cuDNN 8, later ones to 9."""
    for request in ("pytorch", "onnxruntime"):
        package = load(target).find(request)
        if package.build_args.get("ORT_PROVIDER") == "CPUExecutionProvider":
            continue
        chain = {member.family: member.version or "" for member in solve.solve(load(target), [request]).packages}
        old = (package.version or "") in {"2.1.0", "2.2.0", "2.4.0", "1.16.0", "1.18.0"}
        assert chain["cudnn"].startswith("8." if old else "9."), (package.name, chain)


def test_pytorch_libraries_each_have_a_checksum() -> None:
    """A library that a wheel is linked with has a checksum."""
    known = (TREE / "ml/pytorch/libraries.sha256").read_text().splitlines()
    assert all(re.fullmatch(r"[0-9a-f]{64}  \S+/redist/\S+-archive\.tar\.xz", line) for line in known)
    for target in GPU_TARGETS:
        for package in available(target, "pytorch"):
            for name in package.build_args.get("TORCH_LIBRARIES", "").split():
                assert len([line for line in known if f"/{name}-" in line]) == 1, (target, package.name, name)


@pytest.mark.parametrize("target", ["r36.4.3", "r36.4.3,cu128", "x86_64-cu129", "r38.2.0", "r39.2.0", "sbsa"])
@pytest.mark.parametrize("request_", [("numba", "cuda-python"), ("cuda-python", "flashinfer"), ("l4t-ml",)])
def test_cuda_python_is_one_version_for_all_that_use_it(target: str, request_: tuple[str, ...]) -> None:
    """numba-cuda wants `cuda.bindings` of 12.9, older packages `cuda-python` own the same files."""
    chain = {member.family: member.version or "" for member in solve.solve(load(target), request_).packages}
    assert chain["cuda-python"].split(".")[0] == load(target).find("cuda-runtime").build_args["CUDA_VERSION"][:2]
    if "numba" in chain:
        assert tuple(map(int, chain["cuda-python"].split(".")[:2])) >= (12, 9)
    for family in ("numba", "flashinfer"):
        locks = (TREE / "ml" / family).glob("*.lock")
        assert "cuda-bindings" not in {name for lock in locks for name, _ in entries(lock)}


@pytest.mark.parametrize("target", [*TARGETS, "x86_64,debian12", "x86_64,py3.13", "r36.4.3,py3.12"])
@pytest.mark.parametrize("request_", ["l4t-pytorch", "l4t-ml"])
def test_meta_package_leaves_out_what_the_platform_lacks(target: str, request_: str) -> None:
    """A meta package leaves out what a platform has not."""
    if available(target, "pytorch"):
        assert solve.solve(load(target), [request_]).packages


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("x86_64", "10.16.1.11"),
        ("x86_64,ubuntu22.04", "10.16.1.11"),
        ("x86_64,debian12", None),
        ("x86_64,py3.13", None),
        ("r36.4.3,py3.12", "10.7.0.23"),
    ],
)
def test_tensorrt_module_is_for_the_python_of_the_image(target: str, version: str | None) -> None:
    """NVIDIA's packages hold it for the distribution's Python only, its archive for several."""
    assert [package.version for package in available(target, "tensorrt")] == ([version] if version else [])


# Scripts ------------------------------------------------------------------------------------------------------------


def beside_its_shared_files(script: Path, folder: Path) -> Path:
    """A copy of a script as a build finds it."""
    for file in (script, TREE / "shared" / "cuda" / "nvidia.sh"):
        shutil.copy(file, folder)
    return folder / script.name


# What stands in for curl, gpg and apt: a key with the fingerprint FOUND, and a note of what was called.
KEY_TOOLS = {
    "curl": 'echo "curl $*" >> "$LOG"; while [ "$1" != --output ]; do shift; done; echo key > "$2"',
    "gpg": "printf 'pub:::::\\nfpr:::::::::%s:\\nsub::::\\nfpr:::::::::OTHER:\\n' \"$FOUND\"",
    "apt-get": 'echo "apt-get $*" >> "$LOG"',
}


@pytest.mark.parametrize(("found", "status"), [("ABCD", 0), ("ABCE", 1)])
def test_repository_is_added_with_the_key_of_the_recipe_only(tmp_path: Path, found: str, status: int) -> None:
    """Another key than the recipe's ends the build before apt trusts it."""
    for name, text in KEY_TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = (TREE / "shared" / "cuda" / "nvidia.sh").read_text()
    for place in ("/usr/share/keyrings", "/etc/apt/sources.list.d"):
        script = script.replace(place, str(tmp_path))
    done = subprocess.run(
        ["bash", "-euc", f"{script}\nadd_repository ubuntu2404/x86_64 1234.pub ABCD"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "FOUND": found, "LOG": str(tmp_path / "log")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    log = (tmp_path / "log").read_text()
    assert "https://developer.download.nvidia.com/compute/cuda/repos/ubuntu2404/x86_64/1234.pub" in log
    assert ("apt-get update" in log) is (status == 0)
    assert ("is ABCE, not ABCD" in done.stderr) is (status == 1)
    assert (tmp_path / "cuda-build.list").exists() is (status == 0)


@pytest.mark.long
@pytest.mark.parametrize("target", ["sbsa,cu126/debian 13", "x86_64,cu126,ubuntu26.04", "x86_64,cu126/debian 13"])
@pytest.mark.parametrize("family", ["cuda", "cuda-runtime"])
def test_cuda_is_refused_where_the_key_of_its_repository_is_not_known(target: str, family: str) -> None:
    """The plan says so, before anything is built."""
    name, _, distro = target.partition("/")
    platform = detect.parse_target(name)
    platform = rebase(platform, *distro.split(), "test") if distro else platform
    with pytest.raises(UnavailablePackageError) as caught:
        solve.solve(catalog.load([TREE], platform), [family])
    assert "NVIDIA's apt repository" in "\n".join([caught.value.message, *caught.value.details])


@pytest.mark.parametrize("target", [target for target in GPU_TARGETS if target != "x86_64-cu129"])
@pytest.mark.parametrize(
    ("family", "prefix"), [("cuda", "CUDA"), ("cuda-runtime", "CUDA"), ("tensorrt", "TENSORRT"), ("nccl", "NCCL")]
)
def test_repository_and_key_of_a_recipe_are_those_of_the_table(target: str, family: str, prefix: str) -> None:
    """Who installs from NVIDIA's apt repositories names the repository and its key, and no recipe a key of its own."""
    platform = detect.parse_target(target)
    known = {(found.name, found.key_file, found.key) for found in (own(platform), of_ubuntu(platform))}
    for package in available(target, family):
        if f"{prefix}_REPOSITORY" in package.build_args:
            names = (f"{prefix}_{part}" for part in ("REPOSITORY", "KEY_FILE", "FINGERPRINT"))
            assert tuple(package.build_args[name] for name in names) in known
            assert package.source.get("key", known_key := package.build_args[f"{prefix}_FINGERPRINT"]) == known_key


@pytest.mark.parametrize(
    ("family", "prefix", "present"),
    [("cudnn", "CUDNN", "libcudnn.so.8.*"), ("tensorrt", "TENSORRT", "libnvinfer.so.*.*")],
)
@pytest.mark.parametrize(("provider", "status"), [("host", 0), ("base", 1)])
def test_check_names_a_missing_library_and_goes_on(
    tmp_path: Path, family: str, prefix: str, present: str, provider: str, status: int
) -> None:
    """A library that is not there is named and does not end the script."""
    if list(Path("/usr/lib").glob(f"*-linux-gnu/{present}")):
        pytest.skip(f"this machine has {family}")
    done = subprocess.run(
        ["bash", str(beside_its_shared_files(TREE / "cuda" / family / "install.sh", tmp_path))],
        env={"PATH": os.environ["PATH"], f"{prefix}_VERSION": "8.2.1", f"{prefix}_PROVIDER": provider},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert "8.2.1" in done.stdout + done.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(TREE)))
def test_scripts_do_not_pipe_a_search_that_may_find_nothing(script: Path) -> None:
    """With `pipefail` it ends the script without a word where nothing is found: `found=$(compgen -G … | sed …)`."""
    assert not re.findall(r"^[^#\n]*\bcompgen\b[^#\n|]*\|[^|]", script.read_text(), re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(TREE)))
def test_scripts_do_not_use_a_function_as_a_condition(script: Path) -> None:
    """`fetch && unpack` switches `set -e` off inside of `fetch`: what fails there is not noticed."""
    text = script.read_text()
    functions = re.findall(r"^([a-z_]+)\(\) \{$", text, re.MULTILINE)
    called = "|".join(functions) or "-"
    assert re.findall(rf"^[^#\n]*\b(?:{called}) && (?:{called})\b", text, re.MULTILINE) == []


# What stays in the image --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", FINAL_LOCKS, ids=lambda path: str(path.relative_to(TREE)))
def test_locks_do_not_replace_the_tools_of_the_package_python(lock: Path) -> None:
    """setuptools stays below 81 for build scripts that need pkg_resources."""
    if lock.name == "build-tools.lock":
        pytest.skip("of an environment beside the image's")
    assert {name for name, _ in entries(lock)} & {"pip", "setuptools", "wheel"} == set()


@pytest.mark.parametrize("target", TARGETS)
def test_openblas_is_told_its_processor_on_jetpack_4_only(target: str) -> None:
    """Set, even to nothing, the variable makes OpenBLAS on Arm take its slowest kernels."""
    package = load(target).find("numpy")
    assert package.dockerfile is not None
    text = (package.path / package.dockerfile).read_text()
    variables = [step.value for step in inject.parse(text) if step.keyword == "ENV"]
    assert variables == (["OPENBLAS_CORETYPE=ARMV8"] if target == JETPACK_4 else [])


def test_jetpack_4_tests_tell_a_missing_host_from_a_broken_image() -> None:
    """On JetPack 4 a test tells a missing host from a broken image."""
    for package in load(JETPACK_4).available.values():
        for test in package.test:
            text = shared.script(package, test).read_text()
            if test.endswith(".py") and re.search(r"^ *import (torch|cv2)$", text, re.MULTILINE):
                assert re.search(r"CUDA_COMES_FROM|libcuda\.so\.1", text), (package.name, test)


@pytest.mark.parametrize("path", sorted((TREE / "cuda").glob("*/test.sh")), ids=lambda path: path.parent.name)
def test_cuda_tests_allow_a_missing_library_only_where_the_host_brings_cuda(path: Path) -> None:
    """Only where the host brings CUDA may a library be missing."""
    text = path.read_text()
    if "JetPack 4" in text:
        assert '"$CUDA_COMES_FROM" = host' in text or '"$CUDA_COMES_FROM" != host' in text
