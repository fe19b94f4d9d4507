"""Image references and the tag grammar: parse and format, round trip.

`[REGISTRY[:PORT]/][NAMESPACE/]NAME:TAG`, `TAG := [VERSION-][VARIANT-]PLATFORM[-PLAN]`. We write
`mlc:0.20.0-r36.4-cu126-22.04`; every form that was ever published for Jetson is read.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import Version

from jetson_containers.core.copies import copy_with
from jetson_containers.core.errors import UsageError
from jetson_containers.core.text import shown
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform

STAGE_REPOSITORY = "jetson-containers/stage"  # of images under construction, which are not meant to be run
_STAGES_ABOVE = STAGE_REPOSITORY.partition("/")[0]
LONGEST_REPOSITORY = 255  # characters, as Docker has it


@dataclass(frozen=True, kw_only=True)
class TagPlatform:
    """What a tag says of its platform; None is "the tag does not say", never "any"."""

    arch: Arch | None = None
    l4t: Version | None = None
    cuda: Version | None = None
    cpu: bool = False
    python: Version | None = None
    distro: str | None = None  # "22.04", "debian12"
    machine: str | None = None  # "aarch64", "x86_64"; a tag may say `arm64` and leave the flavour open


@dataclass(frozen=True, kw_only=True)
class ImageName:
    """A parsed image reference. `str()` of it is the reference again, byte for byte.

    `version` and `variant` are the words of the tag before the platform: `2.6`, `builder`, `humble-ros-base`. A word
    that looks like a version (number, `v2`, `b5283`, commit hash) is one only at the start.
    """

    registry: str | None
    namespace: str | None
    name: str
    tag: str | None
    digest: str | None = None
    version: str | None = None
    variant: str | None = None
    platform: TagPlatform = TagPlatform()
    plan: str | None = None  # trailing plan hash or date of the tag

    @classmethod
    def parse(cls, reference: str) -> ImageName:
        """Parse any image reference. Raises UsageError for one that Docker would not accept either."""
        match = _REFERENCE.fullmatch(reference)
        if match and len(match["path"]) > LONGEST_REPOSITORY:
            raise UsageError(
                f"the name `{shown(match['path'])}` has {len(match['path'])} characters, and at most"
                f" {LONGEST_REPOSITORY} are allowed before the tag"
            )
        if not match:
            raise UsageError(
                f"invalid image reference `{reference}`",
                hint="[REGISTRY[:PORT]/][NAMESPACE/]NAME[:TAG][@sha256:…], the name in lower case",
            )
        registry, path = _split_registry(match["path"])
        namespace, _, name = path.rpartition("/")
        fields = _read_tag(match["tag"]) if match["tag"] else _Tag()
        return cls(
            registry=registry,
            namespace=namespace or None,
            name=name,
            tag=match["tag"],
            digest=match["digest"],
            version=fields.version,
            variant=fields.variant,
            platform=fields.platform,
            plan=fields.plan,
        )

    def tagged(self, tag: str) -> ImageName:
        """The image of this repository with a tag, as `parse` reads it. Raises UsageError for what is not a tag."""
        if not _TAG.fullmatch(tag):
            raise UsageError(f"invalid tag `{shown(tag)}` of {self.repository}", hint="letters, digits and `_.-`")
        fields = _read_tag(tag)
        return copy_with(
            self,
            tag=tag,
            digest=None,
            version=fields.version,
            variant=fields.variant,
            platform=fields.platform,
            plan=fields.plan,
        )

    @property
    def repository(self) -> str:
        """Everything before the tag."""
        return "/".join(part for part in (self.registry, self.namespace, self.name) if part)

    @property
    def selector(self) -> str:
        """The tag up to the platform: what a user writes after the colon of a package, `0.3.9-builder`."""
        return "-".join(part for part in (self.version, self.variant) if part)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


def is_of_stages(name: ImageName) -> bool:
    """Whether an image lies where this tool keeps its stages, in whatever registry."""
    above = name.namespace or ""
    return above.startswith(_STAGES_ABOVE) and f"{above}/{name.name}/".startswith(f"{STAGE_REPOSITORY}/")


def is_repository_path(text: str) -> bool:
    """Whether Docker takes this for the path of a repository: parts in lower case between slashes.

    >>> is_repository_path("dustynv/mlc"), is_repository_path("Bad Name")
    (True, False)
    """
    return _REPOSITORY_PATH.fullmatch(text) is not None


def platform_tag(platform: Platform) -> str:
    """Format the PLATFORM part we write: `r36.4-cu126-22.04`, `x86_64-cpu-24.04`, `sbsa-cu132-24.04`.

    Python is named (`-cp312`) only where it is not the distribution's own. L4T stands as major.minor: point releases
    share images.
    """
    words = [f"r{platform.l4t.major}.{platform.l4t.minor}" if platform.l4t else platform.arch.value]
    own = tables.distro(platform.distro, platform.distro_version)
    if own is None or own["python"] != str(platform.python):
        words.append(f"cp{platform.python.major}{platform.python.minor}")
    words.append(f"cu{platform.cuda.major}{platform.cuda.minor}" if platform.cuda else "cpu")
    words.append(distro_word(platform.distro, platform.distro_version))
    return "-".join(words)


def distro_word(distro: str, version: str) -> str:
    """How tags and labels name a distribution: `22.04` for Ubuntu, `debian12`."""
    return version if distro == "ubuntu" else f"{distro}{version}"


def tag_text(version: str) -> str:
    """A version as a tag may hold it: without `+`, and without the further colons of names in upstream's format."""
    return version.replace("+", "-").replace(":", "-")


def image_for(package: str, platform: Platform, *, repository: str = "") -> str:
    """Name the final image of a package (`llama_cpp:b9016` → `llama_cpp:b9016-r36.4-cu126-22.04`).

    `repository` is what comes before the name: `ghcr.io/me`, `localhost:5000`. A family with capitals is written in
    lower case, as registries want it. Raises UsageError where the result would be no reference.
    """
    family, _, version = package.partition(":")
    words = [tag_text(version), platform_tag(platform)]
    name = f"{family.lower()}:{'-'.join(word for word in words if word)}"
    prefix = repository.strip("/")
    return str(ImageName.parse(f"{prefix}/{name}" if prefix else name))


# References ---------------------------------------------------------------------------------------------------------

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_DOMAIN_WORD = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = rf"{_DOMAIN_WORD}(?:\.{_DOMAIN_WORD})*(?::[0-9]+)?"
_TAG_FORM = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_TAG = re.compile(_TAG_FORM)
_REPOSITORY_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_REFERENCE = re.compile(
    rf"(?P<path>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    rf"(?::(?P<tag>{_TAG_FORM}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)


def _split_registry(path: str) -> tuple[str | None, str]:
    """The first component is a registry when it has a dot or port, is `localhost`, or cannot be a name."""
    first, slash, rest = path.partition("/")
    if slash and (re.search(r"[.:A-Z]", first) or first == "localhost"):
        return first, rest
    return None, path


# Tags ---------------------------------------------------------------------------------------------------------------


class _Tag(NamedTuple):
    version: str | None = None
    variant: str | None = None
    platform: TagPlatform = TagPlatform()
    plan: str | None = None


class _End(NamedTuple):
    """The end of a tag: the words before the platform, and the platform with what follows it."""

    before: str
    platform: TagPlatform
    words: str = ""
    plan: str | None = None


_START = re.compile(
    r"(?:(?<=-)|^)(?:l4t-)?(?:"
    r"[rR](?P<l4t>[0-9]{2}(?:\.[0-9]+){1,2})(?:[.-](?P<flavour>tegra-aarch64|arm64-sbsa|tegra|sbsa|aarch64|arm64))?"
    r"|(?P<arch>amd64\.x86_64|x86_64|amd64|arm64-sbsa|sbsa|tegra-aarch64|aarch64|arm64)"
    r")(?=-|$)"
)
_BARE_START = re.compile(r"(?:(?<=-)|^)(?=(?:cu[0-9]{3,4}|cpu)(?:-|$))(?P<l4t>)(?P<flavour>)(?P<arch>)")
_MODIFIERS = (
    ("python", re.compile(r"cp([0-9])([0-9]{1,2})")),
    ("cuda", re.compile(r"cu([0-9]{2})([0-9]{1,2})")),
    ("cpu", re.compile(r"cpu")),
    ("distro", re.compile(r"[0-9]{2}\.[0-9]{2}|debian[0-9]{2}")),
)
_PLAN = re.compile(r"20[0-9]{6}|[0-9a-f]{7,64}")
_VERSION = re.compile(r"v?[0-9]+(?:\.[0-9]+)*[A-Za-z0-9.]*|b[0-9]{3,}|(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}")
_ARCHES = {
    "tegra": Arch.TEGRA,
    "tegra-aarch64": Arch.TEGRA,
    "sbsa": Arch.SBSA,
    "arm64-sbsa": Arch.SBSA,
    "x86_64": Arch.X86_64,
    "amd64": Arch.X86_64,
    "amd64.x86_64": Arch.X86_64,
}


def _read_tag(tag: str) -> _Tag:
    first, dash, rest = tag.partition("-")
    # Most images of a repository are for the same few platforms: what follows the first word is read once for all.
    begins = _START.match(tag) or _BARE_START.match(tag)
    end = _read_end(rest) if dash and not begins else None
    if end is not None:
        version, variant = _read_prefix(f"{first}-{end.before}" if end.before else first)
    elif (end := _read_end(tag)) is not None:
        version, variant = _read_prefix(end.before)
    else:
        return _Tag(*_read_prefix(tag))
    if end.words:
        variant = f"{variant}-{end.words}" if variant else end.words
    return _Tag(version, variant, end.platform, end.plan)


@functools.lru_cache(maxsize=1024)
def _read_end(text: str) -> _End | None:
    """Read the end of a tag; None where it names no platform."""
    start = _START.search(text) or _BARE_START.search(text)
    if start is None:
        return None
    found, rest = _read_modifiers(text[start.end() :].lstrip("-").split("-"))
    plan = rest.pop() if rest and _PLAN.fullmatch(rest[-1]) else None
    platform = _platform(start["l4t"] or None, start["flavour"] or start["arch"], found)
    return _End(text[: start.start()].rstrip("-"), platform, "-".join(rest), plan)


def _read_prefix(text: str) -> tuple[str | None, str | None]:
    """Version and variant of `0.3.9-builder`, `builder`, `be12427`, `humble-ros-base`."""
    first, _, rest = text.partition("-")
    if _VERSION.fullmatch(first):
        return first, rest or None
    return None, text or None


def _read_modifiers(words: list[str]) -> tuple[dict[str, re.Match[str]], list[str]]:
    """Take CUDA, Python and distribution from the words behind the platform, in any order; the rest comes back."""
    found: dict[str, re.Match[str]] = {}
    rest = []
    for word in words:
        for kind, pattern in _MODIFIERS:
            if kind not in found and (match := pattern.fullmatch(word)):
                found[kind] = match
                break
        else:
            rest.append(word)
    return found, [word for word in rest if word]


def _platform(l4t: str | None, arch_word: str | None, found: dict[str, re.Match[str]]) -> TagPlatform:
    arch = _ARCHES.get(arch_word or "")
    cuda, python, distro = found.get("cuda"), found.get("python"), found.get("distro")
    machine = arch.machine if arch else ("aarch64" if l4t or arch_word else None)
    return TagPlatform(
        arch=arch,
        l4t=Version(l4t) if l4t else None,
        cuda=Version(f"{cuda[1]}.{cuda[2]}") if cuda else None,
        cpu="cpu" in found,
        python=Version(f"{python[1]}.{python[2]}") if python else None,
        distro=distro[0] if distro else None,
        machine=machine,
    )
