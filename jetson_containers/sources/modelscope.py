"""ModelScope: repositories as the hub's, by its own list of files and its own addresses.

`/api/v1/models/ORG/NAME/repo/files?Revision=R&Recursive=true` gives name, size and sha256 of each file, in one answer;
`…/repo?Revision=R&FilePath=F` its bytes, mostly by a redirect, with ranges. A revision that is not there is an answer
without files. Source: modelscope, hub/api.py and hub/file_download.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.hub.transfer.entries import ListingError, checked_entries, checked_entry, shown
from jetson_containers.hub.transfer.errors import FAILED, DownloadError
from jetson_containers.hub.transfer.types import RepositoryListing
from jetson_containers.sources.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.hub.transfer.types import RepositoryFile
    from jetson_containers.registry.http import Stream, Transport
    from jetson_containers.sources.names import SourceReference

MAIN = "master"  # the branch that is meant without a revision
TOKEN = "MODELSCOPE_API_TOKEN"  # noqa: S105 - the name of a variable
_COMMIT = re.compile(r"[0-9a-f]{40}")
_HEX = re.compile(r"[0-9a-f]{7,40}")


class ModelScopeSource(ModelSource):
    """ModelScope, or a mirror of it at another host."""

    title = "ModelScope"

    def __init__(self, transport: Transport, host: str, token: str = "", **given: Any) -> None:
        super().__init__(host, **given)
        self.transport = transport
        self.endpoint = transport.base_url(host)
        self._key = token
        if token and not re.fullmatch(r"[!-~]{1,512}", token):
            raise UsageError(f"{TOKEN} holds characters that no token has", hint=f"copy it again, or unset {TOKEN}")
        self._asked: dict[str, str] = {}  # what a commit is asked by

    def files_of(self, reference: SourceReference) -> RepositoryListing:
        """See `ModelSource`. Raises NothingMatchedError where there is no such repository or revision."""
        wanted = reference.revision or MAIN
        found = self._listing(reference, wanted)
        if found is None and _COMMIT.fullmatch(wanted):  # made here of the files, where the server names no commit
            found = self._listing(reference, MAIN)
            found = found if found is not None and found.commit == wanted else None
        if found is None:
            raise NothingMatchedError(
                f"{self.title} has no revision `{wanted}` of `{reference.repo}`, or no files in it",
                hint=f"see {self.endpoint}/models/{reference.path}/files",
            )
        return found

    def _listing(self, reference: SourceReference, revision: str) -> RepositoryListing | None:
        query = urlencode({"Revision": revision, "Recursive": "true"})
        url = f"{self.endpoint}/api/v1/models/{reference.path}/repo/files?{query}"
        answer = self.transport.request("GET", url, headers=self._headers(), want_json=True)
        if answer.status in {401, 403}:
            raise NotReadyError(
                f"{self.title} does not let {'this token' if self._key else 'everybody'} read `{reference.repo}`",
                hint=f"put a token from {self.endpoint}/my/myaccesstoken into {TOKEN}",
            )
        if answer.status == 404:
            raise NothingMatchedError(
                f"{self.title} has no model `{reference.repo}`",
                hint=f"check the spelling: {self.endpoint}/models/{reference.path}",
            )
        if answer.status != 200:
            raise DownloadError(FAILED, f"{self.title} ({self.host}) answered HTTP {answer.status}", "try again later")
        try:
            files, commit = read_files(answer.body)
        except ValueError as error:
            raise DownloadError(
                FAILED,
                f"{self.title} ({self.host}) lists `{reference.repo}` with values it does not give: {error}",
                "this server is broken or hostile; nothing was written",
            ) from error
        if not files:
            return None
        self._asked[commit or made_commit(files)] = commit or revision
        return RepositoryListing(reference, commit or made_commit(files), files)

    @contextlib.contextmanager
    def open(self, listing: RepositoryListing, entry: RepositoryFile, headers: dict[str, str]) -> Iterator[Stream]:
        """See `ModelSource`."""
        reference: Any = listing.reference
        revision = self._asked.get(listing.commit, listing.commit)
        query = urlencode({"Revision": revision, "FilePath": entry.name})
        url = f"{self.endpoint}/api/v1/models/{reference.path}/repo?{query}"
        with self.transport.stream(url, {**headers, **self._headers()}) as answer:
            yield answer

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}


def read_files(body: bytes) -> tuple[tuple[RepositoryFile, ...], str]:
    """The files of an answer, none for an unknown revision, and their commit where it is said. Raises ValueError."""
    answer = checked.mapping(json_text.parse(body))
    data = checked.mapping(answer.get("Data") or {})
    rows = [checked.mapping(row) for row in checked.items(data.get("Files") or [])]
    blobs = [row for row in rows if row.get("Type") != "tree"]
    return checked_entries(_entry(row) for row in blobs), _commit_of(data, blobs)


def _entry(row: Mapping[str, Any]) -> RepositoryFile:
    sha256 = row.get("Sha256")
    if not isinstance(sha256, str):
        raise ListingError(f"the file {shown(row.get('Path'))} has no sha256")
    return checked_entry(row.get("Path"), row.get("Size"), sha256[:40], sha256)


def _commit_of(data: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """The commit of the answer: what it says, or the one of a file that begins as the short form; else empty."""
    latest = checked.mapping(data.get("LatestCommitter") or {})
    said = str(latest.get("Id") or "")
    if _COMMIT.fullmatch(said):
        return said
    short = str(latest.get("ShortId") or "")
    revisions = sorted({str(row.get("Revision")) for row in rows})
    fits = [one for one in revisions if _HEX.fullmatch(short) and one.startswith(short) and _COMMIT.fullmatch(one)]
    return fits[0] if len(fits) == 1 else ""


def made_commit(files: tuple[RepositoryFile, ...]) -> str:
    """Forty digits that stand for exactly these files."""
    lines = "".join(f"{file.sha256} {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    return hashlib.sha256(lines.encode()).hexdigest()[:40]
