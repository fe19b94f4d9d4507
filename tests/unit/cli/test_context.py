"""`jetson-containers context`: the staged build context of a package, for a plain `docker build`."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import main
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from pathlib import Path

USER = """#---
# name: user
# depends: [python]
# share: [git/fetch.sh]
# args: {VERSION: 'a b'}
# artifacts: Dockerfile.build
#---
ARG BASE_IMAGE
ARG ARTIFACT_IMAGE
FROM ${BASE_IMAGE}
"""
BUILD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG VERSION\nCOPY .jetson/shared/git/fetch.sh /tmp/\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "ml/user/Dockerfile": USER,
        "ml/user/Dockerfile.build": BUILD,
        "ml/python/Dockerfile.j2": "#---\n# name: python\n#---\nFROM scratch\nENV ARCH={{ arch }}\n",
        "ml/all/Dockerfile": "#---\n# name: all\n# depends: [user]\n#---\n",
        "shared/git/fetch.sh": "fetch\n",
    }
    return write(tmp_path / "tree", files)


def run(tree: Path, *argv: str) -> int:
    return main.main(["context", *argv, "--packages", str(tree), "--target", "x86_64,cpu"])


def test_context_writes_own_and_shared_files(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The context holds the package's own files and the shared ones."""
    out = tmp_path / "out"
    assert run(tree, "user", str(out)) == 0
    assert (out / ".jetson/shared/git/fetch.sh").read_text() == "fetch\n"
    assert (out / "Dockerfile.build").stat().st_nlink == 1  # a copy: editing it must not edit the recipe
    assert (out / ".jetson/shared/git/fetch.sh").stat().st_nlink == 1
    base = "--build-arg=BASE_IMAGE=IMAGE_WITH_PYTHON"
    made = "docker build --tag=user"
    compiles, installs = capsys.readouterr().out.splitlines()
    assert compiles == f"{made}-artifact --file={out}/Dockerfile.build {base} '--build-arg=VERSION=a b' {out}"
    assert installs == f"{made} --file={out}/Dockerfile {base} --build-arg=ARTIFACT_IMAGE=user-artifact {out}"


def test_context_renders_templates_for_the_platform(tree: Path, tmp_path: Path) -> None:
    """Templates are rendered for the platform."""
    assert run(tree, "python", str(tmp_path / "out")) == 0
    assert (tmp_path / "out/Dockerfile").read_text().endswith("ENV ARCH=x86_64\n")


def test_context_as_json(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON names the directory and its files."""
    assert run(tree, "user", str(tmp_path / "out"), "--json") == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["package"], data["directory"]) == ("user", str(tmp_path / "out"))
    assert [build["dockerfile"] for build in data["builds"]] == ["Dockerfile.build", "Dockerfile"]
    assert data["builds"][0]["command"][:2] == ["docker", "build"]


@pytest.mark.parametrize(("name", "there"), [("user", True), ("all", False)])
def test_context_refuses_a_directory_that_exists_and_a_meta_package(
    tree: Path, tmp_path: Path, name: str, there: bool
) -> None:
    """A directory that exists and a meta package are refused."""
    if there:
        (tmp_path / "out").mkdir()
    assert run(tree, name, str(tmp_path / "out")) == 2
    assert (tmp_path / "out").exists() is there


def test_context_names_a_place_that_cannot_be_written(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place where no directory can be made is named in one error, without a traceback."""
    (tmp_path / "file").write_text("")
    assert run(tree, "user", str(tmp_path / "file" / "out")) == 4
    assert f"{tmp_path}/file/out cannot be written: Not a directory" in capsys.readouterr().err


def test_context_leaves_nothing_half_done(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the disk is full, or Ctrl-C is pressed, half a context is removed: the next try finds its place free."""
    for error, code in ((OSError(errno.ENOSPC, "No space left on device"), 4), (KeyboardInterrupt(), 130)):

        def fail(_request: object, directory: Path, error: BaseException = error, **_: object) -> None:
            (directory / "half").mkdir(parents=True)
            raise error

        monkeypatch.setattr("jetson_containers.engine.context.lay_out", fail)
        assert run(tree, "user", str(tmp_path / "out")) == code
        assert not (tmp_path / "out").exists()
    assert "cannot be written: No space left on device" in capsys.readouterr().err
