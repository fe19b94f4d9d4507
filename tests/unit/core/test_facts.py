"""A table is read once, and what was read is kept like a compiled module: never older than the table."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import facts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "facts/some.yaml"
    path.parent.mkdir()
    path.write_text("a: 12.10\nb: [yes, 0x10]\n")
    return path


def test_facts_scalars_are_text_from_the_table_and_from_the_copy(table: Path, tmp_path: Path) -> None:
    """Facts scalars are text from the table and from the copy."""
    for _ in range(2):
        assert facts.read(table, tmp_path / "kept") == {"a": "12.10", "b": ["yes", "0x10"]}
    assert (tmp_path / "kept/some.json").is_file()


def test_facts_copy_is_read_instead_of_the_table(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts copy is read instead of the table."""
    expected = facts.read(table, tmp_path)
    monkeypatch.setattr(facts, "_parse", lambda _table: pytest.fail("the table was read again"))
    assert facts.read(table, tmp_path) == expected


def test_facts_table_that_changed_is_read_again_whatever_its_size_and_time(table: Path, tmp_path: Path) -> None:
    """Facts table that changed is read again whatever its size and time."""
    facts.read(table, tmp_path)
    status = table.stat()
    while True:  # until the clock of the file system has moved on
        table.write_text("a: 12.11\nb: [yes, 0x10]\n")
        os.utime(table, ns=(status.st_atime_ns, status.st_mtime_ns))
        if table.stat().st_ctime_ns != status.st_ctime_ns:
            break
    assert table.stat().st_size == status.st_size
    assert facts.read(table, tmp_path)["a"] == "12.11"
    assert json.loads((tmp_path / "some.json").read_bytes())["table"]["a"] == "12.11"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"stamp": [1, 2, 3]}', "\0"])
def test_facts_copy_that_is_damaged_is_made_again(table: Path, tmp_path: Path, text: str) -> None:
    """Facts copy that is damaged is made again."""
    copy = tmp_path / "some.json"
    copy.write_text(text)
    assert facts.read(table, tmp_path)["a"] == "12.10"
    assert json.loads(copy.read_bytes())["table"]["a"] == "12.10"


def test_facts_copy_is_not_made_where_python_keeps_none(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Facts copy is not made where Python keeps none."""
    assert facts.read(table, None)["a"] == "12.10"
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert facts.read(table, tmp_path / "kept")["a"] == "12.10"
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert facts.read(table, tmp_path / "file")["a"] == "12.10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["facts", "file"]


def test_facts_copies_lie_where_the_compiled_modules_are(tmp_path: Path) -> None:
    """Facts copies lie where the compiled modules are."""
    import subprocess

    program = "from jetson_containers.core import facts; facts.load_facts('cuda')"
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-c", program], env=env, check=True)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["cuda.json"]
