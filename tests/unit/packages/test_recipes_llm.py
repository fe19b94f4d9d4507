"""The packages for language models: what each platform gets or why not, and chatting with a stand-in for MLC."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING

import pytest
import yaml

from jetson_containers.resolver import solve
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


TREE = ROOT_DIR / "packages"
CHAT = TREE / "demo" / "mlc-chat" / "chat-mlc"

# None: not there, and the table below says by which rule.
VERSIONS: Mapping[str, Mapping[str, str | None]] = {
    "r32.7.1": dict.fromkeys(("mlc", "tvm", "vllm", "bitsandbytes", "lmdeploy", "gptqmodel", "auto_gptq", "ollama")),
    "r35.4.1": {
        "mlc": "0.1.0", "tvm": "0.15.0", "lmdeploy": "0.2.5", "auto_gptq": "0.7.1", "bitsandbytes": "0.45.4",
        "ollama": "0.32.14", "vllm": None, "gptqmodel": None, "auto_awq": None, "exllama": None, "llm-compressor": None,
    },
    "r36.2.0": {"bitsandbytes": "0.45.4", "tvm": "0.24.dev0", "mlc": None, "vllm": None, "lmdeploy": None},
    "r36.4.3": {
        "mlc": "0.20.0", "tvm": "0.24.dev0", "lmdeploy": "0.16.0", "vllm": "0.21.0", "bitsandbytes": "0.49.2",
        "gptqmodel": "7.3.4", "auto_awq": "0.2.9", "exllama": "1.4.1", "llm-compressor": "0.13.0", "auto_gptq": None,
    },
    "r38.2.0": {"mlc": "0.20.0", "tvm": "0.27.0.post1", "vllm": "0.28.0", "lmdeploy": None},
    "r39.2.0": {"mlc": "0.20.0", "tvm": "0.27.0.post1", "vllm": "0.28.0", "exllama": "1.4.1"},
    "sbsa": {"vllm": "0.28.0", "lmdeploy": None, "gptqmodel": "7.3.4"},
    "x86_64-cu129": {"vllm": "0.19.1", "tvm": "0.24.dev0", "lmdeploy": "0.16.0", "auto_gptq": None},
    "x86_64,cpu": {
        "tvm": "0.27.0.post1", "bitsandbytes": "0.50.2", "gptqmodel": "7.3.4", "mlc": "0.26.dev4", "vllm": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("target", sorted(VERSIONS))
def test_llm_families_have_the_version_that_works_on_the_platform(target: str) -> None:
    """A family has the version that works on the platform."""
    found = {family: next(iter(load(target).members(family)), None) for family in VERSIONS[target]}
    assert {family: package.version if package else None for family, package in found.items()} == VERSIONS[target]


@pytest.mark.parametrize(
    ("family", "target", "reasons"),
    [
        ("vllm", "xavier-nx-8gb", ["!=sm72", ">=py310", ">=cu126"]),
        ("gptqmodel", "xavier-nx-8gb", ["!=sm72", ">=py310"]),
        ("auto_gptq", "r36.4.3", ["==r35.*", "py38"]),
        ("lmdeploy", "r38.2.0", ["<cu130", "!=sbsa"]),
        ("mlc", "r36.2.0", [">=cu126"]),
    ],
)
def test_llm_family_that_is_absent_says_why(family: str, target: str, reasons: list[str]) -> None:
    """An absent family says why."""
    absent = [item for item in load(target).absent.values() if item.package.family == family]
    said = " ".join(item.reason for item in absent)
    assert absent
    assert [rule for rule in reasons if f"`{rule}`" not in said] == []


@pytest.mark.parametrize("target", ["r35.4.1", "r36.4.3", "r38.2.0", "r39.2.0", "x86_64", "x86_64-cu129", "sbsa"])
def test_mlc_depends_on_the_tvm_that_it_was_written_for(target: str) -> None:
    """MLC depends on the TVM that it was written for."""
    solved = solve.solve(load(target), ["mlc"])
    versions = {package.family: package.version for package in solved.packages}
    assert (versions["mlc"], versions["tvm"]) in {("0.1.0", "0.15.0"), ("0.20.0", "0.24.dev0")}


@pytest.mark.parametrize(
    ("target", "archs"), [("r36.4.3", "8.7"), ("r39.2.0", "8.7;11.0"), ("x86_64-cu129", "8.0;9.0;10.0;12.0")]
)
def test_pytorch_extensions_get_the_architectures_of_the_platform(target: str, archs: str) -> None:
    """PyTorch extensions get the platform's architectures."""
    compiled = "vllm:0.28.0-source" if target == "r39.2.0" else "vllm"
    for family in (compiled, "exllama"):
        assert load(target).find(family).build_args["TORCH_CUDA_ARCH_LIST"] == archs


@pytest.mark.parametrize(
    ("target", "compiles"), [("r36.4.3", True), ("r38.4", False), ("sbsa", False), ("x86_64", False)]
)
def test_vllm_is_compiled_only_where_no_wheel_has_code_for_the_platform(target: str, compiles: bool) -> None:
    """With CUDA 13 vLLM comes from its wheel, with CUDA 12 it is compiled."""
    package = load(target).find("vllm")
    assert bool(package.artifacts) is compiles
    assert (package.dockerfile == "Dockerfile.wheel") is not compiles


@pytest.mark.parametrize("target", ["r35.4.1", "r36.4.3"])
def test_ollama_takes_the_library_made_for_the_jetpack(target: str) -> None:
    """Ollama takes the library made for the JetPack."""
    args = load(target).find("ollama").build_args
    jetpack = "5" if target.startswith("r35") else "6"
    assert args["OLLAMA_ARCHIVES"] == f"ollama-linux-arm64 ollama-linux-arm64-jetpack{jetpack}"
    assert args["OLLAMA_LLM_LIBRARY"] == f"cuda_jetpack{jetpack}"


OLLAMA_PROGRAMS = {
    "apt-get": "",
    "curl": 'cp "$RELEASE/$(basename "${@: -1}")" "${@: -2:1}"',
    "zstd": 'cat "${@: -1}"',
    "tar": 'cat >> "$UNPACKED"',
}


@pytest.mark.parametrize(
    ("line", "good"),
    [
        ("{sum}  ./{name}", True),
        ("{sum}  {name}", True),
        ("{sum} *./{name}", True),
        ("{other}  ./{name}", False),
        ("{sum}  ./not-{name}", False),
        ("{sum}  ./{name}.sig", False),
    ],
)
def test_ollama_unpacks_only_files_in_the_list_of_checksums(tmp_path: Path, line: str, good: bool) -> None:
    """Ollama unpacks what the release's list of checksums names."""
    release = tmp_path / "release"
    release.mkdir()
    lines = []
    for name in ("one.tar.zst", "two-jetpack6.tar.zst"):
        (release / name).write_text(name)
        total = hashlib.sha256(name.encode()).hexdigest()
        lines.append(line.format(sum=total, other="0" * 64, name=name))
    (release / "sha256sum.txt").write_text("\n".join([*lines, "f" * 64 + "  ./another.zip", ""]))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in OLLAMA_PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{text}\n")
        (programs / name).chmod(0o755)
    script = (TREE / "llm/ollama/install.sh").read_text().replace("/var/lib/apt/lists", str(tmp_path / "lists"))
    env = {"PATH": f"{programs}:/usr/bin:/bin", "RELEASE": str(release), "UNPACKED": str(tmp_path / "unpacked")}
    env |= {"OLLAMA_VERSION": "9.9", "OLLAMA_ARCHIVES": "one two-jetpack6", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["bash", "-c", script], env=env, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == good, done.stderr
    unpacked = tmp_path / "unpacked"
    assert (unpacked.read_text() if unpacked.exists() else "") == ("one.tar.zsttwo-jetpack6.tar.zst" if good else "")


def git(directory: Path, *arguments: str, text: str | None = None) -> str:
    command = ["git", "-C", str(directory), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Path, str]:
    """A git repository with one commit, the tag v1 on it, and a newer branch of that name; its path and the commit."""
    path = tmp_path / "origin"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "file").write_text("content")
    git(path, "add", "file")
    git(path, "commit", "-q", "-m", "one")
    git(path, "tag", "v1")
    commit = git(path, "rev-parse", "HEAD")
    git(path, "checkout", "-q", "-b", "v1")
    git(path, "commit", "-q", "--allow-empty", "-m", "two")
    git(path, "config", "uploadpack.allowFilter", "true")
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    return path, commit


def run_fetch(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    whole = f'set -euo pipefail; . "{TREE}/shared/git/fetch.sh"; {script}'
    command = ["bash", "-c", whole, "-", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fetch(origin: Path, ref: str, directory: Path, sha256: str = "") -> subprocess.CompletedProcess[str]:
    return run_fetch('fetch_git "$@"', f"file://{origin}", ref, directory, sha256)


@pytest.mark.parametrize("form", ["full", "short", "tag"])
def test_fetch_takes_a_commit_an_abbreviation_or_a_tag(origin: tuple[Path, str], tmp_path: Path, form: str) -> None:
    """A source is fetched by commit, abbreviation or tag."""
    path, commit = origin
    done = fetch(path, {"full": commit, "short": commit[:7], "tag": "v1"}[form], tmp_path / "copy")
    assert done.returncode == 0, done.stderr
    assert commit in done.stdout
    assert (tmp_path / "copy" / "file").read_text() == "content"


@pytest.mark.parametrize("ref", ["0123456789abcdef0123456789abcdef01234567", "0123456", "v2", "main"])
def test_fetch_fails_for_an_absent_revision(origin: tuple[Path, str], tmp_path: Path, ref: str) -> None:
    """A source that is not there fails."""
    assert fetch(origin[0], ref, tmp_path / "copy").returncode != 0


def twins(path: Path) -> list[str]:
    """Two commits of that repository whose names begin with the same seven digits, each on a branch of its own."""
    tree = git(path, "rev-parse", "HEAD^{tree}")
    seen: dict[str, str] = {}
    for number in count():
        text = f"tree {tree}\nauthor a <a@b> {number} +0000\ncommitter a <a@b> {number} +0000\n\nx\n"
        name = hashlib.sha1(f"commit {len(text)}\0{text}".encode(), usedforsecurity=False).hexdigest()
        if name[:7] in seen:
            break
        seen[name[:7]] = text
    names = [git(path, "hash-object", "-t", "commit", "-w", "--stdin", text=item) for item in (seen[name[:7]], text)]
    for name in names:
        git(path, "branch", "twin-" + name[7:], name)
    return names


def test_fetch_fails_for_an_ambiguous_abbreviation(origin: tuple[Path, str], tmp_path: Path) -> None:
    """An abbreviation that two commits share fails."""
    names = twins(origin[0])
    done = fetch(origin[0], names[0][:7], tmp_path / "copy")
    assert done.returncode != 0
    assert "ambiguous" in done.stderr
    assert fetch(origin[0], names[0][:12], tmp_path / "longer").returncode == 0


def test_fetch_checks_a_tag_against_the_checksum_of_its_archive(origin: tuple[Path, str], tmp_path: Path) -> None:
    """A tag is checked against the checksum of its archive."""
    path, _ = origin
    archive = ["git", "-C", str(path), "-c", "tar.umask=0002", "archive", "--format=tar", "refs/tags/v1"]
    good = hashlib.sha256(subprocess.check_output(archive)).hexdigest()
    assert fetch(path, "v1", tmp_path / "good", good).returncode == 0
    bad = fetch(path, "v1", tmp_path / "bad", "0" * 64)
    assert bad.returncode != 0
    assert good in bad.stderr


def test_fetch_records_the_full_commits_in_the_image(origin: tuple[Path, str], tmp_path: Path) -> None:
    """The full commits are recorded in the image."""
    path, commit = origin
    git(path, "checkout", "-q", "main")
    git(path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", f"file://{path}", "sub")
    git(path, "commit", "-q", "-m", "with a submodule")
    head = git(path, "rev-parse", "HEAD")
    script = (
        'git config --global protocol.file.allow always; fetch_git "$1" "$2" "$3"; '
        'fetch_submodules "$3" sub; record_source name "$3" "$4"'
    )
    home = tmp_path / "home"
    home.mkdir()
    done = run_fetch(f'export HOME="{home}"; {script}', f"file://{path}", head, tmp_path / "copy", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/opt/sources/name").read_text() == f"file://{path} {head}\nsub {commit}\n"


@pytest.mark.parametrize("form", ["full", "short"])
def test_fetch_records_the_public_address_where_a_mirror_answered(
    origin: tuple[Path, str], tmp_path: Path, form: str
) -> None:
    """The image names the repository that the recipe names, not the machine that built it."""
    path, commit = origin
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(f'[url "file://{path}"]\n\tinsteadOf = https://git.invalid/some/thing\n')
    script = f'export HOME="{home}"; fetch_git "$1" "$2" "$3"; record_source name "$3" "$4"'
    ref = commit if form == "full" else commit[:9]
    done = run_fetch(script, "https://git.invalid/some/thing", ref, tmp_path / "copy", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "root/opt/sources/name").read_text() == f"https://git.invalid/some/thing {commit}\n"


def test_llm_sources_are_pinned_by_a_commit_or_a_checksum() -> None:
    """Nothing is pinned by less than a commit or a checksum."""
    unpinned = set()
    for path in sorted(TREE.glob("llm/*/config.yaml")):
        for version in yaml.safe_load(path.read_text()).get("versions", ()):
            source = version.get("source", {})
            if (source.get("git") or source.get("repository")) and not (source.get("commit") or source.get("sha256")):
                unpinned.add(f"{path.parent.name}:{version['version']}")
    assert unpinned == set()


def test_recipes_that_fetch_from_git_record_the_commits() -> None:
    """Every recipe that fetches from git records the commits."""
    texts = {path: path.read_text() for path in sorted(TREE.glob("llm/*/*.sh"))}
    callers = {path.parent.name: text for path, text in texts.items() if '/fetch.sh"' in text}
    assert len(callers) > 1
    for name, text in callers.items():
        assert f"record_source {name} " in text, name


TORCH = """
class CUDAExtension:
    def __init__(self, name, sources, extra_compile_args, extra_link_args):
        assert extra_link_args == ["-Wl,-rpath,$ORIGIN/torch/lib"]
        print(name, *sources)
BuildExtension = None
"""


def test_exllamav2s_extension_is_made_of_every_source_in_its_wheel(tmp_path: Path) -> None:
    """What setup() would compile is asked for without PyTorch: C++ and CUDA files at every depth, and no headers.

    It looks for PyTorch's libraries where they are beside it.
    """
    (tmp_path / "torch/utils").mkdir(parents=True)
    (tmp_path / "torch/utils/cpp_extension.py").write_text(TORCH)
    (tmp_path / "setuptools.py").write_text("def setup(**options): assert options['ext_modules']\n")
    for name in ("ext.cpp", "cuda/q.cu", "cuda/q.cuh", "cuda/units/one.cu", "cpp/sampling.cpp", "cpp/sampling.h"):
        (tmp_path / "exllamav2/exllamav2_ext" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "exllamav2/exllamav2_ext" / name).touch()
    script = str(TREE / "llm/exllama/extension.py")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, check=True, capture_output=True, text=True)
    folder = "exllamav2/exllamav2_ext/"
    names = ("cpp/sampling.cpp", "cuda/q.cu", "cuda/units/one.cu", "ext.cpp")
    assert done.stdout.split() == ["exllamav2_ext", *(folder + name for name in names)]


def test_exllamav2_comes_from_the_file_that_its_lock_pins() -> None:
    """It is compiled from the wheel that the image gets: one entry of one lock, which the build finds by its name."""
    package = load("r36.4.3").find("exllama:v2")
    assert "EXLLAMA_REF" not in package.build_args
    assert package.source["python"] == "exllamav2==0.3.2"
    lock = TREE / "llm/exllama/exllamav2-0.3.2.lock"
    expression = re.search(r'sed -n "(.*?)" "\$here', (TREE / "llm/exllama/build.sh").read_text())
    assert expression
    script = f'EXLLAMA_PACKAGE=exllamav2; sed -n "{expression[1]}" "{lock}"'
    found = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"exllamav2==0\.3\.2 \\\n +--hash=sha256:[0-9a-f]{64}\n", found)


@pytest.mark.parametrize(
    ("names", "written"),
    [
        (["apache_tvm_ffi-0.1.0"], "apache-tvm-ffi==0.1.0\n"),
        (["tvm-0.15.0"], ""),
        (["apache_tvm_ffi-0.1.0", "apache_tvm_ffi-0.1.15"], None),
    ],
)
def test_tvm_keeps_the_interface_library_that_it_was_compiled_with(
    tmp_path: Path, names: list[str], written: str | None
) -> None:
    """TVM keeps the interface library that it was compiled with."""
    place = tmp_path / "lib"
    for name in names:
        project, version = name.split("-")
        (place / f"{name}.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {project.replace('_', '-')}\nVersion: {version}\n"
        (place / f"{name}.dist-info/METADATA").write_text(metadata)
    command = [sys.executable, "-S", str(TREE / "llm/tvm/own_ffi.py"), str(tmp_path / "constraints.txt")]
    env = {"PYTHONPATH": str(place)}
    done = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert (done.returncode == 0) == (written is not None), done.stderr
    if written is None:
        assert "0.1.0, 0.1.15" in done.stderr
    else:
        assert (tmp_path / "constraints.txt").read_text() == written


@pytest.mark.parametrize(("distributed", "changed"), [("ReduceOp = 1", False), ("", True), ("raise OSError", True)])
def test_mmengine_logs_as_rank_0_where_torch_has_no_distributed_part(
    tmp_path: Path, distributed: str, changed: bool
) -> None:
    """MMEngine logs as rank 0 where torch has no distributed part."""
    line = "        global_rank = _get_rank()\n"
    files = {
        "torch/__init__.py": "",
        "torch/distributed.py": distributed,
        "mmengine/__init__.py": "",
        "mmengine/logging/logger.py": line,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    program = [sys.executable, str(TREE / "llm/lmdeploy/adapt_mmengine.py")]
    subprocess.run(program, env={"PYTHONPATH": str(tmp_path)}, check=True, capture_output=True)
    logger = (tmp_path / "mmengine/logging/logger.py").read_text()
    assert logger == ("        global_rank = 0\n" if changed else line)
    if changed:
        again = subprocess.run(program, env={"PYTHONPATH": str(tmp_path)}, check=False, capture_output=True, text=True)
        assert again.returncode == 1
        assert "not the mmengine the recipe was written for" in again.stderr


def test_build_tools_do_not_bring_cmake_4() -> None:
    """It refuses what projects fetch, such as yaml-cpp 0.8; the package `cmake` stays with 3.31 for the same reason."""
    found = re.compile(r"^cmake==(\d+)", re.MULTILINE)
    locks = {path: found.findall(path.read_text()) for path in TREE.glob("*/*/*.lock")}
    assert any(locks.values())
    assert {path for path, versions in locks.items() if set(versions) - {"3"}} == set()


def test_bitsandbytes_build_tools_read_a_license_by_its_spdx_expression() -> None:
    """What builds bitsandbytes reads a license named by its SPDX expression."""
    lock = (TREE / "llm/bitsandbytes/build-tools.lock").read_text()
    version = re.search(r"^setuptools==(\d+)\S* ; python_full_version >= '3.9'", lock, re.MULTILINE)
    assert version
    assert int(version[1]) >= 77


EXLLAMA = {
    "__init__.py": "from .model import Model\nfrom . import cache\nimport wanted_everywhere.part\n",
    "model.py": "from fake_exllama.deep.vision import Picture\nimport os\n",
    "cache.py": "try:\n    import wanted_by_few\nexcept ImportError:\n    pass\n",
    "deep/vision.py": "from wanted_for_pictures import Image\nfrom ..cache import Cache\n",
    "conversion.py": "import wanted_by_nobody\n",
}


def test_exllama_test_imports_what_needs_no_gpu(tmp_path: Path) -> None:
    """ExLlama is tested for what it imports without a GPU."""
    for name, text in EXLLAMA.items():
        (tmp_path / "fake_exllama" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fake_exllama" / name).write_text(text)
    command = "import sys, pathlib, test; print(*test.missing(pathlib.Path(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", command, str(tmp_path / "fake_exllama")],
        env={"PYTHONPATH": str(TREE / "llm/exllama"), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["wanted_everywhere", "wanted_for_pictures"]


def test_exllama_test_finds_what_its_package_says_it_needs(tmp_path: Path) -> None:
    """flash-linear-attention is imported in a `try`: only the metadata asks for it. What an extra needs is left out."""
    metadata = tmp_path / "fake_exllama-1.dist-info" / "METADATA"
    metadata.parent.mkdir()
    needs = ("click>=8", "not-there-at-all>=0.5.0", 'nor-this-one; extra == "test"')
    metadata.write_text("\n".join(["Name: fake_exllama", "Version: 1", *(f"Requires-Dist: {need}" for need in needs)]))
    command = "import test; print(*test.unmet('fake_exllama'))"
    env = {"PYTHONPATH": f"{TREE / 'llm/exllama'}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", command], env=env, check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["not-there-at-all"]


COMPILE_COMMIT = r"""
fetch_git() { mkdir -p "$3"; printf 'one\n' > "$3/code.cpp"; }
record_source() { :; }
python3() { :; }
python() { echo "$LDFLAGS"; cat "$work/source/code.cpp"; }
python=python
"""


@pytest.mark.parametrize(("version", "code"), [("1.4.1", "two"), ("0.0.32", "one")])
def test_exllamav3_is_patched_for_arm_and_finds_pytorchs_libraries(tmp_path: Path, version: str, code: str) -> None:
    """A release with a patch gets it; the extension looks for PyTorch's libraries beside itself, in every layout."""
    patch = "--- a/code.cpp\n+++ b/code.cpp\n@@ -1 +1 @@\n-one\n+two\n"
    (tmp_path / "portable-1.4.1.patch").write_text(patch)
    script = (TREE / "llm/exllama/build.sh").read_text()
    function = re.search(r"^compile_commit\(\) \{.*?^\}$", script, re.MULTILINE | re.DOTALL)
    assert function
    call = f"set -euo pipefail; {COMPILE_COMMIT}\n{function[0]}\ncompile_commit"
    env = {
        "PATH": os.environ["PATH"], "here": str(tmp_path), "work": str(tmp_path / "work"), "EXLLAMA_VERSION": version,
        "EXLLAMA_PACKAGE": "exllamav3", "EXLLAMA_REF": "4" * 40,
    }  # fmt: skip
    done = subprocess.run(["bash", "-c", call], env=env, check=True, capture_output=True, text=True)
    places = ("torch/lib", "nvidia/cu13/lib", "nvidia/cuda_runtime/lib")
    assert done.stdout.splitlines()[-2:] == ["-Wl,-rpath," + ":".join(f"$ORIGIN/{place}" for place in places), code]


def test_exllamav3s_patch_leaves_nothing_for_x86_alone() -> None:
    """Each file that it names guards what it adds by the architecture; the build gets the patch of its version."""
    text = (TREE / "llm/exllama/portable-1.4.1.patch").read_text()
    files = re.split(r"^--- a/", text, flags=re.MULTILINE)[1:]
    assert [file.split("\n")[0].rpartition("/")[2] for file in files] == [
        "avx2_target.cpp", "avx512_target.cpp", "moe_handoff.cu", "moe_mul1.cpp", "all_reduce_cpu.cu",
        "all_reduce_cpu_avx2.cpp", "all_reduce_cpu_avx512.cpp",
    ]  # fmt: skip
    assert [file for file in files if not re.search(r"^\+.*(__x86_64__|__aarch64__)", file, re.MULTILINE)] == []
    dockerfile = (TREE / "llm/exllama/Dockerfile.build").read_text()
    assert re.search(r"^COPY build\.sh .*portable-\*\.patch ", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("target", ["r36.4.3", "r38.2.0", "r39.2.0", "sbsa"])
def test_exllamav3_on_arm_is_the_version_that_compiles_there(target: str) -> None:
    """0.0.32 includes a header that only compilers for x86 have."""
    versions = [package.version for package in load(target).members("exllama")]
    assert versions[0] == "1.4.1"
    assert "0.0.32" not in versions


@pytest.mark.parametrize("package", ["exllamav3-1.4.1", "exllamav3-0.0.32", "exllamav2-0.3.2"])
def test_exllama_has_the_library_for_pictures(package: str) -> None:
    """ExLlama has the library for pictures."""
    assert re.search(r"^pillow==", (TREE / f"llm/exllama/{package}.lock").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["requests", "charset-normalizer", "urllib3", "certifi", "idna"])
def test_gptqmodel_has_what_it_imports_and_does_not_declare(name: str) -> None:
    """Neither transformers 5 nor huggingface_hub 1 brings requests any more."""
    assert re.search(rf"^{name}==", (TREE / "llm/gptqmodel/gptqmodel-7.3.4.lock").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", ["r36.4.3", "r39.2.0", "sbsa", "x86_64", "x86_64-cu129"])
def test_autoawq_depends_on_the_last_transformers_that_it_imports_with(target: str) -> None:
    """AutoAWQ depends on the last transformers that it imports with."""
    solved = solve.solve(load(target), ["auto_awq"])
    assert {package.family: package.version for package in solved.packages}["transformers"] == "4.51.3"


def test_gptqmodel_is_not_compiled_for_the_processor_that_builds_it() -> None:
    """GPTQModel is not compiled for the processor that builds it."""
    text = (TREE / "llm/gptqmodel/install.sh").read_text()
    assert re.search(r"^PYPCRE_DISABLE_NATIVE_FLAGS=1 .*pip wheel .*--no-build-isolation", text, re.MULTILINE)


# It stands in for python3, and for the interpreter of the virtual environment that it is asked to make.
FAKE_PYTHON = """#!/bin/bash
echo "$VLLM_TARGET_DEVICE|$VLLM_VERSION_OVERRIDE|$*" >> "$LOG"
case "$*" in
    *"-m venv "*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
    *purelib*) echo "$PLACE" ;;
    *torch.version*) echo 126 ;;
    *"pip download"*) cd "$WORK" && mkdir vllm-9.9 && tar -czf vllm-9.9.tar.gz vllm-9.9 ;;
    *"pip wheel"*) mkdir -p "$WORK/wheels" && touch "$WORK/wheels/vllm-9.9.whl" ;;
esac
"""


def test_vllm_has_its_plain_version_while_fetched_and_that_of_cuda_when_compiled(tmp_path: Path) -> None:
    """With another version than the one asked for, pip throws the archive away."""
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    work = tmp_path / "work"
    script = (TREE / "llm/vllm/build.sh").read_text().replace("/tmp/vllm_build", str(work))
    (tmp_path / "build.sh").write_text(script)
    (tmp_path / "place").mkdir()
    env = {"PATH": f"{python.parent}:/usr/bin:/bin", "LOG": str(tmp_path / "log"), "WORK": str(work)}
    env |= {"PLACE": str(tmp_path / "place"), "VLLM_VERSION": "9.9", "MAX_JOBS": "1"}
    done = subprocess.run(
        ["bash", str(tmp_path / "build.sh")], env=env, check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    calls = [line.split("|", 2) for line in (tmp_path / "log").read_text().splitlines()]
    seen = {
        word: (device, version) for device, version, text in calls for word in ("download", "wheel ") if word in text
    }
    assert seen == {"download": ("empty", "9.9"), "wheel ": ("cuda", "9.9+cu126")}


NEW = """
class Piece:
    def __init__(self, text): self.delta = type("Delta", (), {"content": text})
class MLCEngine:
    def __init__(self, model, model_lib, mode):
        print("engine", model_lib, mode); self.chat = self; self.completions = self
    def create(self, messages, max_tokens, stream, stream_options):
        for word in (messages[-1]["content"], "!"):
            yield type("Part", (), {"choices": [Piece(word)], "usage": None})
        yield type("Part", (), {"choices": [], "usage": "usage"})
    def terminate(self): pass
"""
OLD = """
class ChatConfig: pass
class GenerationConfig:
    def __init__(self, max_gen_len): self.max_gen_len = max_gen_len
class ChatModule:
    def __init__(self, model, model_lib_path, chat_config): print("module", model_lib_path)
    def generate(self, prompt, generation_config, progress_callback): print(prompt + "!")
    def stats(self): return "stats"
"""


def chat(tmp_path: Path, modules: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in modules.items():
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    command = [sys.executable, str(CHAT), *arguments]
    env = {"PYTHONPATH": str(tmp_path / "lib")}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def model(tmp_path: Path, *names: str) -> Path:
    for name in names:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).touch()
    return tmp_path / "model"


def test_mlc_chat_uses_the_new_interface_where_the_image_has_it(tmp_path: Path) -> None:
    """Chatting uses the new interface where the image has it."""
    directory = model(tmp_path, "mlc-chat-config.json", "tensor-cache.json", "model-cuda.so")
    done = chat(tmp_path, {"mlc_llm.py": NEW}, str(directory), "-p", "hello")
    assert (done.returncode, done.stderr) == (0, "[usage]\n")
    assert done.stdout == f"engine {directory}/model-cuda.so interactive\nhello!\n"


def test_mlc_chat_uses_the_old_interface_where_the_image_has_that(tmp_path: Path) -> None:
    """Chatting uses the old interface where the image has that."""
    directory = model(tmp_path, "params/mlc-chat-config.json", "params/ndarray-cache.json", "m-cuda.so")
    modules = {
        "mlc_chat/__init__.py": OLD,
        "mlc_chat/callback.py": "def StreamToStdout(callback_interval): pass",
        "mlc_llm.py": "",
    }
    done = chat(tmp_path, modules, str(directory), "-p", "hello")
    assert (done.returncode, done.stderr) == (0, "[stats]\n")
    assert done.stdout == f"module {directory}/m-cuda.so\nhello!\n"


@pytest.mark.parametrize(
    ("names", "given", "found"),
    [
        (["mlc-chat-config.json", "tensor-cache.json"], "model", "None"),
        (["mlc-chat-config.json", "tensor-cache.json", "a.so"], "model", "model/a.so"),
        (["mlc-chat-config.json", "tensor-cache.json", "a.so"], "model/", "model/a.so"),
        (["params/mlc-chat-config.json", "params/ndarray-cache.json", "a.so"], "model/params", "model/a.so"),
        (
            ["q-MLC/mlc-chat-config.json", "q-MLC/tensor-cache.json", "libs/q-cuda.so"],
            "model/q-MLC",
            "model/libs/q-cuda.so",
        ),
        (["q-MLC/mlc-chat-config.json", "q-MLC/tensor-cache.json", "libs/z-cuda.so"], "model/q-MLC", "None"),
        (["q-MLC/mlc-chat-config.json", "q-MLC/tensor-cache.json", "a.so", "b.so"], "model/q-MLC", "None"),
    ],
)
def test_mlc_chat_finds_the_library_where_the_documents_of_mlc_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], given: str, found: str
) -> None:
    """The compiled library is found where MLC's documents put it."""
    model(tmp_path, *names)
    monkeypatch.chdir(tmp_path)
    done = chat(tmp_path, {"mlc_llm.py": NEW}, given, "-p", "hello")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == (found if found == "None" else str(tmp_path / found))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["x"], "no mlc-chat-config.json"),
        (["mlc-chat-config.json"], "no weights"),
        (["mlc-chat-config.json", "tensor-cache.json", "a.so", "b.so"], "several libraries"),
    ],
)
def test_mlc_chat_says_what_is_wrong_with_a_directory(tmp_path: Path, names: list[str], words: str) -> None:
    """Chatting says what is wrong with a directory."""
    done = chat(tmp_path, {"mlc_llm.py": NEW}, str(model(tmp_path, *names)), "-p", "hello")
    assert done.returncode == 1
    assert words in done.stderr
    assert "hint:" in done.stderr


TUTORIAL = TREE.parent / "data" / "MLC-LLM-on-Jetson"
QUANTIZED = "Llama-2-7b-chat-hf-q4f16_ft"


def test_tutorial_scripts_stand_where_the_tutorial_looks_for_them() -> None:
    """The tutorial's scripts stand where it looks for them."""
    for name in ("Llama-2-7b-chat-hf.py", f"{QUANTIZED}.py", "chat-mlc", "chat-transformers"):
        assert (TUTORIAL / name).read_bytes() == (CHAT.parent / name).read_bytes()
    # the tutorial's first step makes a link in here, and makes no directory
    assert (TREE.parent / "data/models/mlc/dist/models").is_dir()


def tutorial(tmp_path: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the tutorial, with `tmp_path` in the place of the directory that it names."""
    copy = tmp_path / "MLC-LLM-on-Jetson"
    shutil.copytree(TUTORIAL, copy)
    text = (copy / script).read_text()
    (copy / script).write_text(text.replace('"/data/models/mlc/dist', f'"{tmp_path}/dist'))
    env = {"PYTHONPATH": str(tmp_path / "lib")}
    command = [sys.executable, script, *arguments]
    return subprocess.run(
        command, cwd=copy, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("suffix", ["", "-MLC"])
def test_tutorial_model_chats_by_either_interface(tmp_path: Path, suffix: str) -> None:
    """The tutorial's quantized model chats by either interface."""
    directory = tmp_path / "dist" / (QUANTIZED + suffix)
    files = {
        "": {"params/mlc-chat-config.json", "params/ndarray-cache.json", f"{QUANTIZED}-cuda.so"},
        "-MLC": {"mlc-chat-config.json", "tensor-cache.json", f"{QUANTIZED}-cuda.so"},
    }[suffix]
    modules = {"mlc_llm.py": NEW}
    if not suffix:
        modules |= {"mlc_chat/__init__.py": OLD, "mlc_chat/callback.py": "def StreamToStdout(callback_interval): pass"}
    for path, text in {directory / name: "" for name in files}.items() | {
        (tmp_path / "lib" / name, text) for name, text in modules.items()
    }:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = tutorial(tmp_path, f"{QUANTIZED}.py", "-p", "hello")
    assert done.returncode == 0, done.stderr
    assert f"{directory}/{QUANTIZED}-cuda.so" in done.stdout
    assert "hello!" in done.stdout


@pytest.mark.parametrize("script", ["Llama-2-7b-chat-hf.py", f"{QUANTIZED}.py"])
def test_tutorial_scripts_say_which_step_is_missing(tmp_path: Path, script: str) -> None:
    """The tutorial's scripts say which step is missing."""
    done = tutorial(tmp_path, script)
    assert done.returncode == 1
    assert "hint: the tutorial's" in done.stderr


def weights_of(tmp_path: Path, size: int, dtype: str) -> Path:
    directory = tmp_path / "dist/models/Llama-2-7b-chat-hf"
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(f'{{"torch_dtype": "{dtype}"}}')
    with (directory / "model.safetensors").open("wb") as file:
        file.truncate(size)
    return directory


STAND_INS = {
    "torch.py": "class cuda:\n    is_available = staticmethod(lambda: True)\nfloat16 = 1",
    "transformers.py": """
__version__ = "5.0"
class AutoTokenizer:
    def from_pretrained(directory): raise SystemExit(9)
class AutoModelForCausalLM: pass
""",
}


@pytest.mark.parametrize(
    ("terabytes", "dtype", "arguments", "status"),
    [
        (9, "float16", [], 1),
        (9, "float16", ["--force"], 9),
        (0, "float32", [], 9),
    ],
)
def test_tutorial_refuses_weights_larger_than_the_memory_before_reading_them(
    tmp_path: Path, terabytes: int, dtype: str, arguments: list[str], status: int
) -> None:
    """Weights larger than the memory are refused before they are read."""
    weights_of(tmp_path, terabytes * 10**12 + 1000, dtype)
    for name, text in STAND_INS.items():
        (tmp_path / "lib" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "lib" / name).write_text(text)
    done = tutorial(tmp_path, "Llama-2-7b-chat-hf.py", *arguments)
    assert done.returncode == status, done.stderr
    assert ("the kernel would kill" in done.stderr) == (status == 1)


@pytest.mark.parametrize("target", ["x86_64,cpu", "arm64,cpu", "x86_64,cpu,debian12"])
def test_mlc_without_a_gpu_needs_no_cuda_and_the_tvm_it_is_linked_to(target: str) -> None:
    """The row for a CPU brings the wheel of TVM that its sources are of, nothing of CUDA, and compiles for no GPU."""
    solved = solve.solve(load(target), ["mlc"])
    families = {package.family: package for package in solved.packages}
    assert families["mlc"].version == "0.26.dev4"
    assert families["tvm"].version == "0.26.0"
    assert not {family for family in families if family.startswith("cuda")}
    assert families["mlc"].build_args["CUDA_ARCHITECTURES"] == ""
    pins = (TREE / "llm/tvm/tvm-0.26.0.lock").read_text()
    assert "apache-tvm==0.26.0" in pins
    assert "apache-tvm-ffi==0.1.13.post2" in pins  # what the sources of TVM 0.26.0 contain


MLC_PASSES = {
    "scatter_tuple_get_item.py": (
        "emit(self.var_map[var], name_hint=var.name_hint)\ng_var.name_hint\n",
        "emit(self.var_map[var], name_hint=var.name)\ng_var.name_hint\n",
    ),
    "pipeline_parallel_rewrite.py": (
        "params[num_input].name_hint\ng_var.name_hint\nbinding.var.name_hint\nreceive_var.name_hint\nrequired_param.name_hint\n",
        "params[num_input].name\ng_var.name_hint\nbinding.var.name\nreceive_var.name\nrequired_param.name\n",
    ),
}  # fmt: skip


def adapt_mlc(root: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(TREE / "llm/mlc/adapt_source.py"), str(root)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_mlc_source_asks_a_variable_for_its_name(tmp_path: Path) -> None:
    """Variables are asked for `name`; global variables, and arguments of the old name, stay. Twice is an error."""
    folder = tmp_path / "python/mlc_llm/compiler_pass"
    folder.mkdir(parents=True)
    for name, (before, _) in MLC_PASSES.items():
        (folder / name).write_text(before)
    done = adapt_mlc(tmp_path)
    assert done.returncode == 0, done.stderr
    assert {name: (folder / name).read_text() for name in MLC_PASSES} == {
        name: after for name, (_, after) in MLC_PASSES.items()
    }
    again = adapt_mlc(tmp_path)
    assert again.returncode == 1
    assert "not the source the recipe was written for" in again.stderr


@pytest.mark.parametrize(
    ("target", "version", "dockerfile"),
    [
        ("x86_64,cu130", "0.50.2", "Dockerfile.cuda-wheel"),
        ("sbsa,cu130", "0.50.2", "Dockerfile.cuda-wheel"),
        ("r38.2.0", "0.50.2", "Dockerfile.cuda-wheel"),  # Thor alone
        ("r39.2.0", "0.49.2", "Dockerfile"),  # Orin too, whose code the wheel lacks
        ("r36.4.3", "0.49.2", "Dockerfile"),
        ("x86_64,cu126", "0.49.2", "Dockerfile"),
        ("cpu", "0.50.2", "Dockerfile.wheel"),
    ],
)
def test_bitsandbytes_is_compiled_only_where_its_wheel_lacks_code(target: str, version: str, dockerfile: str) -> None:
    """The published wheel is taken where it has code for all GPUs of the platform."""
    package = load(target).find("bitsandbytes")
    assert (package.version, package.dockerfile) == (version, dockerfile)
