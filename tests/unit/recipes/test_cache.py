"""The index of a catalog: what makes it stale, and what a warm load reads."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.recipes import cache, catalog
from jetson_containers.recipes.cache import Key
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.rules import check_all
from jetson_containers.recipes.tree import RecipeDirectory
from tests.unit.recipes.catalog_examples import BASIC, same
from tests.unit.treemaker import ORIN, XAVIER, platform, write

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform


def write_and_load(tree: Path, cache: Path, where: Platform = ORIN) -> Catalog:
    return load([tree], where, cache=cache)


def test_index_gives_the_same_catalog_and_reads_no_definition(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm load is the same and reads no definition."""
    cold = write_and_load(tree, tmp_path / "cache")
    assert same(cold, load([tree], ORIN))
    (file,) = (tmp_path / "cache").iterdir()
    opened: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_text", lambda self, **_: pytest.fail(f"{self} was read"))
    monkeypatch.setattr(Path, "read_bytes", lambda self: opened.append(str(self)) or real(self))  # type: ignore[func-returns-value]
    assert same(write_and_load(tree, tmp_path / "cache"), cold)
    assert opened == [str(file)]


@pytest.mark.parametrize(
    "change",
    ["edit", "same size", "new package", "removed", "new test", "new config", "renamed"],
)
def test_index_sees_any_change_of_a_definition(tree: Path, tmp_path: Path, change: str) -> None:
    """Any change of a definition is seen."""
    before = write_and_load(tree, tmp_path / "cache")
    file = tree / "g/c/Dockerfile"
    match change:
        case "edit":
            file.write_text(file.read_text().replace("alias: x", "alias: other"))
        case "same size":
            file.write_text(file.read_text().replace("alias: x", "alias: y"))
        case "new package":
            write(tree, {"h/d/Dockerfile": "docs: x"})
        case "removed":
            file.unlink()
        case "new test":
            write(tree, {"g/c/test.py": ""})
        case "new config":
            write(tree, {"g/c/config.yaml": "docs: y"})
        case "renamed":
            (tree / "g/c").rename(tree / "g/e")
    after = write_and_load(tree, tmp_path / "cache")
    assert not same(after, before)
    assert same(after, load([tree], ORIN))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_index_is_separate_for_each_platform_and_list_of_trees(tree: Path, tmp_path: Path) -> None:
    """Every platform and list of trees has its own index."""
    cache = tmp_path / "cache"
    places = [ORIN, XAVIER, platform(sm=(87, 110)), platform(cuda="12.8")]
    for where in places:
        write_and_load(tree, cache, where)
    load([tree, BASIC], ORIN, cache=cache)
    assert len(list(cache.iterdir())) == len(places) + 1
    for where in places:
        assert same(write_and_load(tree, cache, where), load([tree], where))


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"stamp": 1}',
        b"\xff\xfe",
        "partial",
        "wrong types",
        "missing field",
        "unknown field",
        "one letter",
        "no packages",
    ],
)
def test_index_that_is_corrupt_is_ignored(tree: Path, tmp_path: Path, garbage: bytes | str) -> None:
    """A corrupt index is ignored."""
    cold = write_and_load(tree, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    heading, _, body = content.partition(b"\n")
    if isinstance(garbage, bytes):
        content = garbage
    elif garbage == "partial":
        content = content[: len(content) // 2]
    elif garbage == "one letter":  # still valid JSON, and all types are right
        assert body.count(b'"docs":"') > 0
        content = heading + b"\n" + body.replace(b'"docs":"', b'"docs":"X', 1)
    elif garbage == "no packages":
        content = heading
    else:
        content = with_checksum(heading, damaged(json.loads(body), str(garbage)))
    file.write_bytes(content)
    assert same(write_and_load(tree, tmp_path / "cache"), cold)
    assert same(write_and_load(tree, tmp_path / "cache"), cold)


def damaged(data: dict[str, Any], how: str) -> bytes:
    """The packages of an index with something wrong, as a faulty program would write them."""
    if how == "wrong types":
        data["available"] = {"a": 1}
    elif how == "missing field":
        del data["available"][0]["family"]
    else:
        data["available"][0]["zzz"] = 1
    return json.dumps(data).encode()


def with_checksum(heading: bytes, body: bytes) -> bytes:
    """An index of these packages whose checksum is right."""
    about = {**json.loads(heading), "checksum": f"{zlib.crc32(body):08x}"}
    return json.dumps(about).encode() + b"\n" + body


def test_index_of_another_request_under_the_same_name_is_not_taken(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two requests share a file by chance, each still gets its own catalog."""
    monkeypatch.setattr(catalog, "file_for", lambda cache, _: cache / "catalog-the-same.json")
    for where in (ORIN, XAVIER, ORIN):
        assert same(write_and_load(tree, tmp_path / "cache", where), load([tree], where))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_index_knows_the_verdict_on_every_rule(tree: Path, tmp_path: Path) -> None:
    """Rules are not judged again in a warm load: those of packages that are here and of those that are not."""
    write(tree, {"h/here/Dockerfile": "requires: '>=r36'", "h/absent/Dockerfile": "requires: ['>=r36', 'x86_64']"})
    cold = write_and_load(tree, tmp_path / "cache")
    warm = write_and_load(tree, tmp_path / "cache")
    assert {">=r36", "x86_64"} <= set(warm.verdicts)
    for package in (warm.available["here"], warm.absent["absent"].package):
        assert warm.judged(package) == check_all(package.requires, ORIN) == cold.judged(package)
    assert warm.absent["absent"].rules == check_all((">=r36", "x86_64"), ORIN)


def test_index_that_cannot_be_written_changes_nothing(tree: Path, tmp_path: Path) -> None:
    """A cache that cannot be written changes nothing."""
    (tmp_path / "file").write_text("")
    assert same(write_and_load(tree, tmp_path / "file"), load([tree], ORIN))
    assert same(write_and_load(tree, tmp_path / "file" / "below"), load([tree], ORIN))
    assert same(write_and_load(tree, Path("/proc/none")), load([tree], ORIN))


def test_index_write_that_fails_leaves_no_file(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way leaves no file."""

    def replace(self: Path, target: Path) -> Path:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", replace)
    assert same(write_and_load(tree, tmp_path / "cache"), load([tree], ORIN))
    assert list((tmp_path / "cache").iterdir()) == []


def test_index_is_stale_after_a_change_of_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A change of the program makes the index stale."""
    one, other = (
        RecipeDirectory(path=tmp_path, group="", nested=False, stamp="f"),
        RecipeDirectory(path=tmp_path, group="", nested=False, stamp="g"),
    )
    before = Key([one])
    before.take()
    assert Key([one]) == before
    assert Key([one]).stamp == before.stamp != Key([other]).stamp
    write(tmp_path, {"cache.py": "x"})
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.py"))
    assert Key([one]).stamp != before.stamp
    assert Key([one]).content != before.content


def test_index_compares_contents_and_not_times(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content decides and not times."""
    before = write_and_load(tree, tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_read", lambda *_: pytest.fail("the tree was read again"))
        for file in (tree / "g").rglob("*"):
            os.utime(file, (0, 0))
        assert same(write_and_load(tree, tmp_path / "cache"), before)
        patch.setattr(Key, "content", property(lambda _: pytest.fail("contents were compared again")))
        assert same(write_and_load(tree, tmp_path / "cache"), before)


def test_index_sees_a_change_that_keeps_size_and_time(tmp_path: Path) -> None:
    """A change that keeps size and time is seen."""
    tree = write(tmp_path / "tree", {"g/a/Dockerfile": "docs: one"})
    file = tree / "g/a/Dockerfile"
    stat = file.stat()
    assert write_and_load(tree, tmp_path / "cache").available["a"].docs == "one"
    file.write_text(file.read_text().replace("one", "two"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert write_and_load(tree, tmp_path / "cache").available["a"].docs == "two"
