"""Kept files that are damaged, of another version, from another time, or cannot be written: the next run finishes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from tests.faults.keepers import Keeper, all_keepers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAMES = ("catalog", "listing", "state", "base", "manifest")
YEARS = 10 * 365 * 86400.0


def cut(share: float) -> Callable[[bytes], bytes]:
    return lambda content: content[: int(len(content) * share)]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut to a tenth": cut(0.1),
    "cut to a half": cut(0.5),
    "without its last byte": lambda content: content[:-1],
    "zeros of a lost block": lambda content: content[: len(content) // 2] + b"\0" * (len(content) - len(content) // 2),
    "zeros": lambda content: b"\0" * len(content),
    "not text": lambda _: bytes(range(128, 256)) * 8,
    "twice": lambda content: content + content,
    "null": lambda _: b"null",
    "a list": lambda _: b"[]",
    "a number": lambda _: b"1e999",
    "a text": lambda _: b'"x"',
    "an object without anything": lambda _: b"{}",
    "nested without end": lambda _: b"[" * 100_000,
    "a number without end": lambda _: b'{"schema": ' + b"9" * 5000 + b"}",
    "of an older version": lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>0", content),
    "of a newer version": lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>999", content),
}


def fill(file: Path) -> None:
    """Write until nothing more fits."""
    with file.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(b"\0" * 4096)


@pytest.fixture
def keepers(tmp_path: Path) -> Iterator[dict[str, Keeper]]:
    with all_keepers(tmp_path / "beside") as found:
        yield found


def kept(keeper: Keeper, folder: Path) -> Path:
    """The one file that a run keeps."""
    (file,) = folder.glob(keeper.file)
    return file


def left_over(folder: Path) -> list[str]:
    """Temporary files; locks stay by design."""
    return [path.name for path in folder.rglob(".*") if path.is_file()]


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_kept_file_that_is_damaged_costs_no_run(
    keepers: dict[str, Keeper], tmp_path: Path, name: str, damage: str
) -> None:
    """The next run answers as if nothing had been kept, and keeps a whole file again."""
    keeper, folder = keepers[name], tmp_path / "kept"
    expected = keeper.use(folder)
    file = kept(keeper, folder)
    whole = file.read_bytes()
    file.write_bytes(DAMAGES[damage](whole))
    assert keeper.use(folder) == expected
    assert keeper.use(folder) == expected
    assert left_over(folder) == []


@pytest.mark.parametrize("shift", [-YEARS, YEARS])
@pytest.mark.parametrize("name", NAMES)
def test_kept_file_of_another_time_costs_no_run(
    keepers: dict[str, Keeper], tmp_path: Path, name: str, shift: float
) -> None:
    """A clock that was ten years wrong when the file was written, or is now, stops nothing."""
    keeper, folder = keepers[name], tmp_path / "kept"
    expected = keeper.use(folder)
    file = kept(keeper, folder)
    moment = file.stat().st_mtime + shift
    os.utime(file, (moment, moment))
    assert keeper.use(folder) == expected


@pytest.mark.parametrize("name", ["catalog", "listing", "base"])
def test_cache_that_cannot_be_made_costs_only_time(keepers: dict[str, Keeper], tmp_path: Path, name: str) -> None:
    """A file stands where the folder of a cache should be."""
    (tmp_path / "file").write_text("in the way")
    with all_keepers(tmp_path / "other") as others:
        expected = others[name].use(tmp_path / "fine")
    assert keepers[name].use(tmp_path / "file" / "kept") == expected


@pytest.mark.parametrize("name", ["catalog", "listing", "base"])
def test_cache_whose_file_is_a_broken_link_costs_no_run(keepers: dict[str, Keeper], tmp_path: Path, name: str) -> None:
    """A link to nowhere is as no file, and is replaced."""
    keeper, folder = keepers[name], tmp_path / "kept"
    expected = keeper.use(folder)
    file = kept(keeper, folder)
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    assert keeper.use(folder) == expected
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="a full disk takes root to make")
@pytest.mark.parametrize("name", ["catalog", "listing", "base"])
def test_cache_on_a_full_disk_costs_only_time(keepers: dict[str, Keeper], tmp_path: Path, name: str) -> None:
    """Without a free byte the answer is the same, and no part of a file is left."""
    folder = tmp_path / "full"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=8k", "none", folder]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        fill(folder / "filler")
        with all_keepers(tmp_path / "other") as others:
            expected = others[name].use(tmp_path / "fine")
        assert keepers[name].use(folder) == expected
        assert left_over(folder) == []
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_kept_file_of_many_runs_at_once_is_whole(keepers: dict[str, Keeper], tmp_path: Path, name: str) -> None:
    """Eight runs at once all answer, and the file that is kept is one of theirs."""
    keeper, folder = keepers[name], tmp_path / "kept"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(keeper.use(folder))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    assert keeper.use(folder) == answers[0]
    assert left_over(folder) == []
