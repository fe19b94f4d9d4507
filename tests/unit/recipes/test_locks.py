"""Pip locks: what they pin, whether that is what their row installs, and what they are resolved from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes import catalog, locks
from tests.paths import ROOT_DIR
from tests.unit.treemaker import PC_CPU, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.recipes.package import Package

HASH = "    --hash=sha256:" + "0" * 64 + "\n"


def lock(*lines: str) -> str:
    return "".join(f"{line} \\\n{HASH}" for line in lines)


FILES = {
    "ml/numpy/Dockerfile": "name: numpy\nsource: {python: numpy==2.0, lock: numpy.lock}\n",
    "ml/numpy/numpy.lock": lock("numpy==2.0"),
    "ml/app/Dockerfile": (
        "name: app\ndepends: [numpy]\nrequires: '>=py310'\n"
        "source: {python: 'My_App[web]==1.0', lock: [app.lock, build.lock, sdist-1.0.lock]}\n"
    ),
    "ml/app/app.lock": lock("my-app==1.0", "click==8.1 ; os_name == 'posix'"),
    "ml/app/build.lock": lock("setuptools==79.0"),
    "ml/app/sdist-1.0.lock": lock("my-app==0.9"),
}


def load(tree: Path) -> dict[str, Package]:
    loaded = catalog.load([tree], PC_CPU)
    assert not loaded.broken
    return dict(loaded.available)


def test_pins_are_read_with_versions_and_markers() -> None:
    """Pins are read with versions and markers."""
    found = [str(pin) for pin in locks.pins((ROOT_DIR / "packages/llm/huggingface_hub/hub-1.33.0.lock").read_text())]
    assert "huggingface-hub==1.33.0" in found
    assert any(" ; python_full_version < '3.11'" in pin for pin in found)


def test_stale_lock_pins_another_version_than_the_row(tmp_path: Path) -> None:
    """A lock is stale when it pins another version than its row says."""
    packages = load(write(tmp_path, FILES))
    assert locks.stale(packages["app"]) == ""
    (tmp_path / "ml/app/app.lock").write_text(lock("my-app==0.9"))
    assert "pins 0.9, and its `source` says `My_App[web]==1.0`" in locks.stale(packages["app"])
    for name in ("app.lock", "sdist-1.0.lock"):
        (tmp_path / "ml/app" / name).write_text(lock("other==1.0"))
    assert locks.stale(packages["app"]).startswith("none of its locks (app.lock, build.lock, sdist-1.0.lock) pins")


def test_locks_that_we_ship_are_not_stale() -> None:
    """The locks that we ship are not stale."""
    assert [name for name, package in load(ROOT_DIR / "packages").items() if locks.stale(package)] == []


def test_tasks_say_what_each_lock_is_resolved_from(tmp_path: Path) -> None:
    """What the row installs without what is below it; build tools keep their pins; an archive follows its row."""
    packages = load(write(tmp_path, FILES))
    found = {task.lock.name: task for task in locks.tasks([packages["app"]], packages.values())}
    assert set(found) == {"app.lock", "build.lock", "sdist-1.0.lock"}
    app = found["app.lock"]
    assert (app.requirements, app.python, app.left_out, app.keeps_pins) == (
        ("My_App[web]==1.0",),
        "3.10",
        ("numpy",),
        False,
    )
    assert (found["build.lock"].requirements, found["build.lock"].keeps_pins) == (("setuptools==79.0",), True)
    assert (found["sdist-1.0.lock"].requirements, found["sdist-1.0.lock"].keeps_pins) == (("My_App[web]==1.0",), True)


def test_tasks_make_a_shared_lock_once(tmp_path: Path) -> None:
    """A lock that two recipes share is made once."""
    shared = "share: tools.lock\nsource: {lock: .jetson/shared/tools.lock}\n"
    files = {f"ml/{name}/Dockerfile": f"name: {name}\n{shared}" for name in ("a", "b")}
    packages = load(write(tmp_path, {**files, "shared/tools.lock": lock("ninja==1.13")}))
    assert [task.lock for task in locks.tasks(packages.values(), packages.values())] == [tmp_path / "shared/tools.lock"]


@pytest.mark.parametrize(
    ("rules", "python"), [("'>=py310'", "3.10"), ("py38", "3.8"), ("['>=py38', '<py310']", "3.8"), ("'>=r36'", "3.8")]
)
def test_tasks_resolve_for_the_oldest_python_of_the_row(tmp_path: Path, rules: str, python: str) -> None:
    """A lock is resolved for the oldest Python that its row names."""
    files = {
        "ml/numpy/Dockerfile": f"name: numpy\nversions: [{{version: '2.0', requires: {rules}}}]\n"
        "source: {python: numpy==2.0, lock: numpy.lock}\n",
        "ml/numpy/numpy.lock": lock("numpy==2.0"),
    }
    loaded = catalog.load([write(tmp_path, files)], PC_CPU)
    packages = [*loaded.available.values(), *(absent.package for absent in loaded.absent.values())]
    assert [task.python for task in locks.tasks(packages, packages)] == [python]
