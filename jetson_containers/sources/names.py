"""Names of models by their source: `ollama://NAME[:TAG]`, and Ollama's short form `NAME:TAG`.

    ollama://[[HOST/]NAMESPACE/]NAME[:TAG]    a model of Ollama's registry, or of another one that speaks its protocol

Source of the forms: Ollama's types/model/name.go. Every part becomes part of an address and of a path, so nothing goes
further that is not exactly of its form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.core.text import shown
from jetson_containers.hub.transfer.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

OLLAMA = "ollama"
OLLAMA_HOST = "registry.ollama.ai"
LIBRARY = "library"
LATEST = "latest"
SOURCES = (OLLAMA,)  # and folders below `data/models`
LONGEST = 1024  # characters of a name
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.)){0,127}"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?!\.)){0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_OLLAMA = re.compile(rf"(?:(?:(?P<host>{_HOST})/)?(?P<namespace>{_PART})/)?(?P<name>{_PART})(?::(?P<tag>{_PART}))?")
_SHORT = re.compile(rf"{_PART}:{_PART}")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z]{2,12})://")
_SCHEMES = frozenset({"docker", "file", "ftp", "hf", "http", "https", "huggingface", "modelscope", "ms", "oci", OLLAMA})
_FORMS: Mapping[str, str] = {OLLAMA: "ollama://NAME:TAG, as ollama://llama3.2:1b"}


@dataclass(frozen=True, kw_only=True)
class SourceReference(Reference):
    """One model of a source. `repo` is its whole name with the scheme, which `parse` reads; `revision` the tag.

    `host` and `path` are those of the registry. `digest` (at least 40 of its digits) pins what the tag has to mean.
    """

    source: str = ""
    host: str = ""
    path: str = ""
    digest: str = ""

    def __str__(self) -> str:
        return self.repo + (f"@{self.digest}" if self.digest else "")

    @property
    def folder(self) -> str:
        """The name of its directory below the source's folder: one for each tag, so that each is removed alone."""
        parts = [self.host.replace(":", "~"), *self.path.split("/"), self.revision or LATEST]
        return "+".join(parts)

    @property
    def name(self) -> str:
        """What files of it are called: the last part and the tag."""
        return f"{self.path.rpartition('/')[2]}-{self.revision}"


def parse(text: str) -> SourceReference | None:
    """Read a name with a scheme; None for one of the hub, a path, or a name without a scheme.

    Raises UsageError for a known scheme with a name that cannot be one.

    >>> parse("ollama://llama3.2:1b").path
    'library/llama3.2'
    """
    given = text.strip()
    match = _SCHEME.match(given)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _FORMS:
        return None
    if len(given) > LONGEST:
        raise UsageError(f"invalid model name `{given[:40]}…`: {len(given)} characters are too many")
    rest, at, digest = given[match.end() :].rstrip("/").partition("@")
    found = _ollama(rest)
    if found is None or (at and not re.fullmatch(r"sha256:[0-9a-f]{40,64}", digest)):
        raise UsageError(f"invalid model name `{shown(given)}`", hint=f"write {_FORMS[scheme]}")
    return SourceReference(**{**found.__dict__, "digest": digest})


def short_form(text: str) -> SourceReference | None:
    """Ollama's own way to write `NAME:TAG`; None for everything else.

    >>> str(short_form("llama3.2:1b"))
    'ollama://llama3.2:1b'
    """
    is_short = len(text) <= LONGEST and _SHORT.fullmatch(text) and text.partition(":")[0].lower() not in _SCHEMES
    return _ollama(text) if is_short else None


def elsewhere(text: str) -> SourceReference | None:
    """The model of another source than the hub that is named, with its scheme or in the short form."""
    return parse(text) or short_form(text)


def of_folder(source: str, folder: str) -> SourceReference | None:
    """The reference whose directory is called so; None for a directory that is none of ours."""
    host, _, rest = folder.partition("+")
    path, _, tag = rest.rpartition("+")
    found = _ollama(f"{host.replace('~', ':')}/{path.replace('+', '/')}:{tag}")
    return found if found is not None and found.source == source and found.folder == folder else None


def _ollama(rest: str) -> SourceReference | None:
    match = _OLLAMA.fullmatch(rest)
    if match is None:
        return None
    host = (match["host"] or OLLAMA_HOST).lower()
    namespace, name, tag = match["namespace"] or LIBRARY, match["name"], match["tag"] or LATEST
    if namespace.lower() == LIBRARY:  # all of its names are in lower case, and Ollama takes any
        namespace, name = LIBRARY, name.lower()
    where = "" if host == OLLAMA_HOST else f"{host}/{namespace}/"
    where = where or ("" if namespace == LIBRARY else f"{namespace}/")
    return SourceReference(
        repo=f"{OLLAMA}://{where}{name}:{tag}",
        revision=tag,
        source=OLLAMA,
        host=host,
        path=f"{namespace}/{name}",
    )
