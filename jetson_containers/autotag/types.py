"""What a request wants, what a source found: the data that the modules of autotag hand to each other."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from jetson_containers.core.docker_login import DOCKER_HUB
from jetson_containers.core.errors import RequirementSyntaxError, UsageError, command
from jetson_containers.core.versions import pep440, specifiers
from jetson_containers.images.name import tag_text
from jetson_containers.recipes.requirement import Dependency, is_range
from jetson_containers.registry.types import split_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from jetson_containers.core.errors import JetsonError
    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.images.name import ImageName
    from jetson_containers.platforms.platform import Platform

    Names = Callable[[str], Collection[str]]

_NAME = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]-]*")
_TAG = re.compile(
    r"[A-Za-z0-9_*?\[][A-Za-z0-9._+!*?\[\]-]*(?::[A-Za-z0-9._+!*?\[\]-]+)*"
)  # a colon: `torchcodec:0.9-pytorch:2.9`


class SourceKind(enum.Enum):
    """Where an image comes from; the values are the words of `--prefer` and `--disable`."""

    LOCAL = "local"
    REGISTRY = "registry"
    BUILD = "build"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One requested package or image: `mlc`, `mlc:0.20`, `mlc>=0.19`, `ns/mlc`, `reg:5000/ns/mlc:tag`, `…@sha256:…`."""

    text: str
    name: str
    registry: str | None = None
    namespace: str | None = None
    tag: str | None = None
    digest: str | None = None
    specifier: str = ""  # PEP 440, instead of a tag
    names: frozenset[str] = frozenset()  # the name and its aliases

    @classmethod
    def parse(cls, text: str, aliases: Names | None = None) -> Wanted:
        """Read a request. Raises UsageError for what is neither a package nor an image name."""
        place, at, digest = text.partition("@")
        specifier = ""
        if is_range(text):
            place, specifier = _range(text)
        host, path = split_host(place)
        *namespace, last = path.split("/")
        name, colon, tag = last.partition(":")
        fine = _NAME.fullmatch(name) and all(namespace) and (not colon or _TAG.fullmatch(tag))
        if not fine or (at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest)):
            raise _refused(text)
        explicit = host if place != path else None
        return cls(
            text=text,
            name=name.lower(),  # as registries write names
            registry=explicit,
            namespace="/".join(namespace).lower() or None,
            tag=tag_text(tag) or None,
            digest=digest or None,
            specifier=specifier,
            names=frozenset({name.lower(), name, *(aliases(name) if aliases else ())}),
        )

    def in_place(self, image: ImageName) -> bool:
        """Whether an image is in the registry and namespace that were named, if any were."""
        if self.registry is None and self.namespace is None:
            return True
        return (image.registry or DOCKER_HUB, image.namespace) == (self.registry or DOCKER_HUB, self.namespace)

    def names_image(self, image: ImageName) -> bool:
        """Whether an image has the name, with any tag."""
        named = image.name in self.names or any(fnmatchcase(image.name, name) for name in self.names)
        return named and self.in_place(image)

    def names_family(self, family: str) -> bool:
        """Whether a package family is the one that was asked for."""
        return any(fnmatchcase(family, name) for name in self.names)

    @property
    def version_text(self) -> str:
        """What was asked for besides the name, for messages: `0.20.0`, `>=0.19`; "" where any will do."""
        return self.tag or self.specifier

    def fits(self, version: str) -> bool:
        """Whether a tag or version is one that was asked for.

        That is one of the same name, as `is_called` says, and also one of the series that a number at the end names,
        as `build` has it: `0.20.0-r36.4.0` is of `0.20`, and `2.7-r36.4.0` the same version as `2.7.0`.
        """
        if self.specifier:
            found = pep440(_first_word(version))
            return found is not None and specifiers(self.specifier).contains(found, prereleases=True)
        return self.is_called(version) or (self.tag is not None and _in_series(_folded(self.tag), _folded(version)))

    def is_called(self, version: str) -> bool:
        """Whether a tag or version is what was asked for in so many words: equal, continued after a `-`, a pattern.

        Case makes no difference, as in names.
        """
        if self.tag is None:
            return True
        version, asked = tag_text(version).lower(), self.tag.lower()
        if version == asked or version.startswith(asked + "-"):
            return True
        return fnmatchcase(version, asked) or fnmatchcase(version, asked + "-*")


def _range(text: str) -> tuple[str, str]:
    """Split `mlc>=0.19` into name and range. Raises UsageError for what is not one."""
    try:
        asked = Dependency.parse(text)
    except RequirementSyntaxError as error:
        raise _refused(text) from error
    return asked.family, asked.specifier


def _refused(text: str) -> UsageError:
    words = [word for word in re.split(r"[\s,]+", text) if word]
    hint = "as in `autotag mlc` or `autotag dustynv/mlc:0.20.0`"
    if len(words) > 1 and all(_NAME.match(word) for word in words):
        hint = f"packages are words of their own: {command('autotag', *words)}"
    return UsageError(f"`{text}` is neither a package nor an image name", hint=hint)


def _folded(tag: str) -> str:
    """A tag without case, and without the `v` before a number."""
    return re.sub(r"^v(?=[0-9])", "", tag_text(tag).lower())


def _first_word(tag: str) -> str:
    return tag.partition("-")[0]


def _in_series(asked: str, version: str) -> bool:
    """Whether a tag goes on where the number at the end of another ends, or differs in zeros at its end only."""
    if not re.search(r"[0-9]$", asked):
        return False
    if version == asked or version.startswith((f"{asked}.", f"{asked}-")):
        return True
    shorter = re.sub(r"(?:\.0)+$", "", asked)
    return shorter != asked and re.fullmatch(r"[0-9.]+", asked) is not None and _first_word(version) == shorter


@dataclass(frozen=True, kw_only=True)
class ImageCandidate:
    """An image that has to do with the request. `digest` is the manifest's (a registry's), `image_id` the local one."""

    name: ImageName
    facts: ImageFacts
    kind: SourceKind
    digest: str | None = None
    image_id: str = ""
    order: int = 0  # position of its registry in the settings
    role: str = ""  # of labels.py; "" when the image is not ours
    family: str = ""  # the package that a repository of `facts/images.yaml` is an image of

    @property
    def reference(self) -> str:
        """What `docker run` takes."""
        return self.facts.reference

    def has_name(self, wanted: Wanted) -> bool:
        """Whether this is an image of what was asked for, by its name or by the table of others' images."""
        known = bool(self.family) and wanted.names_family(self.family) and wanted.in_place(self.name)
        return known or wanted.names_image(self.name)


@dataclass(frozen=True, kw_only=True)
class SourceFindings:
    """What a source reports: images, and what the user should know of how they were found."""

    candidates: tuple[ImageCandidate, ...] = ()
    notices: tuple[str, ...] = ()  # always shown
    notes: tuple[str, ...] = ()  # said with --verbose
    problems: tuple[JetsonError, ...] = ()  # parts that could not be asked


class ImageSource(Protocol):
    """A place that has images."""

    kind: SourceKind

    def find(self, request: Sequence[Wanted], host: Platform) -> SourceFindings:
        """Report the images that have to do with a request. Never raises for one part that cannot be asked."""
        ...
