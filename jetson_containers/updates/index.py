"""A package index: which versions it has, and which vulnerabilities are known of one.

Source: the Simple API as JSON (PEP 691, PEP 700), and PyPI's own JSON API, which tells vulnerabilities and which few
other indexes have.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import RegistryError
from jetson_containers.core.versions import pep440
from jetson_containers.registry.types import UnreachableError

if TYPE_CHECKING:
    from packaging.version import Version

    from jetson_containers.registry.http import Response, Transport

DEFAULT_INDEX = "https://pypi.org/simple"
SIMPLE = "application/vnd.pypi.simple.v1+json"
GIVEN_UP_AFTER = 3  # questions without an answer; the others would not get one either


class UnknownError(Exception):
    """What was asked is not known; says why."""


class PackageIndex:
    """One index. Threads may share it; once it does not answer, it is not asked again."""

    def __init__(self, transport: Transport, address: str) -> None:
        self._transport = transport
        self._address = address.rstrip("/")
        self._lock = threading.Lock()
        self._unanswered = 0
        self._newest: dict[str, Version | None] = {}  # several versions of a package are asked about

    def newest(self, name: str) -> Version | None:
        """The newest version that is final and not withdrawn; None where the index has none. Raises UnknownError."""
        if name not in self._newest:
            self._newest[name] = self._ask_newest(name)
        return self._newest[name]

    def _ask_newest(self, name: str) -> Version | None:
        answer = self._ask(f"{self._address}/{quote(name)}/", SIMPLE)
        if answer.status == 404:
            return None
        if answer.status != 200 or SIMPLE not in answer.headers.get("content-type", ""):
            raise UnknownError("the index does not answer in JSON")
        try:
            return max(final_versions(answer.body), default=None)
        except ValueError as error:
            raise UnknownError(f"the index sent no list of files: {error}") from error

    def vulnerabilities(self, name: str, version: str) -> tuple[str, ...]:
        """Identifiers of the known vulnerabilities of a version. Raises UnknownError where the index does not tell."""
        base, slash, _ = self._address.rpartition("/simple")
        if not slash:
            raise UnknownError("the index tells no vulnerabilities")
        answer = self._ask(f"{base}/pypi/{quote(name)}/{quote(version)}/json", "application/json")
        if answer.status != 200:
            raise UnknownError(f"the index tells no vulnerabilities of it ({answer.status})")
        try:
            return known_vulnerabilities(answer.body)
        except ValueError as error:
            raise UnknownError(f"the index tells no vulnerabilities: {error}") from error

    def _ask(self, url: str, accept: str) -> Response:
        if self._unanswered >= GIVEN_UP_AFTER:
            raise UnknownError("the index is not reachable")
        try:
            answer = self._transport.request("GET", url, headers={"Accept": accept})
        except UnreachableError as error:
            with self._lock:
                self._unanswered += 1
            raise UnknownError(error.message) from error
        except RegistryError as error:
            raise UnknownError(error.message) from error
        self._unanswered = 0
        return answer


def final_versions(body: bytes) -> set[Version]:
    """The final versions with a file that is not withdrawn, of an answer of the Simple API. Raises ValueError."""
    found = set()
    for file in map(checked.mapping, checked.items(checked.mapping(json_text.parse(body)).get("files"))):
        version = _version_of(checked.text(file.get("filename")))
        if version is not None and not file.get("yanked") and not version.is_prerelease:
            found.add(version)
    return found


def known_vulnerabilities(body: bytes) -> tuple[str, ...]:
    """The identifiers in an answer of PyPI's JSON API, without those that were withdrawn. Raises ValueError."""
    rows = checked.items(checked.mapping(json_text.parse(body)).get("vulnerabilities"))
    return tuple(
        sorted({checked.text(row.get("id")) for row in map(checked.mapping, rows) if not row.get("withdrawn")})
    )


def _version_of(filename: str) -> Version | None:
    """The version that a file's name says; None for files of other kinds."""
    try:
        if filename.endswith(".whl"):
            return pep440(str(parse_wheel_filename(filename)[1]))
        return pep440(str(parse_sdist_filename(filename)[1]))
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
