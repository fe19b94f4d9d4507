"""Static checks on the tree we ship: it loads, everything is pinned, nothing stays behind, shell scripts are clean."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections import defaultdict
from functools import cache
from typing import TYPE_CHECKING

import pytest

from jetson_containers.dockerfile import inject
from jetson_containers.recipes import shared
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.recipes.package import Package

ROOT = ROOT_DIR
TREE = ROOT / "packages"

# One target per kind of platform, and what a bare name must mean there.
DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "r32.7.1": {"python": "3.6", "numpy": "1.19.5", "cuda": "10.2"},
    "r35.4.1": {"python": "3.8", "numpy": "1.24.4", "cuda": "11.4", "huggingface_hub": "0.36.2", "llama_cpp": "0.3.36"},
    "r36.2.0": {"python": "3.10", "numpy": "1.26.4", "cuda": "12.2", "llama_cpp": "0.3.36"},
    "r36.4.3": {"python": "3.10", "numpy": "2.2.6", "cuda": "12.6", "huggingface_hub": "1.33.0"},
    "r36.4.3,cu128": {"cuda": "12.8", "cuda-runtime": "12.8"},
    "r38.2.0": {"python": "3.12", "numpy": "2.2.6", "cuda": "13.0", "llama_cpp": "0.3.36"},
    "r39.0.0": {"cuda": "13.2"},
    "sbsa": {"cuda": "13.2", "llama_cpp": "0.3.36"},
    "x86_64": {"cuda": "13.2", "llama_cpp": "0.3.36"},
    "x86_64,cpu,py3.13": {"python": "3.13", "numpy": "2.2.6"},
    "x86_64,cpu,py3.14": {"python": "3.14", "numpy": "2.3.5"},
    "x86_64,cpu": {"python": "3.12", "cmake": "pip", "huggingface_hub": "1.33.0", "llama_cpp": "0.3.36"},
}
TARGETS = sorted(DEFAULTS)

DIRECTORIES = sorted({path.parent for path in TREE.glob("*/*/*") if path.name in {"Dockerfile", "config.yaml"}})
SCRIPTS = sorted(TREE.rglob("*.sh"))
LOCKS = sorted(TREE.rglob("*.lock"))
DOCKERFILES = sorted(TREE.rglob("Dockerfile*"))


def name(path: Path) -> str:
    return str(path.relative_to(TREE))


@cache
def everything() -> tuple[Package, ...]:
    """Every package that is available on any of the targets."""
    found = {package.name: package for target in TARGETS for package in load(target).available.values()}
    return tuple(found[key] for key in sorted(found))


@cache
def by_name() -> dict[str, Package]:
    """Every package, as one of the targets has it or, where each of them excludes it, would have it."""
    excluded = {item.package.name: item.package for target in TARGETS for item in load(target).absent.values()}
    return {**excluded, **{package.name: package for package in everything()}}


def names() -> list[str]:
    """The names of all packages, which are the same on every platform."""
    found = load(TARGETS[0])
    return sorted({*found.available, *found.absent})


def test_names_of_packages_are_the_same_on_every_platform() -> None:
    """The tests of every package leave none out."""
    assert names() == sorted(by_name())


@pytest.mark.parametrize("target", TARGETS)
def test_recipes_are_all_readable(target: str) -> None:
    """No recipe is broken."""
    assert load(target).broken == ()


@pytest.mark.parametrize("target", TARGETS)
def test_bare_name_means_the_version_that_fits_the_platform(target: str) -> None:
    """A bare name means the version that fits the platform."""
    found = load(target)
    assert {family: found.find(family).version for family in DEFAULTS[target]} == DEFAULTS[target]


@pytest.mark.parametrize("target", TARGETS)
def test_dependencies_are_available_where_the_package_is(target: str) -> None:
    """What a package depends on is available where it is."""
    found = load(target)
    missing = [
        f"{package.name} needs {need}"
        for package in found.available.values()
        for need in (*package.depends, *(package.artifacts.depends if package.artifacts else ()))
        if not any(need.accepts(member.version) for member in found.members(need.family))
    ]
    assert missing == []


def test_directories_are_each_a_package_on_some_platform() -> None:
    """Every directory is a package on some platform."""
    assert {package.path for package in everything()} == set(DIRECTORIES)


def test_build_without_cuda_depends_on_no_cuda_package() -> None:
    """A build without CUDA depends on nothing of CUDA."""
    package = load("x86_64,cpu").find("llama_cpp")
    assert package.artifacts is not None
    families = {need.family for need in (*package.depends, *package.artifacts.depends)}
    assert not families & {"cuda", "cuda-runtime"}
    assert package.build_args["CUDA_ARCHITECTURES"] == ""


@pytest.mark.parametrize(
    ("target", "gpu", "cpu"),
    [
        ("r35.4.1", "72;87", "armv8.2-a+fp16"),
        ("r36.4.3", "87", "armv8.2-a+dotprod+fp16"),
        ("r38.2.0", "110", "armv8.2-a+dotprod+fp16"),
    ],
)
def test_llama_cpp_is_compiled_for_the_processors_of_the_platform(target: str, gpu: str, cpu: str) -> None:
    """llama.cpp is compiled for the processors of the platform."""
    args = load(target).find("llama_cpp").build_args
    assert (args["CUDA_ARCHITECTURES"], args["CPU_ARCHITECTURE"]) == (gpu, cpu)


@pytest.mark.parametrize(
    ("target", "repository", "runtime"),
    [
        ("r35.4.1,cu122", "ubuntu2004/arm64", "cuda-libraries-12-2=12.2.2-1"),
        ("r36.3.0,cu124", "ubuntu2204/arm64", "cuda-libraries-12-4=12.4.1-1"),
        ("r36.4.3", "ubuntu2204/arm64", "cuda-libraries-12-6=12.6.3-1"),
        ("r36.4.3,cu128", "ubuntu2204/arm64", "cuda-libraries-12-8=12.8.1-1"),
        ("r38.2.0", "ubuntu2404/sbsa", "cuda-libraries-13-0=13.0.2-1"),
        ("x86_64,cu128", "ubuntu2404/x86_64", "cuda-libraries-12-8=12.8.1-1"),
        ("x86_64,debian12", "debian12/x86_64", "cuda-libraries-13-2=13.2.1-1"),
    ],
)
def test_cuda_comes_from_the_repository_of_the_platform(target: str, repository: str, runtime: str) -> None:
    """CUDA comes from the repository of the platform."""
    args = load(target).find("cuda-runtime").build_args
    assert (args["CUDA_REPOSITORY"], args["CUDA_PACKAGES"].split()[0]) == (repository, runtime)


@pytest.mark.parametrize("package_name", names())
def test_packages_each_have_license_docs_and_tests(package_name: str) -> None:
    """Every package says its license, docs and tests."""
    package = by_name()[package_name]
    assert package.license
    assert package.docs
    if package.docs.endswith(".md"):
        assert (package.path / package.docs).is_file()
    assert package.test
    assert [test for test in package.test if not shared.script(package, test).is_file()] == []


@pytest.mark.parametrize("package_name", names())
def test_sources_are_each_pinned(package_name: str) -> None:
    """By a lock with hashes, a commit, exact versions of signed packages, or what the base image or host brings."""
    package = by_name()[package_name]
    if package.dockerfile is None:
        return
    source = package.source
    assert source, "no `source`"
    if "git" in source:
        assert re.fullmatch(r"[0-9a-f]{40}", source["commit"])
    if "sha256" in source:
        assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"])
    locks = source.get("lock", [])
    for lock in [locks] if isinstance(locks, str) else locks:
        assert shared.script(package, lock).is_file()
    if package.family.startswith("cuda") and "apt" in source:
        assert re.fullmatch(r"\S+=\d+\.\d+\.\d+-\d+", source["apt"])


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_lock_lines_each_have_a_version_and_a_hash(lock: Path) -> None:
    """Every line of a lock has a version and a hash."""
    text = re.sub(r"^#.*$", "", lock.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip()]
    assert entries
    unpinned = [line for line in entries if not re.match(r"[A-Za-z0-9_.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]
    assert unpinned == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=name)
def test_dockerfiles_build_with_the_oldest_builder_and_end_clean(path: Path) -> None:
    """A Dockerfile builds with the oldest builder and leaves no caches."""
    text = path.read_text()
    steps = inject.parse(text, path)
    runs = [step.value for step in steps if step.keyword == "RUN"]
    assert "--mount" not in text
    assert not [step for step in steps if step.heredocs]
    assert "|| true" not in text
    for run in runs:
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert "rm -rf /var/lib/apt/lists/*" in run
    for step in steps:
        if step.keyword == "ENV":
            assert "DEBIAN_FRONTEND" not in step.value
            assert "INDEX" not in step.value
            assert "TOKEN" not in step.value


def test_artifact_dockerfiles_declare_the_number_of_compile_jobs() -> None:
    """An artifact part declares the number of compile jobs."""
    for package in everything():
        if package.artifacts:
            text = (package.path / package.artifacts.dockerfile).read_text()
            assert "MAX_JOBS" in inject.declared_args(text)
            assert package.memory_per_job


@pytest.mark.parametrize("package_name", names())
def test_build_arguments_are_each_declared_by_a_dockerfile_of_the_package(package_name: str) -> None:
    """An argument that nothing declares has no effect, and the engine only warns."""
    package = by_name()[package_name]
    files = [package.dockerfile, package.artifacts.dockerfile if package.artifacts else None]
    declared = {arg for file in files if file for arg in inject.declared_args((package.path / file).read_text())}
    assert set(package.build_args) - declared == set()


@pytest.mark.long
@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_shell_scripts_pass_shellcheck(script: Path) -> None:
    """Shell scripts pass shellcheck."""
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck")
    found = subprocess.run(
        [program, "--external-sources", script.name], cwd=script.parent, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_shell_scripts_stop_at_the_first_error_and_hide_none(script: Path) -> None:
    """Shell scripts stop at the first error and hide none."""
    text = script.read_text()
    assert "|| true" not in text
    if text.startswith("#!"):
        assert "set -euo pipefail" in text


def test_recipe_files_stand_once() -> None:
    """What several recipes use is in `packages/shared`, or a part of this program, and named by `share`."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for folder in (TREE, ROOT / "jetson_containers"):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size and "__pycache__" not in path.parts:
                found[hashlib.sha256(path.read_bytes()).hexdigest()].append(str(path.relative_to(ROOT)))
    assert [names for names in found.values() if len(names) > 1] == []


def test_llama_cpp_lock_names_the_archive_of_the_recipe() -> None:
    """The archive that pip fetches is the one the recipe names."""
    package = load("x86_64,cpu").find("llama_cpp")
    lock = (package.path / f"sdist-{package.version}.lock").read_text()
    assert package.source["python"] in lock
    assert package.source["sha256"] in lock
