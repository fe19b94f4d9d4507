"""The pages that a newcomer reads: every command in their code blocks is executed by bash, as it stands there.

A block behind `<!-- needs: … -->` needs what a test has not: an engine, the network, a board, an administrator. There
each command is executed as a dry run, with a docker that only answers questions; those without a dry run stand in
`PARSED`, with the test that runs them, and here only their options are checked.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from jetson_containers.images import labels
from jetson_containers.launch import options
from jetson_containers.platforms.detect import detect
from tests import preloaded
from tests.paths import ROOT_DIR
from tests.unit.cli.test_docs import LAUNCHERS, parsed, words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GUIDE = (
    "README.md", "docs/start.md", "docs/run.md", "docs/build.md", "docs/models.md", "docs/own-package.md",
    "docs/trees.md", "docs/farm.md", "docs/offline.md", "docs/ci.md", "docs/coming-from-upstream.md",
    "docs/troubleshooting.md", "docs/glossary.md", "docs/settings.md",
)  # fmt: skip
NEEDS = {"engine", "network", "board", "root"}
BLOCK = re.compile(r"(?:<!-- needs: ([a-z, ]+) -->\n)?```bash\n(.*?)```", re.DOTALL)
READS = {
    "autotag",
    "df",
    "doctor",
    "images",
    "info",
    "llm fit",
    "llm suggest",
}  # run as they stand, whatever the block needs
DRY = ("build", "run", "setup", "prune", "llm chat", "llm serve", "llm bench", "llm quantize", "llm rm")
# What has no dry run: its options are checked, and the test named runs it.
PARSED = {
    "--podman": "tests/real/test_podman.py",
    "--undo": "tests/real/test_setup.py",
    "--upstream": "tests/unit/cli/test_upstream.py, because upstream's tree has to be fetched",
    "--mirrors /": "tests/real/test_mirrors.py",
    "--locked": "tests/unit/cli/test_lock.py",
    "bundle": "tests/real/test_bundle.py",
    "download": "tests/real/test_hub.py, because a dry run asks the hub for its files",
    "farm": "tests/real/test_farm.py",
    "flatten": "tests/unit/cli/test_images.py",
    "llm logs": "tests/unit/llm/test_servers.py",
    "llm ps": "tests/unit/llm/test_servers.py",
    "llm stop": "tests/unit/llm/test_servers.py",
    "lock": "tests/unit/cli/test_lock.py",
    "mirror": "tests/real/test_mirrors.py",
    "report": "tests/unit/pages/test_build_report.py, which opens no browser",
    "site": "tests/real/test_pages.py",
    "test": "tests/real/test_spine.py",
    "verify": "tests/unit/builder/test_verify.py",
}
# Other programs, which only a machine with what the block needs can run.
ELSEWHERE = {
    "git": "the clone of this repository", "cd": "into that clone", "curl": "a server of `llm serve`",
    "podman": "tests/real/test_podman.py", "docker": "tests/real/test_launch.py",
    "openssl": "certificates: tests/real/test_farm.py", ".venv/bin/pip": "the extra `[farm]`",
    "./quickstart.sh": "tests/unit/scripts", "./install.sh": "tests/unit/scripts", "./test.sh": "tests/unit/scripts",
}  # fmt: skip
DOCKER = """#!/bin/sh
case "$1 $2" in
  "info "*) echo '{{"ServerVersion": "28.0.4", "OSType": "linux", "Driver": "overlay2"}}' ;;
  "version "*) echo '{{"Client": {{"Version": "28.0.4"}}, "Server": {{"Version": "28.0.4", "ApiVersion": "1.48"}}}}' ;;
  "image ls") for name in {ids}; do echo $name; done ;;
  "system df") echo '{{"Type": "Images", "TotalCount": "2", "Active": "0", "Size": "1GB", "Reclaimable": "1GB"}}' ;;
  "image inspect") cat {folder}/image.json ;;
  *) echo "docker: a dry run asks for $*" >&2; exit 1 ;;
esac
"""
PACKAGES = ("llama_cpp", "my-tool")  # of which an image is there


@dataclass(frozen=True, kw_only=True)
class Line:
    """A command of a page: the block's needs, and the words of the shell."""

    page: str
    needs: frozenset[str]
    text: str

    @property
    def program(self) -> str:
        """The program, without `sudo` and variables before it."""
        plain = [word for word in self.text.split() if word != "sudo" and not re.match(r"[A-Z_]+=", word)]
        return plain[0]

    @property
    def arguments(self) -> list[str]:
        """What our command line gets of it."""
        rest = self.text.split(self.program, 1)[1]
        return [*LAUNCHERS[self.program], *words(rest)]

    @property
    def command(self) -> str:
        """The names of the command and its subcommand, where it has some."""
        given = [word for word in self.arguments if not word.startswith("-")]
        return " ".join(given[: 2 if given[0] == "llm" else 1])


def lines(page: str) -> list[Line]:
    """The commands of a page, in their order. A comment ends a line; `\\` continues one."""
    found = []
    for needs, block in BLOCK.findall((ROOT_DIR / page).read_text(encoding="utf-8")):
        given = frozenset(needs.replace(" ", "").split(",")) - {""}
        assert given <= NEEDS, f"{page}: unknown needs {given - NEEDS}"
        for text in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"(?:^|\s+)#\s.*$", "", text).strip()
            found += [Line(page=page, needs=given, text=command)] * bool(command)
    return found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a user who has run a command before: the recipes that were read. Others test a new one."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A server of our command line."""
    with preloaded.server(tmp_path_factory.mktemp("commands")) as path:
        yield path


@pytest.fixture
def shell(tmp_path: Path, cache: Path, command_server: Path) -> dict[str, str]:
    """An environment in which the launchers of the docs are this checkout's, with a home and data of their own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, start in (("jetson-containers", ""), ("build.sh", "build"), ("run.sh", "run"), ("autotag", "autotag")):
        text = preloaded.launcher(command_server, start)
        for place in (programs / name, tmp_path / name):
            place.write_text(text)
            place.chmod(0o755)
    images = [image(number, package) for number, package in enumerate(PACKAGES)]
    (tmp_path / "image.json").write_text("\n".join(map(json.dumps, images)))
    ids = " ".join(str(each["Id"]) for each in images)
    (programs / "docker").write_text(DOCKER.format(ids=ids, folder=tmp_path))
    (programs / "docker").chmod(0o755)
    env = {
        "PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": str(cache), "JETSON_CONTAINERS_LOGS": str(tmp_path / "logs"),
        "JETSON_CONTAINERS_OFFLINE": "1", "PYTHONPATH": str(ROOT_DIR),
    }  # fmt: skip
    (tmp_path / "home").mkdir()
    return env


def image(number: int, package: str) -> dict[str, object]:
    """What docker says of an image of ours that runs on this machine."""
    platform, name, key = detect(), f"{package}:1.0", f"{number:064x}"
    written = labels.make(role=labels.FINAL, name=name, key=key, packages=[name], platform=platform)
    return {
        "Id": f"sha256:{key}", "Layers": [f"sha256:{key}"], "RepoTags": [name], "RepoDigests": None,
        "Size": 1000, "Config": {"Labels": written},
        "Architecture": platform.docker_platform.removeprefix("linux/"), "Created": "2026-01-01T00:00:00Z",
    }  # fmt: skip


def as_dry_run(line: Line) -> str:
    """The command with `--dry-run`."""
    text = line.text.removeprefix("sudo ")
    if "--dry-run" in text:
        return text
    start = line.program + f" {line.command}" * (line.program == "jetson-containers")
    return text.replace(start, f"{start} --dry-run", 1)


def exception(line: Line) -> str:
    """The exception that holds for a command, if any: an option, or the command's name."""
    return next((key for key in PARSED if key in line.text and (key[0] == "-" or key == line.command)), "")


def check_options(line: Line) -> None:
    name, given = parsed(line.arguments)
    if name == "run" and given:
        assert options.parse(list(given["arguments"])).image, line.text


def execute(text: str, env: dict[str, str], folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=env, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, f"{text}\n{done.stderr}"
    # `doctor` says by its code what the machine lacks; a model that does not fit is an answer as well.
    answers = {0, 1, 4} if " doctor" in text else {0}
    assert done.returncode in answers, f"{text}\nexit code {done.returncode}\n{done.stdout}{done.stderr}"


@pytest.mark.long
@pytest.mark.parametrize("page", GUIDE)
def test_guide_commands_run(page: str, shell: dict[str, str], tmp_path: Path) -> None:
    """Each command of a page runs: as it stands, or as a dry run where the block needs more than a test has."""
    for line in lines(page):
        if not line.needs or (line.program in LAUNCHERS and line.command in READS):
            execute(line.text, shell, tmp_path)
        elif line.program not in LAUNCHERS:
            assert line.program in ELSEWHERE, f"{page}: {line.text}"
        elif exception(line):
            check_options(line)
        else:
            assert line.command in DRY, f"{page}: {line.text}"
            execute(as_dry_run(line), shell, tmp_path)


def test_guide_pages_are_linked_from_the_readme() -> None:
    """The README leads to each page of the guide."""
    readme = (ROOT_DIR / "README.md").read_text(encoding="utf-8")
    assert [page for page in GUIDE if page.startswith("docs/") and f"]({page})" not in readme] == []


def test_guide_exceptions_are_needed_and_their_tests_exist() -> None:
    """No exception is left over, and the tests that exceptions name are there."""
    every = [line for page in GUIDE for line in lines(page) if line.needs]
    assert set(PARSED) == {exception(line) for line in every if line.program in LAUNCHERS} - {""}
    assert set(ELSEWHERE) <= {line.program for line in every}
    named = [word.rstrip(":,") for text in (*PARSED.values(), *ELSEWHERE.values()) for word in text.split()]
    assert [name for name in named if name.startswith("tests/") and not (ROOT_DIR / name).exists()] == []


def test_troubleshooting_page_is_current() -> None:
    """The page about symptoms is generated from the table of signatures and the logs that test it."""
    done = subprocess.run([sys.executable, "tools/troubleshooting.py", "--check"], cwd=ROOT_DIR, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/troubleshooting.py"
