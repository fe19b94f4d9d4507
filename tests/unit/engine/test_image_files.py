"""Files of an image out of the stream of `docker export`, with a docker that is a script."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.engine import image_files
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$1" in
create) [ -e {folder}/no-image ] && {{ echo "No such image" >&2; exit 1; }}; echo id1;;
export) cat {folder}/tar; [ -e {folder}/breaks ] && exit 1; true;;
esac
"""


def engine(folder: Path, files: dict[str, bytes]) -> FakeEngine:
    client = folder / "docker"
    client.write_text(SCRIPT.format(folder=folder))
    client.chmod(0o755)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("etc/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
    (folder / "tar").write_bytes(stream.getvalue())
    return FakeEngine(replace(FakeEngine().capabilities_, client=str(client), sudo=False))


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


def test_image_files_are_read_without_starting_anything(tmp_path: Path) -> None:
    """Only regular files that are wanted come, and the container, which never ran, is removed."""
    found = image_files.read(
        engine(tmp_path, {"etc/a": b"1", "./etc/b": b"2", "x": b"3"}), "i:1", lambda p: p[:3] == "etc"
    )
    assert list(found) == [("etc/a", b"1"), ("etc/b", b"2")]
    assert [line.split()[0] for line in calls(tmp_path)] == ["create", "export", "rm"]
    assert calls(tmp_path)[-1] == "rm --force --volumes id1"


def test_image_files_of_an_image_that_is_not_there(tmp_path: Path) -> None:
    """An image that cannot be read is an error with docker's words, and nothing is left."""
    (tmp_path / "no-image").touch()
    with pytest.raises(NotReadyError, match="`i:1` cannot be read") as caught:
        list(image_files.read(engine(tmp_path, {}), "i:1", lambda _: True))
    assert list(caught.value.details) == ["No such image"]


@pytest.mark.parametrize("cut", [100, 600])
def test_image_files_of_a_stream_that_breaks_off_are_not_taken_for_all(tmp_path: Path, cut: int) -> None:
    """Half a stream is an error, never a short list, and the container is removed."""
    made = engine(tmp_path, {"etc/a": b"1" * 2000})
    (tmp_path / "tar").write_bytes((tmp_path / "tar").read_bytes()[:cut])
    (tmp_path / "breaks").touch()
    with pytest.raises(NotReadyError):
        list(image_files.read(made, "i:1", lambda _: True))
    assert calls(tmp_path)[-1].startswith("rm --force")


def test_image_files_have_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is too large ends the reading before it is in memory."""
    monkeypatch.setattr(image_files, "LARGEST", 10)
    with pytest.raises(NotReadyError, match="has 11 bytes"):
        list(image_files.read(engine(tmp_path, {"a": b"1" * 11}), "i:1", lambda _: True))


def test_image_files_of_more_bytes_than_lists_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum is bounded too: an image may have any number of large lists."""
    monkeypatch.setattr(image_files, "LARGEST_SUM", 5)
    with pytest.raises(NotReadyError, match="too many"):
        list(image_files.read(engine(tmp_path, {"etc/a": b"123", "etc/b": b"456"}), "i:1", lambda _: True))
