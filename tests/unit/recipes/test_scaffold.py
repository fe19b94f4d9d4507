"""The files of a new package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli.main import main
from jetson_containers.core.errors import UsageError
from jetson_containers.lint import run
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from jetson_containers.recipes import scaffold
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.lint.findings import LintFinding


@pytest.fixture(scope="module")
def new_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a new package of each kind."""
    tree = tmp_path_factory.mktemp("new")
    for kind in scaffold.KINDS:
        assert main(["new", f"my-{kind}", "--kind", kind, "--directory", str(tree)]) == 0
    return tree


@pytest.fixture(scope="module")
def findings(new_packages: Path) -> list[LintFinding]:
    """What lint says of them on every platform, all at once: reading our own tree for it takes seconds."""
    names = [f"my-{kind}" for kind in scaffold.KINDS]
    trees = (ROOT_DIR / "packages", new_packages)
    report = run.lint(trees, names, targets=SUPPORTED_TARGETS, shellcheck=True)
    assert report.packages == len(names)
    return list(report.findings)


@pytest.mark.long
@pytest.mark.parametrize("kind", sorted(scaffold.KINDS))
def test_new_package_has_no_finding(
    new_packages: Path, findings: list[LintFinding], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """What is made lints without a word on every platform, and its stages can be planned."""
    others = [other for other in scaffold.KINDS if other != kind]
    mine = [item for item in findings if not any(f"my-{other}" in item.file.parts for other in others)]
    assert [(item.rule, item.message) for item in mine] == []
    capsys.readouterr()
    name = f"my-{kind}"
    assert main(["build", "--dry-run", "--target", "r36.4.3", "--package-dirs", str(new_packages), name]) == 0
    assert name in capsys.readouterr().out


def test_new_package_of_nothing_says_what_it_installs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--of` an example is installed; that is said, and only then."""
    assert main(["new", "mine", "--kind", "pip", "--directory", str(tmp_path)]) == 0
    assert "it installs `cowsay==6.1` as an example" in capsys.readouterr().err
    assert main(["new", "other", "--kind", "apt", "--of", "jq", "--directory", str(tmp_path)]) == 0
    assert "example" not in capsys.readouterr().err


def test_files_pin_what_is_named() -> None:
    """Another wheel begins with an unfilled lock; another apt package takes the place of the example."""
    made = scaffold.files("dims", "pip", "einops==0.8.1")
    assert made["dims.lock"] == "einops==0.8.1\n"
    assert 'assert version("einops") == "0.8.1"' in made["test.py"]
    assert "--no-install-recommends ffmpeg " in scaffold.files("film", "apt", "ffmpeg")["Dockerfile"]


@pytest.mark.parametrize(
    ("name", "kind", "of"),
    [("My Tool", "pip", ""), ("../x", "apt", ""), ("x", "pip", "einops>=1"), ("x", "apt", "a b"), ("x", "node", "y")],
)
def test_files_refuse_what_cannot_be_a_package(name: str, kind: str, of: str) -> None:
    """Names and requirements are checked before anything is written."""
    with pytest.raises(UsageError):
        scaffold.files(name, kind, of)


def test_new_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a directory that is there nor a package of the catalog."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("")
    assert main(["new", "mine", "--directory", str(tmp_path)]) == 2
    assert main(["new", "llama_cpp", "--directory", str(tmp_path)]) == 2
    assert not (tmp_path / "llama_cpp").exists()
