"""`lock` and `build --locked`, with an engine and a tree of the test: the same keys, or what differs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.cli.app import App
from jetson_containers.engine.interface import RunResult
from jetson_containers.plan import lock
from tests.fakes import FakeEngine
from tests.unit.cli.test_checkout import git
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = "acme/base:1"
DIGEST = "sha256:" + "ab" * 32
OS_RELEASE = 'ID=ubuntu\nVERSION_ID="24.04"\n'
PINS = "solo==1.0 \\\n    --hash=sha256:" + "0" * 64 + " \\\n    --hash=sha256:" + "1" * 64 + "\n"


class Machine:
    """One machine: its engine, its copy of the tree, its cache."""

    def __init__(self, folder: Path, tree: dict[str, str]) -> None:
        self.engine = FakeEngine()
        self.engine.answer = lambda _call: RunResult(exit_code=0, output=OS_RELEASE)
        image = self.engine.add_image(BASE)
        object.__setattr__(image, "digests", (f"acme/base@{DIGEST}",))
        self.tree = write(folder / "tree", tree)
        self.cache = folder / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, str]:
    """Two recipes: one has a lock of pip, the other a branch of a repository."""
    repository = tmp_path / "repository"
    repository.mkdir()
    git(repository, "init", "-b", "main")
    git(repository, "commit", "--allow-empty", "-m", "first")
    config = f"source: {{git: 'file://{repository}', ref: main}}\nargs: {{A: '1'}}\n"
    text = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG A\nCOPY . /there\nRUN make\n"
    return {
        "low/Dockerfile": f"#---\n# name: low\n# source: {{lock: low.lock}}\n#---\n{text}",
        "low/low.lock": PINS,
        "high/Dockerfile": f"#---\n# name: high\n# depends: [low]\n#---\n{text}",
        "high/config.yaml": config,
        "high/script.sh": "one\n",
    }


@pytest.fixture
def machine(tmp_path: Path, tree: dict[str, str]) -> Machine:
    """The machine that locks."""
    return Machine(tmp_path / "first", tree)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line on a machine."""

    def call(machine: Machine, *argv: str) -> tuple[int, str, str]:
        monkeypatch.setattr(App, "engine", property(lambda _app: machine.engine))
        monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(machine.cache))
        code = main.main([*argv, "--packages", str(machine.tree)])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


@pytest.fixture
def locked(machine: Machine, run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> Path:
    """A lock of the first machine."""
    file = tmp_path / "image.lock"
    code, _, err = run(machine, "lock", "high", "--target", "x86_64,cpu", "--base", BASE, "-o", str(file))
    assert code == 0, err
    return file


def keys(shown: str) -> dict[str, str]:
    return {stage["package"]: stage["key"] for stage in json.loads(shown)["stages"]}


def test_lock_builds_the_same_keys_elsewhere(
    run: Callable[..., tuple[int, str, str]], locked: Path, tree: dict[str, str], tmp_path: Path
) -> None:
    """Another machine with the same recipes has the same keys, from the file alone; what was asked for is in it."""
    written = json.loads(locked.read_text())
    assert written["base"] == {"reference": BASE, "digest": DIGEST}
    stages = {stage["package"]: stage for stage in written["stages"]}
    assert stages["low"]["python"] == {"low.lock": {"solo==1.0": ["sha256:" + "0" * 64, "sha256:" + "1" * 64]}}
    other = Machine(tmp_path / "second", tree)
    code, out, err = run(other, "build", "--locked", str(locked), "--tests", "none", "--json")
    assert code == 0, err
    assert keys(out) == {name: stage["key"] for name, stage in stages.items()}
    assert {request.build_args["BASE_IMAGE"] for request in other.engine.requests} >= {BASE}
    fresh = Machine(tmp_path / "third", tree)
    code, out, err = run(fresh, "build", "--locked", str(locked), "--dry-run", "--json")
    assert (code, keys(out)) == (0, {name: stage["key"] for name, stage in stages.items()}), err


def edit_recipe(machine: Machine, _tmp_path: Path) -> str:
    (machine.tree / "high/script.sh").write_text("two\n")
    return "stage high (layer) context script.sh: sha256:"


def move_branch(_machine: Machine, tmp_path: Path) -> str:
    git(tmp_path / "repository", "commit", "--allow-empty", "-m", "second")
    commit = git(tmp_path / "repository", "rev-parse", "HEAD")
    return f"stage high (layer) resolved file://{tmp_path}/repository main: {commit}"


def replace_base(machine: Machine, _tmp_path: Path) -> str:
    image = machine.engine.image(BASE)
    object.__setattr__(image, "digests", ("acme/base@sha256:" + "cd" * 32,))
    return "base digest: sha256:" + "cd" * 32


def update_pins(machine: Machine, _tmp_path: Path) -> str:
    (machine.tree / "low/low.lock").write_text(PINS.replace("1.0", "1.1"))
    return "stage low (layer) context low.lock: sha256:"


@pytest.mark.parametrize("change", [edit_recipe, move_branch, replace_base, update_pins])
def test_lock_refuses_what_differs(
    run: Callable[..., tuple[int, str, str]],
    locked: Path,
    tree: dict[str, str],
    tmp_path: Path,
    change: Callable[[Machine, Path], str],
) -> None:
    """The cause is told with both values, before anything is built."""
    other = Machine(tmp_path / "second", tree)
    cause = change(other, tmp_path)
    code, _, err = run(other, "build", "--locked", str(locked), "--tests", "none")
    assert code == 2
    assert f"+ {cause}" in err
    assert f"- {cause.split(': ', 1)[0]}" in err
    assert other.engine.requests == []


def test_lock_of_another_version_is_refused(
    run: Callable[..., tuple[int, str, str]], locked: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another version of this program says so itself."""
    monkeypatch.setattr(lock, "__version__", "99.1")
    code, _, err = run(machine, "build", "--locked", str(locked), "--dry-run")
    assert code == 2
    assert "+ tool: 99.1" in err


def test_lock_pulls_its_base_by_digest_where_there_is_none(
    run: Callable[..., tuple[int, str, str]], locked: Path, tree: dict[str, str], tmp_path: Path
) -> None:
    """A base that is not here is the locked one, whatever its tag points to meanwhile."""
    other = Machine(tmp_path / "second", tree)
    image = other.engine.store.pop(BASE)
    other.engine.store.clear()
    other.engine.registry[f"acme/base@{DIGEST}"] = image
    code, _, err = run(other, "build", "--locked", str(locked), "--tests", "none")
    assert code == 0, err
    assert ("pull", f"acme/base@{DIGEST}") in [call[:2] for call in other.engine.calls]


@pytest.mark.parametrize("more", [("--build-args", "A:2"), ("low",), ("--name", "x"), ("--multiple",)])
def test_lock_is_not_mixed_with_other_wishes(
    run: Callable[..., tuple[int, str, str]], locked: Path, machine: Machine, more: tuple[str, ...]
) -> None:
    """What the lock says itself cannot be given beside it."""
    code, _, err = run(machine, "build", "--locked", str(locked), *more)
    assert code == 2
    assert "--locked" in err


def _damaged(text: str) -> list[tuple[str, str]]:
    data: dict[str, Any] = json.loads(text)
    return [
        ("not JSON", text[:-20]),
        ("schema", json.dumps({**data, "schema": 2})),
        ("request.packages", json.dumps({**data, "request": {**data["request"], "packages": [1]}})),
        ("base.digest", json.dumps({**data, "base": {"reference": BASE}})),
        ("stages[0]", json.dumps({**data, "stages": ["high"]})),
    ]


def test_lock_that_is_damaged_is_refused(
    run: Callable[..., tuple[int, str, str]], locked: Path, machine: Machine
) -> None:
    """What is wrong with the file is said, and no traceback is shown."""
    for said, text in _damaged(locked.read_text()):
        locked.write_text(text)
        code, _, err = run(machine, "build", "--locked", str(locked))
        assert (code, said in err) == (2, True), err
    assert run(machine, "build", "--locked", str(locked.parent / "nowhere"))[0] == 2
