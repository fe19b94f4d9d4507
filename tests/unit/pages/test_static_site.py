"""What the pages of the catalogue say."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import main
from jetson_containers.core.errors import RegistryError
from jetson_containers.pages import families, static_site
from jetson_containers.registry.types import ImageRepository, Tag, TagListing
from tests.unit.treemaker import dockerfile, write

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = ("r35.4.1", "r36.4.3", "x86_64-cpu")
GRID = {"boards": [{"id": "b", "name": "B </script>"}], "models": ["m"], "settings": [], "contexts": [], "cells": []}
HUB = ImageRepository.parse("docker.io/somebody")


def listing(repository: ImageRepository) -> TagListing:
    if repository.path == "somebody/broken":
        raise RegistryError("refused")
    tags = (
        Tag(tag="r35.4.1", pushed="2023-10-01", bytes=1_000_000_000, arch="arm64"),
        Tag(tag="1.0-r36.4.3", pushed="2025-05-01", bytes=2_500_000_000, arch="arm64"),
        Tag(tag="undated"),
    )
    known = tags if repository.path.endswith("/my-thing") else ()
    return TagListing(repository=repository, tags=known, fetched="2025-06-01T10:00:00Z", origin="cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    tree = write(
        tmp_path_factory.mktemp("tree"),
        {
            "ml/my_thing/Dockerfile": dockerfile(
                "docs: Says `hello` & <b>more</b>.\nrequires: '>=36'\ndepends: [base]\n"
            ),
            "ml/my_thing/config.yaml": "versions:\n  - {version: '1.0', default: true}\n  - {version: '0.9'}\n",
            "core/base/Dockerfile": dockerfile("docs: What others stand on.\n"),
            "core/broken/Dockerfile": dockerfile("docs: Refused by its registry.\n"),
        },
    )
    source = static_site.SiteSource(
        catalogs=families.load([tree], TARGETS), namespaces=(HUB,), list_tags=listing, today=date(2026, 6, 1)
    )
    return static_site.pages(source, GRID)


def words(page: str) -> str:
    """The text of a page without its tags, styles and scripts."""
    page = re.sub(r"(?s)<(style|script|noscript).*?</\1>", "", page)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_site_has_an_index_a_page_per_family_and_the_models(made: dict[str, str]) -> None:
    """The files are named after families."""
    assert set(made) == {
        "index.html", "models.html", "package-my_thing.html", "package-base.html", "package-broken.html",
    }  # fmt: skip


def test_index_has_the_version_of_each_family_on_each_platform(made: dict[str, str]) -> None:
    """A cell is the version there, or a dash with the reason; the newest board stands first."""
    page = made["index.html"]
    assert re.findall(r'data-target="([^"]*)"', page) == ["r36.4.3", "r35.4.1", "x86_64-cpu"]
    row = re.search(r"(?s)<tr data-words=.[^>]*>(?:(?!</tr>).)*my_thing.*?</tr>", page)
    assert row is not None
    cells = re.findall(r"(?s)<td.*?</td>", row[0])
    assert "<td>1.0</td>" in cells[0]
    assert "–" in cells[1]
    assert 'title="L4T' in cells[1]
    assert 'data-boards="' in page
    assert re.search(r'<option value="orin-nx-16gb">', page)
    assert '<option value="6.2">JetPack 6.2</option>' in page


def test_text_of_recipes_is_escaped(made: dict[str, str]) -> None:
    """What a recipe says of itself becomes text, with code where it says so; a grid cannot end its script."""
    page = made["package-my_thing.html"]
    assert "Says <code>hello</code> &amp; &lt;b&gt;more&lt;/b&gt;." in page
    assert "B </script>" not in made["models.html"]


def test_page_of_a_family_has_versions_platforms_and_dependencies(made: dict[str, str]) -> None:
    """Versions with their platforms, reasons, links to what it needs and to what needs it, and a drawing."""
    page = made["package-my_thing.html"]
    said = words(page)
    assert "my_thing:1.0 r36.4.3" in said
    assert "my_thing:0.9 r36.4.3" in said
    assert "x86_64-cpu PC, CPU " in said
    assert 'Needs: <a href="package-base.html">base</a>' in page
    assert 'Needed by: <a href="package-my_thing.html">my_thing</a>' in made["package-base.html"]
    assert page.count("<svg") == 1
    assert "Dependency graph of my_thing for r36.4.3" in page
    assert "./build.sh my_thing" in page


def test_page_of_a_family_has_the_tags_of_registries(made: dict[str, str]) -> None:
    """Tags stand with push, age and size, newest first, and the day of the list; what is unknown is a dash."""
    said = words(made["package-my_thing.html"])
    assert "As listed on 2025-06-01" in said
    assert "docker pull somebody/my-thing:1.0-r36.4.3" in said
    assert said.index("1.0-r36.4.3 2025-05-01 13 months 2.5 GB arm64") < said.index(
        "r35.4.1 2023-10-01 2 years 1.0 GB arm64"
    )
    assert "undated –" in said
    assert "No list that is kept here has one" in made["package-broken.html"]


def test_pages_fetch_nothing(made: dict[str, str]) -> None:
    """No page names a place outside of its folder that a browser would load."""
    for name, page in made.items():
        assert "default-src 'none'" in page, name
        places = re.findall(r"""(?:src|href)=["']([^"'#]*)""", page)
        assert {place for place in places if place and not place.startswith("data:")} <= set(made), name


@pytest.mark.parametrize(
    ("pushed", "text"),
    [
        ("2026-06-01", "0 days"), ("2026-05-31", "1 day"), ("2026-04-25", "37 days"), ("2026-01-01", "4 months"),
        ("2024-06-01", "23 months"), ("2020-01-01T00:00:00Z", "6 years"), ("2027-01-01", "0 days"), ("", ""),
        ("soon", ""),
    ],
)  # fmt: skip
def test_age_is_said_in_words(pushed: str, text: str) -> None:
    """The age of a tag counts to the day of the page; a date that cannot be read has none."""
    assert static_site.age(pushed, date(2026, 6, 1)) == text


def test_site_command_writes_pages_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the index, warns of a broken recipe, and asks no registry; a second run replaces the pages."""
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jetson_containers.pages.fit_grid.MODELS", ())
    monkeypatch.setattr("socket.socket", None)
    tree = write(
        tmp_path / "tree", {"ml/mlc/Dockerfile": dockerfile("docs: a\n"), "ml/bad/Dockerfile": dockerfile("x: 1\n")}
    )
    for _ in range(2):
        assert main.main(["--packages", str(tree), "site", "-o", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(tmp_path / "out" / "index.html")
    assert "recipe left out" in captured.err
    assert "dustynv/mlc" in (tmp_path / "out" / "package-mlc.html").read_text()


def test_site_command_needs_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a folder, or with a file of its name, nothing is made."""
    assert main.main(["site"]) == 2
    (tmp_path / "file").write_text("")
    assert main.main(["site", str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err
