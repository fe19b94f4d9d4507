"""Names of what is to be fetched: `ORGANIZATION/NAME[@REVISION][/FILE]`, or the address of its page."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .errors import USAGE, DownloadError

if TYPE_CHECKING:
    from typing import Iterable, Sequence

_NAME = r"[\w.-]+"
# A revision holds slashes only where the hub itself makes such names: refs/pr/1, refs/convert/parquet.
_REVISION = r"refs/(?:pr|convert)/[^/\s]+|[^/\s]+"
_REFERENCE = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME}|{_NAME}(?=@|$))(?:@(?P<revision>{_REVISION}))?(?:/(?P<file>\S(?:.*\S)?))?"
)
_SCHEME = re.compile(r"(?:hf|HF|huggingface)://|https?://[^/\s]+/|(?:huggingface\.co|hf\.co)/")
_PAGE = re.compile(
    rf"(?P<repo>{_NAME}/{_NAME})(?:/(?:tree|blob|resolve|raw)/(?P<revision>{_REVISION})(?:/(?P<file>.+))?)?"
)
KINDS = ("model", "dataset")
_LONGEST_PART, _LONGEST = 255, 2048  # bytes of one part of a file name and of the whole, as file systems take them


@dataclass(frozen=True)
class Reference:
    """One repository, perhaps at a revision, perhaps one file of it. `kind` is "model" or "dataset"."""

    repo: str
    revision: str | None = None
    file: str | None = None
    kind: str = "model"

    def __str__(self) -> str:
        revision = "@" + self.revision if self.revision else ""
        return self.repo + revision + ("/" + self.file if self.file else "")

    def page(self, endpoint: str) -> str:
        """The address of the page to open in a browser."""
        return "{}/{}{}".format(endpoint.rstrip("/"), "datasets/" if self.kind == "dataset" else "", self.repo)

    @property
    def folder(self) -> str:
        """The name of its directory in the cache, as the library spells it."""
        return "--".join([self.kind + "s", *self.repo.split("/")])


LONGEST = 1024  # characters of a reference: a name, a revision and a path are far shorter


def parse(text: str, kind: str = "model") -> Reference:
    """Read a reference; `gpt2` has no organization. Raises DownloadError with the usage status."""
    given = text.strip()
    if len(given) > LONGEST:
        raise DownloadError(USAGE, f"invalid repository name `{given[:40]}…`: {len(given)} characters are too many")
    scheme = _SCHEME.match(given)
    if scheme:
        return _parse_address(text, given[scheme.end() :], kind)
    match = _REFERENCE.fullmatch(given.strip("/"))
    if match is None or not _is_usable(match):
        raise DownloadError(
            USAGE,
            f"invalid repository name `{text}`",
            "write ORGANIZATION/NAME, NAME@REVISION or ORGANIZATION/NAME/FILE",
        )
    return Reference(match.group("repo"), match.group("revision"), match.group("file"), kind)


def _parse_address(text: str, path: str, kind: str) -> Reference:
    """A page's address, as it is copied from a browser, or `hf://…`."""
    path = unquote(path.partition("?")[0].partition("#")[0]).strip("/")
    if path.startswith("datasets/"):
        path, kind = path[len("datasets/") :], "dataset"
    match = _PAGE.fullmatch(path)
    if match is not None and _is_usable(match):
        return Reference(match.group("repo"), match.group("revision"), match.group("file"), kind)
    if text.strip().lower().startswith(("hf://", "huggingface://")):
        return parse(path, kind)
    raise DownloadError(
        USAGE, f"`{text}` is not a page of a repository", "write ORGANIZATION/NAME or ORGANIZATION/NAME/FILE"
    )


def _is_usable(match: re.Match[str]) -> bool:
    """Whether all parts of a reference can be names in the cache and of the hub."""
    rest = (match.group("revision"), match.group("file"))
    return _is_repository(match.group("repo")) and all(part is None or is_safe(part) for part in rest)


def _is_repository(repo: str) -> bool:
    """The hub's own rules: at most 96 characters a part, no `--` and `..`, no `.` or `-` at an end, no `.git`."""
    parts = repo.split("/")
    return not repo.endswith(".git") and all(
        len(part) <= 96 and "--" not in part and ".." not in part and part.strip(".-") == part for part in parts
    )


def split_patterns(values: Iterable[str]) -> list[str]:
    """`a,b` and repeated options become one list; a directory (`onnx/`) means all that is in it."""
    patterns = [pattern.strip() for value in values for pattern in value.split(",")]
    return [pattern + "*" if pattern.endswith("/") else pattern for pattern in patterns if pattern]


def is_wanted(name: str, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether a file passes the patterns, matched against its whole path as the library does."""
    allowed = not include or any(fnmatch(name, pattern) for pattern in include)
    return allowed and not any(fnmatch(name, pattern) for pattern in exclude)


def is_safe(name: str) -> bool:
    """Whether a file name that a server gave can be made, and stays inside the directory it is put into."""
    try:
        parts = [part.encode("utf-8") for part in name.split("/")]
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    if "\\" in name or any(unicodedata.category(letter) == "Cc" for letter in name):
        return False
    fits = all(len(part) <= _LONGEST_PART for part in parts) and sum(map(len, parts)) + len(parts) <= _LONGEST
    return fits and not {b"", b".", b".."} & set(parts)
