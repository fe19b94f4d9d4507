"""The record of really built recipes: what is written, kept and replaced, and how clones are answered."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from jetson_containers.core import mirrors
from tests.unit.cli.test_checkout import git
from tests.unit.tools.test_verified import tool as verified

upstream_builds = verified.upstream_builds

if TYPE_CHECKING:
    from pathlib import Path


def outcome(recipe: str, **fields: str) -> Any:
    values = {"tree": "upstream 1234", "platform": "x", "date": "2026-01-01", "result": "built", "seconds": "1"}
    return upstream_builds.BuildOutcome(recipe=recipe, **{**values, **fields})


def test_recorded_builds_replace_older_ones_of_the_same_recipe() -> None:
    """A newer result takes the place of an older one of the same recipe, tree and platform; the rest stays."""
    page = upstream_builds.recorded("# Page\n\n| a |\n", [outcome("b", note="x | y"), outcome("a")])
    page = upstream_builds.recorded(page, [outcome("b", result="failed"), outcome("a", tree="mine")])
    assert [(row.recipe, row.tree, row.result) for row in upstream_builds.read(page)] == [
        ("a", "mine", "built"),
        ("a", "upstream 1234", "built"),
        ("b", "upstream 1234", "failed"),
    ]
    assert page.startswith("# Page\n\n| a |\n\n## ")


def test_recorded_builds_leave_sections_around_them_alone() -> None:
    """What stands before and after the section stays."""
    page = upstream_builds.recorded("# Page\n", [outcome("a")]) + "\n## More\n\ntext\n"
    again = upstream_builds.recorded(page, [outcome("c")])
    assert again.endswith("\n## More\n\ntext\n")
    assert [row.recipe for row in upstream_builds.read(again)] == ["a", "c"]


def test_recorded_builds_survive_a_new_page_of_verified_packages() -> None:
    """tools/verified.py writes the page anew and keeps the section."""
    page = upstream_builds.recorded("# Page\n", [outcome("a")])
    made = verified.write([], [], upstream_builds.read(page))
    assert [row.recipe for row in upstream_builds.read(made)] == ["a"]
    assert verified.read(made) == []


def test_packages_of_a_checkout_are_its_folder_of_that_name(tmp_path: Path) -> None:
    """A checkout means its packages; any other directory means itself."""
    assert upstream_builds.packages_in(tmp_path) == tmp_path
    (tmp_path / "packages").mkdir()
    assert upstream_builds.packages_in(tmp_path) == tmp_path / "packages"


def test_served_repositories_answer_clones(tmp_path: Path) -> None:
    """The environment that it yields makes git clone from the directory, also without the history."""
    made = tmp_path / "repositories" / "team" / "parts"
    made.mkdir(parents=True)
    git(made, "init")
    git(made, "commit", "--allow-empty", "-m", "first")
    git(made, "commit", "--allow-empty", "-m", "second")
    with upstream_builds.served(tmp_path / "repositories", "https://parts.invalid/") as env:
        prefixes = mirrors.parse(env["JETSON_CONTAINERS_MIRRORS"])["git"]
        variables = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **mirrors.git_variables(prefixes)}
        argv = ["git", "clone", "--quiet", "--depth=1", "https://parts.invalid/team/parts", str(tmp_path / "clone")]
        for _ in range(50):  # until the daemon listens
            done = subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                break
    assert git(tmp_path / "clone", "log", "--format=%s") == "second"
    with upstream_builds.served(None, "https://parts.invalid/") as env:
        assert env == {}
