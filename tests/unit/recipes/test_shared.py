"""`share:`: files that several recipes use, where they stand, and what is not let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError, RequirementSyntaxError
from jetson_containers.core.settings import ROOT
from jetson_containers.recipes import catalog, shared
from tests.unit.treemaker import PC_CPU, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.recipes.package import Package


def package(tree: Path, share: str, files: dict[str, str] | None = None) -> Package:
    header = f"#---\n# name: a\n# share: {share}\n#---\nFROM scratch\n"
    write(tree, {"ml/a/Dockerfile": header, "ml/a/own.sh": "own\n", **(files or {})})
    loaded = catalog.load([tree], PC_CPU)
    if loaded.broken:
        raise loaded.broken[0]
    return loaded.find("a")


def test_share_finds_files_and_directories_of_the_tree(tmp_path: Path) -> None:
    """Files and directories of the tree are found."""
    files = {"shared/git/fetch.sh": "fetch\n", "shared/locks/a.lock": "a\n", "shared/locks/deep/b.lock": "b\n"}
    found = shared.files_of(package(tmp_path, "[git/fetch.sh, locks]", files))
    place = tmp_path / "shared"
    assert found == {
        ".jetson/shared/git/fetch.sh": place / "git/fetch.sh",
        ".jetson/shared/locks/a.lock": place / "locks/a.lock",
        ".jetson/shared/locks/deep/b.lock": place / "locks/deep/b.lock",
    }


def test_share_takes_a_part_of_this_program() -> None:
    """A part of this program can be shared."""
    hub = catalog.load([ROOT / "packages"], PC_CPU).find("huggingface_hub")
    place = ".jetson/shared/jetson_containers/hub/transfer"
    assert shared.files_of(hub)[f"{place}/store.py"] == ROOT / "jetson_containers/hub/transfer/store.py"
    assert not any("__pycache__" in name for name in shared.files_of(hub))


def test_share_leaves_out_what_tools_write(tmp_path: Path) -> None:
    """What tools write is left out."""
    files = {"shared/d/a.py": "", "shared/d/__pycache__/a.pyc": "", "shared/d/b.pyc": "", "shared/d/.git/config": ""}
    assert list(shared.files_of(package(tmp_path, "d", files))) == [".jetson/shared/d/a.py"]


@pytest.mark.parametrize(
    "entry",
    ["../a", "/etc/passwd", "a/../b", "a//b", ".git", "a b", "python:os", "python:/etc", "python:jetson_containersx/a"],
)
def test_share_refuses_a_path_outside_of_its_directory(tmp_path: Path, entry: str) -> None:
    """A path outside of the shared directory is refused."""
    with pytest.raises(RequirementSyntaxError):
        shared.check(entry)
    with pytest.raises(RecipeError):
        package(tmp_path, f"['{entry}']")


def test_share_refuses_a_link_out_of_the_tree(tmp_path: Path) -> None:
    """A link out of the tree is refused."""
    tree = tmp_path / "tree"
    (tmp_path / "secret").write_text("x")
    found = package(tree, "d", {"shared/d/a": ""})
    (tree / "shared/d/link").symlink_to(tmp_path / "secret")
    with pytest.raises(RecipeError):
        shared.files_of(found)


def test_share_names_what_is_missing(tmp_path: Path) -> None:
    """What is missing is named."""
    with pytest.raises(RecipeError, match=r"git/fetch\.sh.*is not there"):
        shared.files_of(package(tmp_path, "git/fetch.sh"))


def test_share_of_one_version_is_only_of_that_version(tmp_path: Path) -> None:
    """What one version shares is of that version alone."""
    config = "versions:\n- {version: '1', share: one}\n- {version: '2', default: true}\n"
    write(tmp_path, {"ml/a/Dockerfile": "FROM scratch\n", "ml/a/config.yaml": config, "shared/one": ""})
    loaded = catalog.load([tmp_path], PC_CPU)
    assert (loaded.find("a:1").share, loaded.find("a:2").share) == (("one",), ())


def test_share_survives_the_index_of_the_catalog(tmp_path: Path) -> None:
    """What is shared survives the index of the catalog."""
    write(tmp_path / "tree", {"ml/a/Dockerfile": "#---\n# share: one\n#---\nFROM scratch\n", "shared/one": ""})
    first, again = (catalog.load([tmp_path / "tree"], PC_CPU, cache=tmp_path / "cache").find("a") for _ in range(2))
    assert first == again
    assert list(shared.files_of(again)) == [".jetson/shared/one"]


def test_package_test_may_be_a_shared_file(tmp_path: Path) -> None:
    """A test may be a shared file."""
    found = package(tmp_path, "tests", {"shared/tests/look.py": ""})
    assert shared.script(found, ".jetson/shared/tests/look.py --all x") == tmp_path / "shared/tests/look.py"
    assert shared.script(found, "own.sh") == tmp_path / "ml/a/own.sh"
