"""Files of many parts: resumed, checked, and refused with the part that is damaged."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import parts
from jetson_containers.core.errors import ConfigError, NotReadyError
from jetson_containers.core.parts import PartsReader, PartsWriter

if TYPE_CHECKING:
    from pathlib import Path

STREAM = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a size that a test fills."""
    monkeypatch.setattr(parts, "CHUNK", 3000)


def write(path: Path, stream: bytes = STREAM, *, stop: bool = False) -> int:
    """Write a file of two names; `stop` ends before it is complete. Returns how many parts were kept."""
    with PartsWriter(path) as writer:
        writer.add("first.json", b"{}")
        writer.add_stream("data", io.BytesIO(stream))
        if not stop:
            writer.finish({"made": "here"})
        return writer.kept


def test_parts_give_back_what_was_added(tmp_path: Path) -> None:
    """Streams and single parts are read by their names, and any tar program lists the file."""
    file = tmp_path / "a"
    assert write(file) == 0
    with PartsReader(file) as reader:
        assert reader.names() == ["first.json", "data"]
        assert reader.facts["made"] == "here"
        assert reader.stream("data").read() == STREAM
        assert reader.stream("first.json").read() == b"{}"
    listed = subprocess.run(["tar", "-tf", file], check=True, capture_output=True, text=True).stdout.split()
    assert listed[:4] == ["first.json", "first.json.sha256", "data/0000", "data/0000.sha256"]
    assert not file.with_name("a.partial").exists()


@pytest.mark.parametrize(("lost", "kept"), [(0, 5), (1, 5), (700, 4), (3000, 4), (6000, 3)])
def test_parts_that_were_written_are_kept(tmp_path: Path, lost: int, kept: int) -> None:
    """An interrupted file is not there, and the next try keeps its whole parts, wherever it was cut."""
    file = tmp_path / "a"
    write(file, stop=True)
    assert not file.exists()
    partial = file.with_name("a.partial")
    content = partial.read_bytes()
    partial.write_bytes(content[: len(content) - lost])
    assert write(file) == kept
    with PartsReader(file) as reader:
        assert reader.stream("data").read() == STREAM


def test_parts_that_changed_or_rotted_are_written_again(tmp_path: Path) -> None:
    """Another content, or a damaged part of the first try, is never kept."""
    file = tmp_path / "a"
    write(file, stop=True)
    other = STREAM[:3500] + b"x" + STREAM[3501:]
    assert write(file, other) == 2
    with PartsReader(file) as reader:
        assert reader.stream("data").read() == other
    file.replace(file.with_name("a.partial"))
    damage(file.with_name("a.partial"), "data/0000")
    assert write(file, other) == 1
    with PartsReader(file) as reader:
        assert reader.stream("data").read() == other


def damage(file: Path, name: str) -> None:
    """Change one byte of a part."""
    with tarfile.open(file) as archive:
        place = archive.getmember(name).offset_data
    content = bytearray(file.read_bytes())
    content[place + 1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["first.json", "data/0000", "data/0002", "manifest.json"])
def test_parts_that_are_damaged_are_named(tmp_path: Path, name: str) -> None:
    """One wrong byte is found, and the error says in which part."""
    file = tmp_path / "a"
    write(file)
    damage(file, name)
    with pytest.raises(NotReadyError, match=f"its part `{name}` is damaged"):
        PartsReader(file)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (1500, "its part `first.json` is not complete"),
        (6656, "it ends after its part `data/0000`"),
        (7400, "its part `data/0001` is not complete"),
    ],
)
def test_parts_that_are_missing_are_noticed(tmp_path: Path, keep: int, said: str) -> None:
    """A file that was copied only in part says where it ends."""
    file = tmp_path / "a"
    write(file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(NotReadyError, match=said):
        PartsReader(file)


def test_parts_of_no_such_file_are_refused(tmp_path: Path) -> None:
    """Something else is no bundle; a part that was taken out is missed."""
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConfigError, match="is not a bundle"):
        PartsReader(tmp_path / "text")
    with pytest.raises(ConfigError, match="cannot be read"):
        PartsReader(tmp_path / "nowhere")
    write(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[4 * 512 :])
    with pytest.raises(NotReadyError, match="lists other parts"):
        PartsReader(tmp_path / "a")


def test_packed_folder_is_laid_out_again(tmp_path: Path) -> None:
    """Files, modes and links inside the folder come back; the archive is the same each time."""
    root = tmp_path / "root"
    (root / "blobs").mkdir(parents=True)
    (root / "blobs/one").write_text("1")
    (root / "run").write_text("#!/bin/sh")
    (root / "run").chmod(0o755)
    (root / "link").symlink_to("blobs/one")
    made = [subprocess.run(parts.packed(root), check=True, capture_output=True).stdout for _ in range(2)]
    assert made[0] == made[1]
    assert parts.unpack(io.BytesIO(made[0]), tmp_path / "there") == 10
    assert (tmp_path / "there/link").read_text() == "1"
    assert (tmp_path / "there/run").stat().st_mode & 0o777 == 0o755
    parts.unpack(io.BytesIO(made[0]), tmp_path / "there")


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../x", tarfile.REGTYPE, ""),
        ("/tmp/x", tarfile.REGTYPE, ""),
        ("a/../../x", tarfile.REGTYPE, ""),
        ("x", tarfile.SYMTYPE, "/etc/passwd"),
        ("a/x", tarfile.SYMTYPE, "../../y"),
        ("x", tarfile.LNKTYPE, "y"),
        ("x", tarfile.CHRTYPE, ""),
    ],
)
def test_packed_members_that_lead_out_are_refused(tmp_path: Path, name: str, kind: bytes, link: str) -> None:
    """Nothing is written outside of the folder, and no device and no hard link is made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)
    buffer.seek(0)
    with pytest.raises(ConfigError, match="is not a file or link of its folder"):
        parts.unpack(buffer, tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def test_unpack_refuses_what_lies_behind_a_link(tmp_path: Path) -> None:
    """A link to a folder of the archive makes the depth of what lies behind it another one, so `..` leads out there."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, target in (("a/b/c", "../.."), ("a/b/c/l", "../../../outside")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        member = tarfile.TarInfo("l/file")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    (tmp_path / "outside").mkdir()
    out.seek(0)
    with pytest.raises(ConfigError, match="behind a link"):
        parts.unpack(out, tmp_path / "x" / "y" / "root")
    assert not list((tmp_path / "outside").iterdir())
    assert not (tmp_path / "x" / "outside").exists()


def archive_of(*members: tuple[str, dict[str, object]], form: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive whose headers say what each member is given here."""
    packed = b""
    for name, said in members:
        info = tarfile.TarInfo(name)
        for key, value in said.items():
            setattr(info, key, value)
        packed += info.tobuf(form)
    return packed + bytes(1024)


LIES: dict[str, bytes] = {
    "folder as a file": archive_of((".", {})),
    "no name": archive_of(("", {})),
    "file over a folder": archive_of(("a", {"type": tarfile.DIRTYPE}), ("a", {})),
    "link over a folder": archive_of(
        ("a", {"type": tarfile.DIRTYPE}), ("a", {"type": tarfile.SYMTYPE, "linkname": "b"})
    ),
    "file below a file": archive_of(("a", {}), ("a/b", {})),
    "name too long": archive_of(("n" * 300, {})),
    "path too deep": archive_of(("/".join("a" * 2000), {})),
    "path of 100,000 folders": archive_of(("/".join("a" * 100_000), {})),
    "control characters": archive_of(("a\x1b]0;b\x07", {})),
    "NUL": archive_of(("a", {"pax_headers": {"path": "a\0b"}}), form=tarfile.PAX_FORMAT),
    "absolute by an extended header": archive_of(("a", {"pax_headers": {"path": "/etc/x"}}), form=tarfile.PAX_FORMAT),
    "size of a terabyte": archive_of(("a", {"size": 1 << 40})),
    "name of a terabyte": archive_of(("././@LongLink", {"size": 1 << 40, "type": tarfile.GNUTYPE_LONGNAME})),
    "names of names": archive_of(("././@LongLink", {"size": 0, "type": tarfile.GNUTYPE_LONGNAME}))[:512] * 3000
    + bytes(1024),
    "sparse": archive_of(
        ("a", {"pax_headers": {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(1 << 50)}}), form=tarfile.PAX_FORMAT
    ),
    "sparse without numbers": archive_of(
        ("a", {"pax_headers": {"GNU.sparse.map": "0,x", "GNU.sparse.size": "y"}}), form=tarfile.PAX_FORMAT
    ),
    "device": archive_of(("a", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3})),
    "pipe": archive_of(("a", {"type": tarfile.FIFOTYPE})),
    "hard link": archive_of(("a", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})),
    "ends early": archive_of(("a", {"size": 2000}))[:700],
    "text": b"hello\n" * 300,
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_unpack_refuses_what_lies(tmp_path: Path, lie: str) -> None:
    """A hostile archive is one sentence; nothing of it lies outside, and no file is large."""
    with pytest.raises(ConfigError, match="archive"):
        parts.unpack(io.BytesIO(LIES[lie]), tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
    assert not [path for path in (tmp_path / "root").rglob("*") if path.is_file() and path.stat().st_size]


def test_unpack_gives_files_to_the_caller_with_plain_rights_and_times(tmp_path: Path) -> None:
    """Owner, setuid bits and times of the archive count for nothing that they should not."""
    said: dict[str, object] = {"uid": 1 << 31, "gid": 1234, "uname": "daemon", "mode": 0o6777, "mtime": 1 << 60}
    parts.unpack(io.BytesIO(archive_of(("a", said))), tmp_path)
    found = (tmp_path / "a").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (os.getuid(), os.getgid(), 0o755)
    assert found.st_mtime == 0


def test_unpack_ends_with_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is held in memory."""
    monkeypatch.setattr(parts, "MOST_MEMBERS", 3)
    with pytest.raises(ConfigError, match="more than 3 members"):
        parts.unpack(io.BytesIO(archive_of(*[("a", {})] * 4)), tmp_path)
