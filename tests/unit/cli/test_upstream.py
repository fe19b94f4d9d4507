"""`--upstream DIR|REF`, and from which tree a stage comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import main, upstream
from tests.unit.cli.test_checkout import git

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = "#---\n# depends: [python]\n#---\nARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a tree in upstream's format, with one commit, a tag and a branch."""
    recipe = tmp_path / "theirs" / "packages" / "group" / "tool"
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text(RECIPE)
    (recipe / "config.py").write_text("package['name'] = 'tool:7'\n")
    made = tmp_path / "theirs"
    git(made, "init")
    git(made, "add", ".")
    git(made, "commit", "-m", "first")
    git(made, "tag", "v7")
    git(made, "branch", "team/work")
    return made


@pytest.fixture
def mirrored(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The checkout in place of the public repository; the cache directory."""
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps({"git": {upstream.REPOSITORY: f"file://{checkout}"}}))
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "upstream"


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main.main([*argv, "--target", "x86_64,cpu"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_upstream_directory_stands_beside_ours(capsys: pytest.CaptureFixture[str], checkout: Path) -> None:
    """A checkout is taken with its packages; so is a directory of packages."""
    for directory in (checkout, checkout / "packages"):
        code, out, err = run(capsys, "show", "tool", "--upstream", str(directory), "--json")
        assert code == 0, err
        assert json.loads(out)["tree"] == str(checkout / "packages")
    assert run(capsys, "show", "tool")[0] == 2


@pytest.mark.parametrize("ref", ["v7", "team/work", "HEAD"])
def test_upstream_reference_is_fetched_once(
    capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    """A branch or tag is fetched into the cache directory, and used again without a network."""
    code, out, err = run(capsys, "list", "tool", "--upstream", ref)
    assert (code, out) == (0, "tool:7\n"), err
    assert "fetching" in err
    commit = git(checkout, "rev-parse", "HEAD")
    assert {path.name for path in mirrored.iterdir()} - {".lock"} == {"repository", commit, upstream.RECORD}
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps({"git": {upstream.REPOSITORY: "file:///nowhere"}}))
    assert run(capsys, "--offline", "list", "tool", "--upstream", ref)[1:] == ("tool:7\n", "")


def age(mirrored: Path, ref: str, days: float) -> None:
    """Let a branch have been fetched that many days ago."""
    file = mirrored / upstream.RECORD
    records = json.loads(file.read_text())
    records[ref]["fetched"] -= days * upstream.DAY
    file.write_text(json.dumps(records))


def commit_another(checkout: Path, version: int) -> str:
    """A further commit, in which the recipe has another version."""
    (checkout / "packages/group/tool/config.py").write_text(f"package['name'] = 'tool:{version}'\n")
    git(checkout, "commit", "-a", "-m", "another")
    return git(checkout, "rev-parse", "HEAD")


def test_upstream_branch_is_renewed_when_it_is_old(
    capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path
) -> None:
    """A branch of yesterday is used as it is, one of last week is fetched anew; commit and age are said."""
    branch = git(checkout, "branch", "--show-current")
    first = git(checkout, "rev-parse", "HEAD")
    assert run(capsys, "list", "tool", "--upstream", branch)[1] == "tool:7\n"
    second = commit_another(checkout, 8)
    age(mirrored, branch, 6)
    assert run(capsys, "list", "tool", "--upstream", branch)[1:] == ("tool:7\n", "")
    age(mirrored, branch, 3)
    _, out, err = run(capsys, "list", "tool", "--upstream", branch)
    assert out == "tool:8\n"
    assert f"commit {first[:12]}, fetched 9 days ago" in err
    assert f"commit {second[:12]}" in err
    assert (mirrored / first).is_dir()
    assert run(capsys, "list", "tool", "--upstream", first)[1:] == ("tool:7\n", "")


def test_upstream_branch_that_was_fetched_in_the_future_is_renewed(
    capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path
) -> None:
    """A time that a wrong clock wrote is not valid for ten years; the age is not said, as it is not known."""
    branch = git(checkout, "branch", "--show-current")
    run(capsys, "list", "tool", "--upstream", branch)
    commit_another(checkout, 8)
    age(mirrored, branch, -3650)
    _, out, err = run(capsys, "list", "tool", "--upstream", branch)
    assert (out, "days ago" in err) == ("tool:8\n", False)


def test_upstream_branch_is_renewed_when_asked(
    capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`update --upstream REF` fetches a branch of today; so does each command with the setting at 0 days."""
    branch = git(checkout, "branch", "--show-current")
    run(capsys, "list", "tool", "--upstream", branch)
    commit = commit_another(checkout, 8)
    code, out, _ = run(capsys, "update", "--upstream", branch, "--json")
    assert (code, json.loads(out)["commit"]) == (0, commit)
    assert run(capsys, "list", "tool", "--upstream", branch)[1:] == ("tool:8\n", "")
    commit_another(checkout, 9)
    monkeypatch.setenv("JETSON_CONTAINERS_UPSTREAM_DAYS", "0")
    assert run(capsys, "list", "tool", "--upstream", branch)[1] == "tool:9\n"


def test_upstream_branch_that_is_old_still_serves_without_an_answer(
    capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline it is used without a word; where nothing answers a warning says which commit of what age is used."""
    branch = git(checkout, "branch", "--show-current")
    run(capsys, "list", "tool", "--upstream", branch)
    age(mirrored, branch, 30)
    assert run(capsys, "--offline", "list", "tool", "--upstream", branch)[1:] == ("tool:7\n", "")
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps({"git": {upstream.REPOSITORY: "file:///nowhere"}}))
    code, out, err = run(capsys, "list", "tool", "--upstream", branch)
    assert (code, out) == (0, "tool:7\n")
    assert f"going on with commit {git(checkout, 'rev-parse', 'HEAD')[:12]}, fetched 30 days ago" in err
    assert run(capsys, "update", "--upstream", branch)[0] == 4


def test_upstream_fetch_removes_what_a_killed_one_left(capsys: pytest.CaptureFixture[str], mirrored: Path) -> None:
    """Files that a killed fetch had laid out are removed by the next one."""
    (mirrored / ".new-killed" / "packages").mkdir(parents=True)
    assert run(capsys, "list", "tool", "--upstream", "v7")[0] == 0
    assert not list(mirrored.glob(".new-*"))


def test_upstream_commit_is_fetched(capsys: pytest.CaptureFixture[str], mirrored: Path, checkout: Path) -> None:
    """A full commit is fetched; of a shortened one is said what it lacks."""
    commit = git(checkout, "rev-parse", "HEAD")
    assert run(capsys, "list", "tool", "--upstream", commit)[1] == "tool:7\n"
    code, _, err = run(capsys, "list", "tool", "--upstream", commit[:8])
    assert code == 2
    assert "40 digits" in err
    assert not (mirrored / commit[:8]).exists()


def test_upstream_that_cannot_be_reached_is_an_error(
    capsys: pytest.CaptureFixture[str], mirrored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline and without an answer the error says what to do, and the next try begins anew."""
    code, _, err = run(capsys, "--offline", "list", "tool", "--upstream", "v7")
    assert code == 4
    assert "--upstream DIR" in err
    nowhere = json.dumps({"git": {upstream.REPOSITORY: "file:///nowhere"}})
    with monkeypatch.context() as patched:
        patched.setenv("JETSON_CONTAINERS_MIRRORS", nowhere)
        code, _, err = run(capsys, "list", "tool", "--upstream", "v7")
    assert code == 4
    assert "could not be fetched" in err
    assert run(capsys, "list", "tool", "--upstream", "v7")[1] == "tool:7\n"
    assert run(capsys, "list", "tool", "--upstream", "nonesuch")[0] == 2


@pytest.mark.parametrize("word", ["./nowhere", "/nowhere", "~/nowhere", "--upload-pack=x", "a b", "a..b"])
def test_upstream_word_that_is_neither_is_refused(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """What is no directory and no name of git is refused before anything is asked."""
    code, _, err = run(capsys, "list", f"--upstream={word}")
    assert code == 2
    said = "is not a valid value for `upstream`" if word.startswith("-") else "neither a directory"
    assert said in err


def test_tree_of_each_stage_is_shown_where_there_are_several(
    capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    """Plan and tree name the directory of what is not built in, as text and as JSON."""
    home = str(checkout / "packages")
    code, out, err = run(capsys, "build", "--dry-run", "tool", "--upstream", str(checkout), "--json")
    assert code == 0, err
    stages = {stage["package"].partition(":")[0]: stage["tree"] for stage in json.loads(out)["stages"]}
    assert stages["tool"] == home
    assert stages["python"] == stages["upstream-base"] == "built-in"
    _, out, _ = run(capsys, "build", "--dry-run", "tool", "--upstream", str(checkout))
    assert [line.split()[-1] for line in out.splitlines() if " tool:7 " in line] == [home]
    assert out.splitlines()[0].split()[-1] == "tree"
    _, out, _ = run(capsys, "tree", "tool", "--upstream", str(checkout))
    assert out.splitlines()[0].endswith(f", {home}]")
    _, out, _ = run(capsys, "tree", "tool", "--upstream", str(checkout), "--json")
    assert json.loads(out)["trees"]["tool:7"] == home


def test_tree_is_not_shown_where_all_stages_are_built_in(capsys: pytest.CaptureFixture[str]) -> None:
    """Plans of our own tree look as before."""
    _, out, _ = run(capsys, "build", "--dry-run", "python")
    assert out.splitlines()[0].split()[-1] == "needs"
    _, out, _ = run(capsys, "tree", "numpy")
    assert "built-in" not in out
