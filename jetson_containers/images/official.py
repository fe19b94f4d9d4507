"""Images that others publish for Jetson, and what their tags hold: the rules of `facts/images.yaml`.

Such a tag often names no L4T release. Where a rule knows it, the rule completes what the name leaves open; an image
that no rule knows stays unknown, and unknown is refused.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.facts import load_facts
from jetson_containers.core.versions import pep440
from jetson_containers.images import compat
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.images.name import ImageName
    from jetson_containers.platforms.platform import Platform

_COMMIT = re.compile(r"g[0-9a-f]{7,40}")  # of `git describe`, behind a version: no variant


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a tag holds for one user space; `arch` None is that of the image's own architecture."""

    arch: Arch | None = None
    l4t: Version | None = None
    cuda: Version | None = None
    distro: str | None = None
    sm: tuple[int, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TagRule:
    """A rule for the tags of one repository."""

    tag: re.Pattern[str]
    version: str | None = None
    oldest: Version | None = None
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OfficialTag:
    """What the rules say of one tag; without holdings the name alone counts."""

    version: str | None = None
    variant: str | None = None
    holdings: tuple[Holding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OfficialRepository:
    """A repository of the table; the fields are explained there."""

    repository: str
    family: str
    entrypoint: tuple[str, ...] = ()
    search: str = ""
    rules: tuple[TagRule, ...] = ()

    def tag(self, text: str) -> OfficialTag | None:
        """What the first matching rule says of a tag; None when none matches."""
        for rule in self.rules:
            match = rule.tag.fullmatch(text)
            if match is None:
                continue
            words = match.groupdict()
            version = words.get("version") or rule.version
            known = pep440(version) if version else None
            if rule.oldest and (known is None or known < rule.oldest):
                continue
            return OfficialTag(
                version=version,
                variant=words.get("variant"),
                holdings=tuple(_with_cuda(one, words.get("cuda")) for one in rule.holdings),
            )
        return None


@functools.cache
def repositories() -> Mapping[str, OfficialRepository]:
    """The table, by `HOST/PATH`."""
    return {row["repository"]: _repository(row) for row in load_facts("images")["images"]}


def repository_of(name: ImageName) -> OfficialRepository | None:
    """The repository of an image, where the table has it."""
    return repositories().get("/".join(filter(None, (name.registry or "docker.io", name.namespace, name.name))))


def completed(facts: ImageFacts, name: ImageName, host: Platform, *, labeled: bool = False) -> ImageFacts:
    """Add to an image's facts what the table knows of it, for this host where it holds something for several.

    A platform label stands: the image was made with it.
    """
    official = repository_of(name)
    if official is None:
        return facts
    said = official.tag(name.tag or "")
    version, variant = facts.version, facts.variant
    if said:
        version, variant = said.version, said.variant
    elif variant and version:
        variant = "-".join(word for word in variant.split("-") if not _COMMIT.fullmatch(word)) or None
    known = replace(
        facts,
        packages=facts.packages or (f"{official.family}:{version}" if version else official.family,),
        version=version,
        variant=variant,
    )
    if said is None or labeled:
        return known
    return _choose(known, said, host)


def environment_for(name: ImageName, host: Platform) -> Mapping[str, str]:
    """What a container of an image needs in its environment on this host."""
    official = repository_of(name)
    said = official.tag(name.tag or "latest") if official else None
    if official is None or said is None:
        return {}
    found = _fitting(compat.facts_of(name), said, host)
    return found.environment if found else {}


def _choose(facts: ImageFacts, said: OfficialTag, host: Platform) -> ImageFacts:
    """The facts with the holding that runs here, else with the first."""
    found = _fitting(facts, said, host) or next(iter(said.holdings), None)
    return _held(facts, found) if found else facts


def _fitting(facts: ImageFacts, said: OfficialTag, host: Platform) -> Holding | None:
    return next((one for one in said.holdings if compat.compatible(_held(facts, one), host).ok), None)


def _held(facts: ImageFacts, holding: Holding) -> ImageFacts:
    if facts.machine == "x86_64":
        arch, l4t = Arch.X86_64, None
    else:
        arch, l4t = holding.arch or Arch.SBSA, holding.l4t
    if holding.arch and facts.machine and holding.arch.machine != facts.machine:
        return facts  # the rule is about another architecture of this tag
    release = tables.release_for(l4t) if l4t else None
    return replace(
        facts,
        arch=arch,
        machine=arch.machine,
        l4t=l4t,
        cuda=holding.cuda,
        cpu=False,
        distro=holding.distro,
        sm=holding.sm or (release.sm if release else None),
    )


def _with_cuda(holding: Holding, digits: str | None) -> Holding:
    return replace(holding, cuda=Version(f"{digits[:2]}.{digits[2:]}")) if digits else holding


def _repository(row: Mapping[str, Any]) -> OfficialRepository:
    return OfficialRepository(
        repository=row["repository"],
        family=row["family"],
        entrypoint=tuple(row.get("entrypoint", ())),
        search=row.get("search", ""),
        rules=tuple(_rules(row)),
    )


def _rules(row: Mapping[str, Any]) -> Iterator[TagRule]:
    for rule in row["tags"]:
        yield TagRule(
            tag=re.compile(rule["tag"]),
            version=rule.get("version"),
            oldest=Version(rule["from"]) if "from" in rule else None,
            holdings=tuple(_holding(one) for one in rule["holds"]),
        )


def _holding(row: Mapping[str, Any]) -> Holding:
    return Holding(
        arch=Arch(row["arch"]) if "arch" in row else None,
        l4t=Version(row["l4t"]) if "l4t" in row else None,
        cuda=Version(row["cuda"]) if "cuda" in row else None,
        distro=row.get("ubuntu"),
        sm=tuple(int(chip) for chip in row["sm"]) if "sm" in row else None,
        environment=row.get("environment", {}),
    )
