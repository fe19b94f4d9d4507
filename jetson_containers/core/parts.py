"""One file of many parts, each with its checksum; writing it goes on after an interruption.

It is a tar archive: every part is followed by a member with its SHA-256, and a manifest that lists all is the last
one. A stream becomes parts of at most `CHUNK` bytes. What is being written stands in `FILE.partial`, of which the next
try keeps all whole parts that it would write again; the file appears under its name when it is complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import DISK_FULL, ConfigError, NotReadyError
from jetson_containers.core.files import open_no_link
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHUNK = 64 << 20  # bytes; a part is held in memory until it is written
MANIFEST = "manifest.json"
LARGEST_MANIFEST = 64 << 20  # bytes
LARGEST_HEADER = 1 << 20  # bytes of a long name or an extended header in an archive
MOST_MEMBERS = 200_000  # of an archive; each is held in memory until its end
LONGEST_PATH, DEEPEST = 4096, 100  # characters and folders of a name in an archive
LATEST = 1 << 34  # seconds since 1970; the year 2514
_BLOCK = tarfile.BLOCKSIZE
_SUM = ".sha256"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,80}")
_UNSPOKEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)  # controls, and what is not UTF-8


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part. `offset` and `size` of its content in the file, in bytes; `digest` is SHA-256 in hex."""

    name: str
    offset: int
    size: int
    digest: str

    @property
    def end(self) -> int:
        """Where the next part begins: behind the content and the member with its checksum, in whole blocks."""
        return self.offset + _blocks(self.size) + 2 * _BLOCK


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


class PartsWriter:
    """Writes one file. `kept` counts the parts of an earlier try that were not written again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self.kept = 0
        self._parts: list[Part] = []
        try:
            self._file: IO[bytes] = open_no_link(self.partial, "r+b" if self.partial.is_file() else "w+b")
        except OSError as error:
            raise ConfigError(
                f"{self.partial}: cannot be written: {error.strerror}", hint="name another file"
            ) from error
        self._earlier = _whole_parts(self._file)

    def __enter__(self) -> PartsWriter:
        """The file is closed on exit; what it holds stays for the next try."""
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add_stream(self, name: str, stream: IO[bytes]) -> int:
        """Add a stream as `NAME/0000` and so on; returns its bytes."""
        total, number = 0, 0
        while data := _read(stream, CHUNK):
            self.add(f"{name}/{number:04}", data)
            total += len(data)
            number += 1
        return total

    def add(self, name: str, data: bytes) -> None:
        """Add one part, or keep it where an earlier try wrote the same at this place."""
        digest = hashlib.sha256(data).hexdigest()
        offset = (self._parts[-1].end if self._parts else 0) + _BLOCK
        part = Part(name=name, offset=offset, size=len(data), digest=digest)
        if part in self._earlier:
            self.kept += 1
        else:
            self._earlier.clear()  # what follows stands elsewhere, or is overwritten
            self._file.seek(offset - _BLOCK)
            self._file.truncate()
            pad = bytes(_blocks(len(data)) - len(data))
            self._file.write(_header(name, len(data)) + data + pad)
            self._file.flush()
            os.fsync(self._file.fileno())  # before its checksum, which says that it is whole
            self._file.write(_header(name + _SUM, len(digest)) + digest.encode().ljust(_BLOCK, b"\0"))
        self._parts.append(part)

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the manifest with some facts and give the file its name."""
        rows = [[part.name, part.size, part.digest] for part in self._parts]
        self.add(MANIFEST, json.dumps({**facts, "parts": rows}, sort_keys=True).encode())
        self._file.seek(self._parts[-1].end)
        self._file.truncate()
        self._file.write(bytes(2 * _BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.partial.replace(self.path)


def _read(stream: IO[bytes], size: int) -> bytes:
    """As many bytes as there are, up to `size`: a pipe gives them in pieces."""
    pieces, left = [], size
    while left and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _whole_parts(file: IO[bytes]) -> set[Part]:
    """The parts at the beginning of a file whose content has the checksum that follows it."""
    found: list[Part] = []
    while (part := _part_at(file, found[-1].end if found else 0)) and _digest(file, part) == part.digest:
        found.append(part)
    return set(found)


def _part_at(file: IO[bytes], start: int) -> Part | None:
    """The part that begins at a place; None where there is none, or not all of it."""
    file.seek(start)
    try:
        head = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
        file.seek(start + _BLOCK + _blocks(head.size))
        tail = tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    digest = file.read(_BLOCK)[:64].decode("ascii", "replace")
    if tail.name != head.name + _SUM or not re.fullmatch(r"[0-9a-f]{64}", digest) or not _NAME.fullmatch(head.name):
        return None
    return Part(name=head.name, offset=start + _BLOCK, size=head.size, digest=digest)


def _digest(file: IO[bytes], part: Part) -> str:
    state, left = hashlib.sha256(), part.size
    file.seek(part.offset)
    while left and (piece := file.read(min(left, 1 << 20))):
        state.update(piece)
        left -= len(piece)
    return state.hexdigest() if not left else ""


class PartsReader:
    """Reads a file that `PartsWriter` wrote; all of it is checked before anything of it is used."""

    def __init__(self, path: Path) -> None:
        """Check every part. Raises ConfigError for what is no such file, NotReadyError naming the damaged part."""
        self.path = path
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="check the name") from error
        try:
            self.facts, self.parts = self._checked()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PartsReader:
        """The file is closed on exit."""
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _checked(self) -> tuple[dict[str, Any], list[Part]]:
        found: list[Part] = []
        while not found or found[-1].name != MANIFEST:
            place = found[-1].end if found else 0
            part = _part_at(self._file, place)
            if part is None:
                raise self._damaged(found, place)
            if _digest(self._file, part) != part.digest:
                raise self._wrong(f"its part `{part.name}` is damaged")
            found.append(part)
        *parts, last = found
        if last.size > LARGEST_MANIFEST:
            raise self._wrong("its manifest is too large")
        try:
            facts = json_text.parse(self.content(last))
            listed = [tuple(row) for row in facts["parts"]]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise self._wrong(f"its manifest cannot be read: {shown(str(error))}") from error
        if listed != [(part.name, part.size, part.digest) for part in parts]:
            raise self._wrong("its manifest lists other parts than it has")
        return facts, parts

    def _damaged(self, found: list[Part], place: int) -> NotReadyError | ConfigError:
        self._file.seek(place)
        try:
            name = tarfile.TarInfo.frombuf(self._file.read(_BLOCK), "utf-8", "surrogateescape").name
        except tarfile.HeaderError:
            name = ""
        if _NAME.fullmatch(name):
            return self._wrong(f"its part `{name}` is not complete")
        if not found:
            return ConfigError(f"{self.path}: is not a bundle", hint="`jetson-containers bundle` writes one")
        return self._wrong(f"it ends after its part `{found[-1].name}`, or is damaged there")

    def _wrong(self, what: str) -> NotReadyError:
        return NotReadyError(
            f"{self.path}: {what}", hint="copy the file again, or write it anew; nothing of it was used"
        )

    def content(self, part: Part) -> bytes:
        """The bytes of one part."""
        self._file.seek(part.offset)
        return self._file.read(part.size)

    def names(self) -> list[str]:
        """The streams and single parts, in order."""
        return list(dict.fromkeys(re.sub(r"/[0-9]{4,}$", "", part.name) for part in self.parts))

    def stream(self, name: str) -> IO[bytes]:
        """What was added as a stream, or one part of that name; empty where there is none."""
        return io.BufferedReader(_Joined(self, self._of(name)), 1 << 20)

    def size(self, name: str) -> int:
        """The bytes of `stream`."""
        return sum(part.size for part in self._of(name))

    def _of(self, name: str) -> list[Part]:
        wanted = re.compile(re.escape(name) + r"(?:/[0-9]{4,})?")
        return [part for part in self.parts if wanted.fullmatch(part.name)]


class _Joined(io.RawIOBase):
    """The contents of several parts, one after the other."""

    def __init__(self, reader: PartsReader, parts: list[Part]) -> None:
        self._reader = reader
        self._left = iter(parts)
        self._part: Part | None = next(self._left, None)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._part is not None:
            size = min(len(buffer), self._part.size)
            if size:
                data = self._reader.content(replace(self._part, size=size))
                buffer[: len(data)] = data
                rest = self._part.size - len(data)
                self._part = replace(self._part, offset=self._part.offset + len(data), size=rest)
                return len(data)
            self._part = next(self._left, None)
        return 0


def packed(root: Path) -> list[str]:
    """The command that writes a folder to stdout as a tar archive, the same bytes for the same files."""
    form = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--hard-dereference", "--format=gnu"]
    return ["tar", "--create", *form, "--directory", str(root), "."]


class _Bounded(tarfile.TarInfo):
    """A header whose long name or extended part is held in memory only where it is one: a size may be any number."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.size > LARGEST_HEADER and not (self.isreg() or self.isdir()):
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


def unpack(stream: IO[bytes], root: Path) -> int:
    """Lay out an archive of `packed` below a folder; returns the bytes of its files.

    Only files, folders and links that stay in the folder are taken. Raises ConfigError for anything else, and for what
    is not such an archive; OSError for a full disk.
    """
    total, name = 0, ""
    root.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Bounded) as archive:
            archive.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # the members are checked here
            for number, member in enumerate(archive):
                name = shown(member.name)
                if number >= MOST_MEMBERS:
                    raise ConfigError(f"the archive has more than {MOST_MEMBERS} members")
                _check_member(member)
                _lay_out(archive, member, root)
                total += member.size
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise ConfigError(f"`{name}` of the archive cannot be laid out: {error.strerror or error}") from error
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"the archive is damaged behind `{name}`: {shown(str(error))}") from error
    return total


def _check_member(member: tarfile.TarInfo) -> None:
    """Refuse what `packed` does not write or leads out; what is left gets the rights and the owner of this program."""
    target = os.path.normpath(member.name)
    if max(len(member.name), len(member.linkname)) > LONGEST_PATH or target.count("/") > DEEPEST:
        raise ConfigError(f"`{shown(member.name)}` of the archive has too long a path")
    points_to = os.path.normpath(os.path.join(os.path.dirname(target), member.linkname))  # noqa: PTH118, PTH120
    inside = not _leads_out(target) and not (member.issym() and _leads_out(points_to))
    kind = (member.isreg() and target != "." and not member.issparse()) or member.isdir() or member.issym()
    if not inside or not kind or _UNSPOKEN.search(member.name + member.linkname):
        raise ConfigError(f"`{shown(member.name)}` of the archive is not a file or link of its folder")
    member.mode = (member.mode & 0o755) | 0o600
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    member.mtime = member.mtime if 0 <= member.mtime < LATEST else 0


def _lay_out(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path) -> None:
    place = root / os.path.normpath(member.name)
    if any(parent.is_symlink() for parent in _between(root, place)):
        raise ConfigError(f"`{shown(member.name)}` of the archive lies behind a link")
    if place.is_symlink() or (member.issym() and place.exists()):
        place.unlink()
    archive.extract(member, root, set_attrs=not member.isdir())


def _between(root: Path, place: Path) -> list[Path]:
    """The folders from below `root` down to the one that holds `place`: behind a link they would lie elsewhere."""
    return [parent for parent in place.parents if root in parent.parents]


def _leads_out(path: str) -> bool:
    return path.startswith(("/", "../")) or path == ".."
