"""The generated catalogue: what its pages say, and that the ones we ship are current."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from tests.paths import ROOT_DIR
from tests.unit.packages.shipped import load
from tools import package_pages

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

ROOT = ROOT_DIR
PAGES = ROOT / "docs" / "packages"
TWO = ("r35.4.1", "r36.4.3")

README = """# thing

What a [thing](https://x.org) is, see [notes](notes.md).

| a | table |
|---|---|

```bash
thing --now
```

```bash
thing --later
```
"""
CONFIG = """
versions:
  - version: '1.0'
    requires: '>=r35'
    default: '<r36'
    depends: [base]
  - version: '2.0'
    requires: ['>=r36', '>=cu126']
    default: true
    depends: ['base>=1', "{{ 'extra' if cuda == '12.6' else '' }}"]
    artifacts: {dockerfile: Dockerfile.build, depends: [tools]}
    memory_per_job: 1.5G
    source: {git: https://x.org/thing, commit: 0123456789012345678901234567890123456789, lock: [a.lock, b.lock]}
    notes: |
      needs
      care
variants:
  dev: {args: {A: b}}
"""
HEADER = "#---\n# name: thing\n# alias: ding\n# license: MIT\n# docs: README.md\n# test: test.sh\n#---\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "packages" / "tools" / "thing"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(README)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "Dockerfile").write_text(HEADER + "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    (folder / "Dockerfile.build").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    never = tmp_path / "packages" / "tools" / "never"
    never.mkdir()
    (never / "config.yaml").write_text("requires: ['>=r99', '<r99']\ndocs: A sentence.\n")
    return tmp_path


def pages(root: Path, targets: tuple[str, ...] = TWO) -> dict[str, str]:
    return package_pages.pages([root / "packages"], root, targets)


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    lines = text.partition(f"## {heading}\n")[2].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[2:]]


def test_pages_are_one_per_family_and_an_index(tree: Path) -> None:
    """There is a page per family, and an index."""
    assert sorted(pages(tree)) == ["README.md", "never.md", "thing.md"]


def test_page_begins_with_what_the_family_is(tree: Path) -> None:
    """A page begins with what the family is."""
    text = pages(tree)["thing.md"]
    assert "What a [thing](https://x.org) is, see [notes](../../packages/tools/thing/notes.md)." in text
    assert "| license | MIT |" in text
    assert "| also called | `ding` |" in text
    assert "[tools/thing](../../packages/tools/thing)" in text


def test_page_shows_the_first_example_of_the_readme(tree: Path) -> None:
    """A page shows the first example of the README."""
    text = pages(tree)["thing.md"]
    assert "./build.sh thing" in text
    assert "```bash\nthing --now\n```" in text
    assert "thing --later" not in text


def test_page_lists_default_others_and_image_of_each_platform(tree: Path) -> None:
    """Each platform has its default, the other versions and the image."""
    assert table(pages(tree)["thing.md"], "Where it runs")[:2] == [
        ["`r35.4.1`", "1.0", "`1.0-dev`", "`thing:1.0-r35.4-cu114-20.04`"],
        ["`r36.4.3`", "2.0", "`1.0` `2.0-dev` `1.0-dev`", "`thing:2.0-r36.4-cu126-22.04`"],
    ]


def test_page_gives_the_reason_of_the_nearest_version_where_a_family_is_absent(tree: Path) -> None:
    """Where a family is absent, the page gives the reason of the version that comes nearest."""
    row = table(pages(tree, ("r32.7.1", "r36.4.3"))["thing.md"], "Where it runs")[0]
    assert row == ["`r32.7.1`", "–", "", "L4T 32.7.1 does not satisfy `>=r35`"]


def test_page_lists_platforms_dependencies_source_and_memory_of_each_version(tree: Path) -> None:
    """Each version has its platforms, dependencies, source and memory."""
    found = {row[0]: row[1:] for row in table(pages(tree)["thing.md"], "Versions")}
    assert found["1.0"] == ["all", "`base`", "", ""]
    assert found["2.0"] == [
        "all but `r35.4.1`",
        "`base>=1` `extra`",
        "git: <https://x.org/thing>, commit: `012345678901…`, lock: `a.lock` `b.lock`",
        "once per platform, 1.6 GB of memory per job, with `tools`",
    ]


def test_page_gives_each_note_one_line(tree: Path) -> None:
    """Notes are one line each."""
    assert "- thing:2.0: needs care\n" in pages(tree)["thing.md"]


def test_page_without_a_readme_has_its_sentence_and_no_example(tree: Path) -> None:
    """A family without a README has its sentence and no example."""
    text = pages(tree)["never.md"]
    assert "\nA sentence.\n" in text
    assert "For example" not in text
    assert "none of these" in text


def test_page_shows_an_example_of_the_definition(tree: Path) -> None:
    """An example among the sentences of a definition is shown as one."""
    config = "requires: ['>=r99', '<r99']\ndocs: |\n  A\n  sentence.\n\n  ```bash\n  never --now\n  ```\n"
    (tree / "packages/tools/never/config.yaml").write_text(config)
    text = pages(tree)["never.md"]
    assert "\nA sentence.\n" in text
    assert "For example:\n\n```bash\nnever --now\n```" in text


def test_pages_of_shipped_families_have_an_example() -> None:
    """Every family of this project has a worked example."""
    assert [page.name for page in PAGES.glob("*.md") if "For example:" not in page.read_text(encoding="utf-8")] == [
        "README.md"
    ]


def test_index_has_each_family_on_each_platform(tree: Path) -> None:
    """The index has every family on every platform."""
    text = pages(tree)["README.md"]
    assert "| [thing](thing.md) | 1.0 | 2.0 |" in text
    assert "| [never](never.md) | – | – |" in text
    assert "| `r36.4.3` | JetPack 6.2 | 12.6 | 3.10 | ubuntu 22.04 | `ubuntu:22.04` |" in text


def test_pages_are_not_made_with_a_broken_recipe(tree: Path) -> None:
    """A broken recipe makes no catalogue with a gap."""
    (tree / "packages/tools/never/config.yaml").write_text("requirs: x\n")
    with pytest.raises(RecipeError, match="requirs"):
        pages(tree)


class TestTool:
    """tools/catalogue.py"""

    @pytest.fixture
    def tool(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("catalogue_tool", ROOT / "tools" / "catalogue.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_stale_pages_are_missing_changed_or_left_over(self, tool: ModuleType, tmp_path: Path) -> None:
        """Pages that are missing, changed or left over are stale."""
        for name, text in {"same.md": "1", "changed.md": "1", "left.md": "1"}.items():
            (tmp_path / name).write_text(text)
        assert tool.stale({"same.md": "1", "changed.md": "2", "new.md": "1"}, tmp_path) == [
            "changed.md",
            "left.md",
            "new.md",
        ]

    @pytest.mark.long
    def test_pages_in_docs_are_current(self) -> None:
        """The pages in docs/ are current."""
        done = subprocess.run(
            [sys.executable, "tools/catalogue.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_pages_are_the_same_for_the_same_tree() -> None:
    """The same tree gives the same pages."""
    assert package_pages.pages([ROOT / "packages"], ROOT) == package_pages.pages([ROOT / "packages"], ROOT)


def test_page_links_all_lead_somewhere() -> None:
    """Every link of the pages leads somewhere."""
    dead = [
        f"{page.name}: {link}"
        for page in PAGES.glob("*.md")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (PAGES / link).exists()
    ]
    assert dead == []


@cache
def families() -> dict[str, package_pages.Family]:
    return {family.name: family for family in package_pages.families([ROOT / "packages"])}


def names() -> list[str]:
    """The families of the shipped tree, which are the same on every platform."""
    found = load(SUPPORTED_TARGETS[0])
    packages = [*found.available.values(), *(item.package for item in found.absent.values())]
    return sorted({package.family for package in packages})


@pytest.mark.long
def test_families_are_the_same_on_every_platform() -> None:
    """The test of every family leaves none out."""
    assert names() == sorted(families())


@pytest.mark.parametrize("name", names())
def test_families_are_available_or_have_a_reason(name: str) -> None:
    """Every family is available on a platform or says why not."""
    family = families()[name]
    for target in SUPPORTED_TARGETS:
        assert family.available.get(target) or family.reason(target) not in {"", "not defined"}
