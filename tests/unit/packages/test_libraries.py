"""What is compiled finds its libraries once its build directory is gone, for the platform's GPUs; with a C compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes import shared
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.recipes.package import Package

TREE = ROOT_DIR / "packages"
CHECK = TREE / "shared/tests/libraries.py"
TARGETS = ("r32.7.1", "r35.4.1", "r36.2.0", "r36.4.3", "r38.2.0", "r39.2.0", "sbsa", "x86_64", "x86_64-cu129")
# Compiled for CUDA and without that file, because the test itself loads or looks before it says that it needs a GPU.
LOOK_THEMSELVES = {"nccl", "opencv", "torchvision", "torchaudio", "triton"}

compiled = pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("ldd"), reason="no C compiler here")


@cache
def packages(target: str) -> tuple[Package, ...]:
    return tuple(load(target).available.values())


@pytest.mark.parametrize("target", TARGETS)
def test_libraries_of_packages_compiled_for_cuda_are_checked_before_a_test_skips_without_a_gpu(target: str) -> None:
    """What is compiled for CUDA is checked before a test says that it needs a GPU."""
    found = set()
    for package in packages(target):
        texts = {entry: shared.script(package, entry).read_text() for entry in package.test}
        if package.artifacts is None or not any("77" in text for text in texts.values()):
            continue
        if package.family not in LOOK_THEMSELVES:
            assert shared.script(package, package.test[0]) == CHECK, package.name
        found.add(package.family)
    assert found, target


@pytest.mark.parametrize("path", sorted(TREE.glob("*/*/test*.py")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_libraries_that_the_host_brings_are_only_those_of_cuda(path: Path) -> None:
    """On JetPack 4 a missing libopenblas is a broken image, with or without a host."""
    text = path.read_text()
    if "needs a GPU: on JetPack 4 CUDA comes from the host" in text:
        assert "lib(cu|nv|npp)" in text


def library(folder: Path, name: str, *options: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.c"
    source.write_text(f"int {name}(void) {{ return 1; }}\n")
    made = folder / f"lib{name}.so"
    command = ["gcc", "-shared", "-fPIC", f"-Wl,-soname,lib{name}.so", "-o", str(made), str(source), *options]
    subprocess.run(command, check=True, capture_output=True)
    return made


def linked(tmp_path: Path, runpath: str, needed: str = "inner") -> Path:
    """An installed directory with libouter.so, linked to another library of the same build, whose tree is gone."""
    inner = library(tmp_path / "tree/inner", needed)
    outer = library(
        tmp_path / "tree", "outer", "-Wl,--no-as-needed", str(inner), f"-Wl,--enable-new-dtags,-rpath,{runpath}"
    )
    (tmp_path / "installed").mkdir()
    for made in (inner, outer):
        shutil.copy(made, tmp_path / "installed")
    shutil.rmtree(tmp_path / "tree")
    return tmp_path / "installed"


def check(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C", **variables}
    command = [sys.executable, str(CHECK), *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@compiled
def test_libraries_check_fails_for_a_path_in_the_build_directory(tmp_path: Path) -> None:
    """A library that is looked for in the build directory is missing."""
    done = check(linked(tmp_path, str(tmp_path / "tree/inner")))
    assert done.returncode == 1
    assert "libouter.so needs libinner.so" in done.stdout


@compiled
def test_libraries_check_finds_a_library_beside_the_other(tmp_path: Path) -> None:
    """A library that is looked for beside the other is found."""
    done = check(linked(tmp_path, "$ORIGIN"))
    assert (done.returncode, done.stdout) == (0, "the libraries of 2 files are there\n")


@compiled
@pytest.mark.parametrize(
    ("name", "variables", "status"),
    [
        ("inner", {}, 1),
        ("cudnn_of_no_machine", {}, 1),
        ("cudnn_of_no_machine", {"CUDA_COMES_FROM": "host"}, 77),
        ("openblas_of_ours", {"CUDA_COMES_FROM": "host"}, 1),
        ("nvidia-ml", {}, 0),
        ("nvrm_gpu", {}, 0),
        ("cudnn_of_no_machine", {"CUDA_COMES_FROM": "base"}, 1),
    ],
)
def test_libraries_check_allows_only_a_missing_driver_and_on_jetpack_4_the_toolkit(
    tmp_path: Path, name: str, variables: Mapping[str, str], status: int
) -> None:
    """Only the driver may be missing, and on JetPack 4 the toolkit."""
    inner = library(tmp_path / "gone", name.replace("-", "_"))
    renamed = inner.with_name(f"lib{name}.so")
    command = ["gcc", "-shared", "-o", str(renamed), f"-Wl,-soname,lib{name}.so", "-x", "c", "/dev/null"]
    subprocess.run(command, check=True)
    library(tmp_path / "installed", "outer", "-Wl,--no-as-needed", str(renamed))
    shutil.rmtree(tmp_path / "gone")
    done = check(tmp_path / "installed", **variables)
    assert done.returncode == status, done.stdout + done.stderr
    assert (f"needs lib{name}.so" in done.stdout) == (status != 0)


@compiled
def test_libraries_check_looks_past_a_missing_driver(tmp_path: Path) -> None:
    """Without a driver, libcuda.so.1 is what the loader names, and another missing library stays unseen."""
    driver, inner = library(tmp_path / "gone", "cuda", "-Wl,-soname,libcuda.so.1"), library(tmp_path / "gone", "inner")
    library(tmp_path / "installed", "outer", "-Wl,--no-as-needed", str(driver), str(inner))
    shutil.rmtree(tmp_path / "gone")
    done = check(tmp_path / "installed")
    assert done.returncode == 1
    assert "libouter.so needs libinner.so" in done.stdout
    assert "needs libcuda.so.1" not in done.stdout


@compiled
def test_libraries_check_counts_what_another_package_has_loaded(tmp_path: Path) -> None:
    """A library that another package has loaded by then is not missing."""
    installed = linked(tmp_path, "/nowhere")
    (tmp_path / "fake_torch/lib").mkdir(parents=True)
    (tmp_path / "fake_torch/__init__.py").write_text("raise ImportError('not to be imported')")
    shutil.move(installed / "libinner.so", tmp_path / "fake_torch/lib")
    places = {"PYTHONPATH": str(tmp_path)}
    assert check(installed, **places).returncode == 1
    assert check("--after", "no_such_module,fake_torch", installed, **places).returncode == 0
    assert check("--after", "no_such_module", installed, **places).returncode == 1


@compiled
def test_libraries_check_fails_for_a_place_without_a_shared_object(tmp_path: Path) -> None:
    """A place without a shared object fails."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/file.so").write_text("no library")
    for place, words in ((tmp_path / "empty", "no shared object"), ("no_such_module,/no/such", "there is no")):
        done = check(place)
        assert done.returncode == 1
        assert words in done.stderr


# A TVM in small: the link lines of the real one, a setup.py that reads what the real one reads.
TVM = {
    "CMakeLists.txt": """
cmake_minimum_required(VERSION 3.18)
project(tvm C)
file(WRITE ${CMAKE_BINARY_DIR}/x.c "int x;")
add_subdirectory(3rdparty/libflash_attn/src)
add_library(tvm SHARED ${CMAKE_BINARY_DIR}/x.c)
target_link_libraries(tvm PRIVATE -Wl,--no-as-needed flash_attn)
""",
    "3rdparty/libflash_attn/src/CMakeLists.txt": """
set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -t 8 \\
                      -gencode=arch=compute_80,code=\\\\\\"sm_80,compute_80\\\\\\" \\
                      ")
add_library(flash_attn SHARED ${CMAKE_BINARY_DIR}/x.c)
set_target_properties(flash_attn PROPERTIES CUDA_ARCHITECTURES "80")
""",
    "LICENSE": "",
    "README.md": "",
    "version.py": "",
    "include/tvm.h": "",
    "python/setup.py": "print(open('../version.py').read(), open('../README.md').read())",
}
# It stands in for python3, and for the interpreter of the virtual environment that it is asked to make.
PYTHON = f"""#!/bin/bash
case "$*" in
    *"-m venv "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
    *"-m pip"*) ;;
    *) exec {sys.executable} "$@" ;;
esac
"""


def build_tvm(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run the recipe's build.sh on that source; what it keeps ends up in `tmp_path/artifacts`."""
    origin = tmp_path / "origin"
    for name, text in TVM.items():
        (origin / name).parent.mkdir(parents=True, exist_ok=True)
        (origin / name).write_text(text)
    git = ["git", "-C", str(origin), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"], ["tag", "v1"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    recipe = tmp_path / "recipe"
    shutil.copytree(TREE / "llm/tvm", recipe)
    for name, place in (("/tmp/tvm_build", "work"), ("/artifacts", "artifacts")):
        script = script.replace(name, str(tmp_path / place))
    (recipe / "build.sh").write_text(script)
    fetch = (TREE / "shared/git/fetch.sh").read_text()
    (recipe / "fetch.sh").write_text(fetch.replace("/artifacts", str(tmp_path / "artifacts")))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(PYTHON)
    (tmp_path / "bin/python3").chmod(0o755)
    env = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "TVM_VERSION": "0.24.dev0",
        "TVM_REF": "v1",
        "LLVM_MAJOR": "18",
    }
    env |= {"TVM_REPOSITORY": f"file://{origin}", "CUDA_ARCHITECTURES": "87;110", "MAX_JOBS": "1"}
    return subprocess.run(["bash", str(recipe / "build.sh")], env=env, capture_output=True, text=True, check=False)


@pytest.mark.long
@compiled
@pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("ninja"), reason="no CMake here")
@pytest.mark.parametrize("with_paths", [True, False])
def test_tvm_finds_its_libraries_after_its_build_directory_is_gone(tmp_path: Path, with_paths: bool) -> None:
    """A compiled TVM finds its libraries after its build directory is gone."""
    script = (TREE / "llm/tvm/build.sh").read_text()
    option = '-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\\$ORIGIN"'
    assert option in script
    done = build_tvm(tmp_path, script if with_paths else script.replace(option, ""))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "work").exists()
    looked = check(tmp_path / "artifacts/opt/tvm")
    assert looked.returncode == (0 if with_paths else 1), looked.stdout
    assert ("libtvm.so needs libflash_attn.so" in looked.stdout) != with_paths


@compiled
@pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("ninja"), reason="no CMake here")
def test_tvm_setup_gets_the_files_that_it_reads(tmp_path: Path) -> None:
    """What TVM's setup reads is copied before it runs."""
    script = (TREE / "llm/tvm/build.sh").read_text()
    copied = 'cp "$source/version.py" "$source/README.md" "$tree/"'
    done = build_tvm(tmp_path, script.replace(copied, ":"))
    assert done.returncode != 0
    assert "version.py" in done.stderr


@pytest.mark.parametrize(
    ("version", "given", "flags"),
    [("0.24.dev0", "87;110", ["87", "110"]), ("0.24.dev0", "80;90;100;120", ["80", "90", "100", "120"])],
)
def test_flash_attention_is_compiled_for_the_gpus_of_the_platform(
    tmp_path: Path, version: str, given: str, flags: list[str]
) -> None:
    """FlashAttention is compiled for the platform's GPUs."""
    file = tmp_path / "3rdparty/libflash_attn/src/CMakeLists.txt"
    file.parent.mkdir(parents=True)
    file.write_text(TVM["3rdparty/libflash_attn/src/CMakeLists.txt"])
    command = [sys.executable, str(TREE / "llm/tvm/adapt_source.py"), version, str(tmp_path), given]
    subprocess.run(command, check=True, capture_output=True)
    text = file.read_text()
    assert re.findall(r"code=sm_(\d+)", text) == flags
    assert "CUDA_ARCHITECTURES OFF" in text
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1
    assert "not the source the recipe was written for" in again.stderr


# The shape of LMDeploy 0.2.5's list of GPUs: an option of its own, else these four over whatever was given.
OWN_LIST = """
set(FIND_SM False)
if(NOT (FIND_SM STREQUAL True))
  set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS}  \\
                        -gencode=arch=compute_70,code=\\\\\\"sm_70,compute_70\\\\\\" \\
                        -gencode=arch=compute_75,code=\\\\\\"sm_75,compute_75\\\\\\" \\
                        -gencode=arch=compute_80,code=\\\\\\"sm_80,compute_80\\\\\\" \\
                        -gencode=arch=compute_86,code=\\\\\\"sm_86,compute_86\\\\\\" \\
                        ")
  set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -DWMMA")
  set(CMAKE_CUDA_ARCHITECTURES 70 75 80 86)
endif()
message("${CMAKE_CUDA_ARCHITECTURES}|${CMAKE_CUDA_FLAGS}")
"""


def own_architectures(folder: Path) -> subprocess.CompletedProcess[str]:
    script = (TREE / "llm/lmdeploy/build.sh").read_text()
    function = script[
        script.index("own_architectures() {") : script.index("\n}\n", script.index("own_architectures() {")) + 3
    ]
    whole = f'set -euo pipefail; source="{folder}"\n{function}\nown_architectures'
    return subprocess.run(["bash", "-c", whole], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not shutil.which("cmake"), reason="no CMake here")
def test_lmdeploy_is_compiled_for_the_gpus_of_the_platform_despite_its_own_list(tmp_path: Path) -> None:
    """LMDeploy is compiled for the platform's GPUs, whatever its own list says."""
    file = tmp_path / "CMakeLists.txt"
    file.write_text(OWN_LIST)

    def chosen() -> str:
        command = ["cmake", "-DCMAKE_CUDA_ARCHITECTURES=72;87", "-P", str(file)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stderr.strip()

    assert chosen().startswith("70;75;80;86|")
    assert own_architectures(tmp_path).returncode == 0
    architectures, flags = chosen().split("|")
    assert (architectures, flags.split()) == ("72;87", ["-DWMMA"])
    again = own_architectures(tmp_path)
    assert again.returncode == 1
    assert "this recipe was written for" in again.stderr


def test_auto_gptq_comes_from_the_repository_whose_kernels_have_their_headers() -> None:
    """The source archive on the Python index has none of the .cuh and .h files (AutoGPTQ#594)."""
    script = (TREE / "llm/auto_gptq/build.sh").read_text()
    assert re.search(r'^fetch_git \S+/AutoGPTQ "\$AUTOGPTQ_REF" "\$work/source"$', script, re.MULTILINE)
    assert "sdist" not in script
    package = next(item for item in packages("r35.4.1") if item.family == "auto_gptq")
    assert package.build_args["AUTOGPTQ_REF"] == package.source["commit"] == "b8b41270f3dd5d657aee049d7b64538ab5dd244e"


@pytest.mark.parametrize(
    ("target", "name", "argument", "commit"),
    [
        ("r35.4.1", "mlc:51fb0f4", "MLC_REF", "51fb0f491cddae8c4f2ec661389355df89f77af1"),
        ("r35.4.1", "tvm:0.15.0", "TVM_REF", "51fb0f491cddae8c4f2ec661389355df89f77af1"),
        ("r35.4.1", "lmdeploy:0.2.5", "LMDEPLOY_REF", "c5f4014842fc817a3bdf3a57cee6d76c089fe629"),
        ("r36.4.3", "exllama:v3", "EXLLAMA_REF", "4f8ad0121f483ba66a5336244a4c3b6d7210385e"),
        ("x86_64", "exllama:0.0.32", "EXLLAMA_REF", "820e5063f394f3e3e566842d18f8d850dd030dff"),
        ("r36.4.3", "mlc:d1ea69a", "MLC_REF", "d1ea69a87280e821611643958bfec385b62dafd3"),
        ("r36.4.3", "tvm:0.22.0", "TVM_REF", "c2028da5ac03055f30a52b492260f37b9650ac03"),
        ("r36.4.3", "tvm:0.24.dev0", "TVM_REF", "c2028da5ac03055f30a52b492260f37b9650ac03"),
    ],
)
def test_packages_named_by_a_short_commit_have_the_full_one(target: str, name: str, argument: str, commit: str) -> None:
    """Older names stand for the full commit."""
    package = load(target).find(name)
    assert package.build_args[argument] == package.source["commit"] == commit


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("r35.4.1", "libclang-common-10-dev"),
        ("r36.4.3", "libclang-common-15-dev"),
        ("x86_64-cu129", "libpolly-18-dev"),
        ("x86_64-cu129,debian12", "libclang-common-15-dev"),
        ("r36.4.3,cu129,ubuntu24.04", "libpolly-18-dev"),
    ],
)
def test_tvm_installs_polly_by_the_name_it_has_on_the_release(target: str, name: str) -> None:
    """TVM installs Polly by the name it has on the release."""
    members = load(target).members("tvm")
    package = next(item for item in members if "POLLY_PACKAGE" in item.build_args)
    assert package.build_args["POLLY_PACKAGE"] == name
    assert f"-{package.build_args['LLVM_MAJOR']}-" in name
