"""Names of models by their source, and Ollama's short form `NAME:TAG`.

    ollama://[[HOST/]NAMESPACE/]NAME[:TAG]    a model of Ollama's registry, or of another one that speaks its protocol
    oci://[HOST/]REPOSITORY[:TAG]             an artifact with GGUF layers in a registry of containers
    ms://ORGANIZATION/NAME[@REVISION][/FILE]  a repository of ModelScope; also the address of its page
    https://HOST/PATH.gguf[#sha256=HEX]       one file of any server, and the checksum that it has to have

The pages of these sources and names that begin with the host of a registry are read as such names, too.

Sources of the forms: Ollama's types/model/name.go, the OCI distribution specification, ModelScope's pages. Every part
becomes part of an address and of a path, so nothing goes further that is not exactly of its form.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jetson_containers.core.docker_login import DOCKER_HUB
from jetson_containers.core.errors import UsageError, command
from jetson_containers.core.text import shown
from jetson_containers.hub.transfer import reference
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.hub.transfer.reference import Reference
from jetson_containers.images.name import is_repository_path
from jetson_containers.registry.types import split_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OLLAMA = "ollama"
OLLAMA_HOST = "registry.ollama.ai"
LIBRARY = "library"
LATEST = "latest"
OCI = "oci"
MODELSCOPE = "modelscope"
MODELSCOPE_HOST = "modelscope.cn"
DIRECT = "direct"
SOURCES = (OLLAMA, OCI, MODELSCOPE, DIRECT)  # and folders below `data/models`
LONGEST = 1024  # characters of a name
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?!\.)){0,127}"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]|\.(?!\.)){0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_OLLAMA = re.compile(rf"(?:(?:(?P<host>{_HOST})/)?(?P<namespace>{_PART})/)?(?P<name>{_PART})(?::(?P<tag>{_PART}))?")
_TAGGED = re.compile(rf"(?P<name>[^@]+?)(?::(?P<tag>{_PART}))?")
_OF_HOST = re.compile(_HOST)
_SHORT = re.compile(rf"{_PART}:{_PART}")
_SCHEME = re.compile(r"(?P<scheme>[A-Za-z]{2,12})://")
_SCHEMES = frozenset({"docker", "file", "ftp", "hf", "http", "https", "huggingface", "modelscope", "ms", "oci", OLLAMA})
_FORMS: Mapping[str, str] = {
    OLLAMA: "ollama://NAME:TAG, as ollama://llama3.2:1b",
    OCI: "oci://HOST/REPOSITORY:TAG in lower case, as oci://docker.io/ai/smollm2:latest",
    "ms": "ms://ORGANIZATION/NAME, as ms://Qwen/Qwen2.5-0.5B-Instruct",
    MODELSCOPE: "ms://ORGANIZATION/NAME, as ms://Qwen/Qwen2.5-0.5B-Instruct",
}
# Other programs' ways to write names of the hub and of ModelScope, whose own names follow.
_USER = r"(?:[^/@\s]*@)?"  # as in addresses that git clones with a token, which go no further
_HUB = re.compile(
    rf"(?:ollama://)?(?:git@(?=[^/]+:)|(?:https?://)?{_USER}(?:www\.)?)(?P<host>hf\.co|huggingface\.co)[:/]",
    re.IGNORECASE,
)
_HUB_SCHEME = re.compile(r"(?:hf|huggingface)://", re.IGNORECASE)
# The page of the hub that shows what is in one file.
_SHOWS_FILE = re.compile(
    r"(?P<repo>[^/?#]+/[^/?#]+)(?:/(?:tree|blob)/[^/?#]+)?/?\?(?:[^#]*&)?show_file_info=(?P<file>[^&#]+)(?:[&#].*)?"
)
# What follows a repository in an address of git or of one of its pages besides files: only what a revision is stays.
_OF_REPOSITORY = re.compile(
    r"(?P<repo>(?:datasets/)?[^/?#]+/[^/?#]+?)(?:\.git|/(?:discussions|settings|edit|upload)(?:/[^?#]*)?|"
    r"/(?:commits|commit)/(?P<revision>[^/?#]+))/?(?:[?#].*)?"
)
_FILE = re.compile(r"file:(?://(?:localhost)?(?=/))?(?P<path>.+)", re.IGNORECASE)
# The address of a file, but for those of a hub or its mirror: /ORG/NAME/resolve/REVISION/FILE.
_ADDRESS = re.compile(
    r"https?://[^/]+/(?![^/]+/[^/]+/resolve/)(?:[^?#]*/)?(?P<file>[^/?#]+\.gguf)(?:[?#].*)?", re.IGNORECASE
)
_WEB = re.compile(rf"https?://{_USER}(?P<host>[^/?#@]*)(?P<path>[^?#]*)", re.IGNORECASE)
_HUBS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com"})
# How names of other sources are copied from a browser or from another program's command line.
_COPIED = (
    (
        re.compile(r"(?:https?://)?(?:www\.)?ollama\.com/(?:library/)?([^?#]+?)(?:/tags)?/?(?:[?#].*)?", re.IGNORECASE),
        "ollama://",
    ),
    (re.compile(r"(?:https?://)?registry\.ollama\.ai/(?:library/)?([^?#/]+(?:/[^?#/]+)?)", re.IGNORECASE), "ollama://"),
    (re.compile(r"(?:https?://)?hub\.docker\.com/r/([^?#/]+/[^?#/]+)(?:[/?#].*)?", re.IGNORECASE), "oci://docker.io/"),
    (re.compile(r"((?:docker\.io|ghcr\.io|quay\.io)/[^?#]+)", re.IGNORECASE), "oci://"),
)
_STEP = r"(?!\.{1,2}/)[A-Za-z0-9._~%-]{1,128}"
_PLAIN_FILE = re.compile(
    rf"https?://(?P<host>{_HOST})/(?P<path>(?:{_STEP}/){{0,12}}[A-Za-z0-9._~%-]{{1,123}}\.gguf)(?:#sha256=(?P<hex>[0-9a-f]{{64}}))?",
    re.IGNORECASE,
)
_LONGEST_FOLDER = 255  # bytes of a file name
_PAGE = re.compile(
    r"(?:ollama://|https?://(?=[^/]+/models/))?(?:www\.)?modelscope\.(?:cn|ai)/(?:models/)?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class SourceReference(Reference):
    """One model of a source. `repo` is its whole name with the scheme, which `parse` reads; `revision` the tag.

    `host` and `path` are those of the registry; of ModelScope, `revision` and `file` are as the hub's. `digest` (at
    least 40 of its digits) pins what the tag has to mean.
    """

    source: str = ""
    host: str = ""
    path: str = ""
    digest: str = ""

    def __str__(self) -> str:
        if self.source == MODELSCOPE:
            return super().__str__()
        return self.repo + (f"@{self.digest}" if self.digest else "")

    @property
    def folder(self) -> str:
        """The name of its directory below the source's folder: one for each tag, so that each is removed alone."""
        tag = [] if self.source == MODELSCOPE else [(self.revision or LATEST).replace(":", "~")]
        return "+".join([self.host.replace(":", "~"), *self.path.split("/"), *tag])

    @property
    def name(self) -> str:
        """What files of it are called: the last part and the tag."""
        last, tag = self.path.rpartition("/")[2], self.revision or LATEST
        return last if self.source == DIRECT or tag.startswith("sha256:") else f"{last}-{tag}"


def parse(text: str) -> SourceReference | None:
    """Read a name with a scheme; None for one of the hub, a path, or a name without a scheme.

    Raises UsageError for a known scheme with a name that cannot be one.

    >>> parse("ollama://llama3.2:1b").path
    'library/llama3.2'
    """
    given = _as_named(text.strip())
    if len(given) <= LONGEST and not _at_hub(given) and (address := _ADDRESS.fullmatch(given)):
        if found := _direct(given):
            return found
        raise UsageError(
            f"`{shown(given)}` cannot be fetched like this: an address is https://HOST/PATH.gguf, and "
            "#sha256=HEX behind it where its checksum is known",
            hint="to fetch it another way: "
            + command("curl", "-L", "-C", "-", "-o", f"data/models/{address['file']}", given.partition("#")[0])
            + f", then specify data/models/{address['file']}",
        )
    _refuse_unknown_host(given)
    match = _SCHEME.match(given)
    scheme = match["scheme"].lower() if match else ""
    if match is None or scheme not in _FORMS or _HUB.match(given):
        return None
    if len(given) > LONGEST:
        raise UsageError(f"invalid model name `{given[:40]}…`: {len(given)} characters are too many")
    found = _READERS[scheme](given[match.end() :].rstrip("/"))
    if found is None:
        raise UsageError(f"invalid model name `{shown(given)}`", hint=f"write {_FORMS[scheme]}")
    return found


def _as_named(text: str) -> str:
    """A page's address, or a name with a registry's host, as the name with its scheme."""
    if len(text) > LONGEST:
        return text
    if _PAGE.match(text):
        return _PAGE.sub("ms://", text, count=1)
    for pattern, scheme in _COPIED:
        if match := pattern.fullmatch(text):
            return scheme + match[1]
    return text


def _at_hub(text: str) -> bool:
    """Whether an address is one of the Hugging Face hub, or of the mirror that HF_ENDPOINT names."""
    web, mirror = _WEB.match(text), _WEB.match(os.environ.get("HF_ENDPOINT", ""))
    return web is not None and web["host"].lower() in {*_HUBS, *([mirror["host"].lower()] if mirror else [])}


def _refuse_unknown_host(text: str) -> None:
    """The hub would be asked for what another host calls so, and might have something else under that name."""
    web = _WEB.match(text)
    if web is None or _at_hub(text) or "/resolve/" in web["path"]:
        return
    host = shown(web["host"])
    raise UsageError(
        f"`{host}` is not known as a hub of models",
        hint=f"if it is a mirror of the Hugging Face hub: HF_ENDPOINT=https://{host}; the address of a model file ends "
        "in .gguf",
    )


def of_hub(text: str) -> str:
    """A name of the hub as its own parser reads it: `ollama://hf.co/org/name`, what git clones, pages of one file.

    >>> of_hub("ollama://HF.co/org/name"), of_hub("git@hf.co:org/name.git"), of_hub("HuggingFace://org/name")
    ('hf.co/org/name', 'hf.co/org/name', 'hf://org/name')
    """
    given = text.strip() if len(text) <= LONGEST else ""
    if scheme := _HUB_SCHEME.match(given):
        return f"hf://{given[scheme.end() :]}"
    match = _HUB.match(given)
    if match is None:
        return text
    rest = given[match.end() :]
    if shown_file := _SHOWS_FILE.fullmatch(rest):
        return f"hf://{shown_file['repo']}/{unquote(shown_file['file'])}"
    if page := _OF_REPOSITORY.fullmatch(rest):
        rest = page["repo"] + (f"/tree/{page['revision']}" if page["revision"] else "")
    return f"{match['host'].lower()}/{rest}"


def local_path(text: str) -> str:
    """A path that is written with the scheme `file:`, without it; any other name as it is.

    >>> local_path("file:///data/models/a%20b.gguf"), local_path("file:x.gguf"), local_path("org/name")
    ('/data/models/a b.gguf', 'x.gguf', 'org/name')
    """
    match = _FILE.fullmatch(text)
    return unquote(match["path"]) if match else text


def aliased(text: str, aliases: Sequence[str]) -> str:
    """What the user's own name stands for, by pairs `NAME=MODEL`, of which the last counts; else the name itself.

    Raises UsageError for a pair that is none.

    >>> aliased("mine", ["mine=ollama://llama3.2:1b"])
    'ollama://llama3.2:1b'
    """
    meant = text
    for pair in aliases:
        name, equals, model = pair.partition("=")
        if not (name.strip() and equals and model.strip()):
            raise UsageError(f"`{shown(pair)}` is not an alias of a model", hint="write NAME=MODEL in `model_aliases`")
        meant = model.strip() if name.strip() == text else meant
    return meant


def has_tags(text: str) -> bool:
    """Whether what follows a colon in this name is a tag of a registry, and no quantization.

    >>> has_tags("ollama://mistral:Q4_0"), has_tags("ms://org/name-GGUF:Q4_0")
    (True, False)
    """
    if _PLAIN_FILE.fullmatch(text):  # a port, and no quantization
        return True
    match = _SCHEME.match(text)
    return match is not None and match["scheme"].lower() in {OLLAMA, OCI} and not _PAGE.match(text)


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
    if source == MODELSCOPE:
        found = _modelscope(rest.replace("+", "/"))
    elif source == DIRECT:
        path, _, tag = rest.rpartition("+")
        address = f"{host.replace('~', ':')}/{path.replace('+', '/')}"
        found = _direct(f"https://{address}" + ("" if tag == LATEST else f"#sha256={tag.removeprefix('sha256~')}"))
    else:
        path, _, tag = rest.rpartition("+")
        joint = "@" if tag.startswith("sha256~") else ":"
        name = f"{host.replace('~', ':')}/{path.replace('+', '/')}{joint}{tag.replace('~', ':')}"
        found = _READERS[source](name)
    return found if found is not None and found.folder == folder else None


def _digest_of(rest: str) -> tuple[str, str] | None:
    """The name and the digest behind it, which may be missing; None for something else behind an `@`."""
    name, at, digest = rest.partition("@")
    return None if at and not re.fullmatch(r"sha256:[0-9a-f]{40,64}", digest) else (name, digest)


def _ollama(rest: str) -> SourceReference | None:
    parts = _digest_of(rest)
    match = _OLLAMA.fullmatch(parts[0]) if parts else None
    if match is None or parts is None:
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
        digest=parts[1],
    )


def _oci(rest: str) -> SourceReference | None:
    parts = _digest_of(rest)
    match = _TAGGED.fullmatch(parts[0]) if parts else None
    if match is None or parts is None:
        return None
    host, path = split_host(match["name"])
    path = f"{LIBRARY}/{path}" if host == DOCKER_HUB and "/" not in path else path
    if not _OF_HOST.fullmatch(host) or not is_repository_path(path) or len(path) > 255:
        return None
    whole = len(parts[1]) == len("sha256:") + 64
    tag = match["tag"] or (parts[1] if whole else LATEST)  # a digest alone is asked for as such
    return SourceReference(
        repo=f"{OCI}://{host.lower()}/{path}" + (f"@{tag}" if tag.startswith("sha256:") else f":{tag}"),
        revision=tag,
        source=OCI,
        host=host.lower(),
        path=path,
        digest=parts[1] if match["tag"] or not whole else "",
    )


def _direct(address: str) -> SourceReference | None:
    """A file, perhaps with its checksum; None for an address whose parts cannot be parts of a path."""
    match = _PLAIN_FILE.fullmatch(address)
    if match is None:
        return None
    host, digest = match["host"].lower(), (match["hex"] or "").lower()
    found = SourceReference(
        repo=f"https://{host}/{match['path']}" + (f"#sha256={digest}" if digest else ""),
        revision=f"sha256:{digest}" if digest else LATEST,
        source=DIRECT,
        host=host,
        path=match["path"],
    )
    return found if len(found.folder) <= _LONGEST_FOLDER else None


def _modelscope(rest: str) -> SourceReference | None:
    """As names of the hub, whose form ModelScope took over: `tree/REV`, `file/view/REV/FILE` are of its pages."""
    address = rest.partition("?")[0]
    address = re.sub(r"/(?:files|summary)$|/file/view/(?=[^/]+/)|/resolve/(?=[^/]+/)", _to_revision, address)
    try:
        found = reference.parse(address)
    except DownloadError:
        return None
    if "/" not in found.repo or any("+" in part for part in (found.repo, found.file or "")):
        return None
    return SourceReference(
        repo=f"ms://{found.repo}",
        revision=found.revision,
        file=found.file,
        source=MODELSCOPE,
        host=MODELSCOPE_HOST,
        path=found.repo,
    )


def _to_revision(match: re.Match[str]) -> str:
    return "@" if match[0].endswith("/") else ""


_READERS: Mapping[str, Callable[[str], SourceReference | None]] = {
    OLLAMA: _ollama,
    OCI: _oci,
    "ms": _modelscope,
    MODELSCOPE: _modelscope,
}
