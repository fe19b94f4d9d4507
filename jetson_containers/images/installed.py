"""What is installed in an image, from its own files: packages of Debian, of Python and of Node.js."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from typing import TYPE_CHECKING

from jetson_containers.core import json_text
from jetson_containers.core.errors import NotReadyError
from jetson_containers.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message

_DPKG = re.compile(r"var/lib/dpkg/status(?:\.d/[^/]+)?")
_PYTHON = re.compile(r"(?:.*/)?[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)")
_NODE = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json")
_SYSTEM = ("usr/lib/os-release", "etc/os-release")
_WORD = re.compile(r"[A-Za-z0-9@._+:~/-]{1,200}")  # names and versions of all three
_LONGEST = 200
MOST = 200_000  # packages that lists name, those that several name counted each time


@dataclass(frozen=True, kw_only=True, order=True)
class Installed:
    """One installed package. `kind` is "deb", "pypi" or "npm"; `arch` is Debian's; `place` the file that says so."""

    kind: str
    name: str
    version: str
    arch: str = ""
    place: str = ""


@dataclass(frozen=True, kw_only=True)
class InstalledContents:
    """All of an image. `distro` and `release` are ID and VERSION_ID of its os-release, "" where it has none."""

    packages: tuple[Installed, ...]
    distro: str = ""
    release: str = ""


def wanted(path: str) -> bool:
    """Whether a file says what is installed."""
    return path in _SYSTEM or any(pattern.fullmatch(path) for pattern in (_DPKG, _PYTHON, _NODE))


def contents_of(files: Iterable[tuple[str, bytes]]) -> InstalledContents:
    """Read all such files. What has no name or version in the form of its kind is left out.

    Raises NotReadyError for lists of more packages than any image has.
    """
    found: dict[tuple[str, str, str], Installed] = {}
    system: dict[str, str] = {}
    count = 0
    for path, content in files:
        if path in _SYSTEM:
            system = system or _os_release(content)
        for one in _read(path, content):
            count += 1
            if count > MOST:
                raise NotReadyError(f"/{printable(path, _LONGEST)} makes it more than {MOST} packages")
            if _WORD.fullmatch(one.name) and _WORD.fullmatch(one.version):
                found.setdefault((one.kind, one.name, one.version), one)
    return InstalledContents(
        packages=tuple(sorted(found.values())), distro=system.get("ID", ""), release=system.get("VERSION_ID", "")
    )


def _read(path: str, content: bytes) -> Iterator[Installed]:
    place = printable(path, _LONGEST)
    if _DPKG.fullmatch(path):
        for paragraph in re.split(rb"\n\s*\n", content):
            fields = BytesHeaderParser().parsebytes(paragraph)
            if str(fields.get("Status", "install ok installed")).endswith(" installed"):
                yield _from_headers("deb", fields, place)
    elif _PYTHON.fullmatch(path):
        yield _from_headers("pypi", BytesHeaderParser().parsebytes(content), place)
    elif _NODE.fullmatch(path):
        yield from _from_json(content, place)


def _from_headers(kind: str, fields: Message, place: str) -> Installed:
    keys = ("Package" if kind == "deb" else "Name", "Version", "Architecture")
    name, version, arch = (str(fields.get(key, "")).strip() for key in keys)
    if kind == "pypi":
        name = re.sub(r"[-_.]+", "-", name).lower()  # the one form of PEP 503
    return Installed(kind=kind, name=name, version=version, arch=arch, place=place)


def _from_json(content: bytes, place: str) -> Iterator[Installed]:
    try:
        data = json_text.parse(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return
    if isinstance(data, dict) and isinstance(data.get("name"), str) and isinstance(data.get("version"), str):
        yield Installed(kind="npm", name=data["name"], version=data["version"], place=place)


def _os_release(content: bytes) -> dict[str, str]:
    lines = (line.partition("=") for line in content.decode("utf-8", "replace").splitlines())
    values = {name: value.strip("\"'") for name, _, value in lines if name in {"ID", "VERSION_ID"}}
    return {name: value for name, value in values.items() if _WORD.fullmatch(value)}
