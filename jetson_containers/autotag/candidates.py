"""What a name, labels and a registry's row say of one image: the candidates that `sources` reports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.autotag.matching import is_finished
from jetson_containers.autotag.types import ImageCandidate, SourceKind
from jetson_containers.core.copies import copy_with
from jetson_containers.core.errors import UsageError
from jetson_containers.images import compat, official
from jetson_containers.images.labels import PLATFORM, is_ours, read
from jetson_containers.images.name import ImageName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.registry.types import ImageRepository, Tag


def candidate_of(
    name: ImageName,
    labels: Mapping[str, str],
    arch: str | None,
    kind: SourceKind,
    host: Platform,
    *,
    ours: bool | None = None,
) -> ImageCandidate:
    """Make a candidate of an image; `arch` is its architecture as Docker names it, `ours` whether labels are its own.

    Labels count where they were written for this image; an image built on ours inherits only its platform.
    What neither they nor the name say, the table of others' images may.
    """
    said = read(labels)
    if ours is None:
        ours = is_ours([str(name)], labels)
    believed = labels if ours else {k: v for k, v in labels.items() if k == PLATFORM}
    facts = compat.facts_of(name, believed, docker_arch=arch)
    facts = replace(facts, reference=str(name), packages=said.packages if ours else ())
    facts = official.completed(facts, name, host, labeled=PLATFORM in believed)
    role = said.role if ours or not is_finished(said.role) else ""
    known = official.repository_of(name)
    return ImageCandidate(name=name, facts=facts, kind=kind, role=role, family=known.family if known else "")


class TagReader:
    """Makes candidates of the tags of one registry's repository.

    A repository may have a hundred thousand tags for a few platforms. Those without labels that say the same of their
    platform differ in their own words only, so what they say is read once.

    Raises UsageError for a repository that Docker cannot name.
    """

    def __init__(self, repository: ImageRepository, host: Platform, order: int) -> None:
        self._host = host
        self._order = order
        self._source = repository.host
        self._reference = repository.reference
        self._name = ImageName.parse(self._reference)
        self._by_rules = official.repository_of(self._name) is not None  # which may know each tag by itself
        self._read: dict[tuple[int, str | None], ImageCandidate] = {}  # by the ID of what the tag says

    def of(self, row: Tag) -> ImageCandidate | None:
        """The candidate of one row; None for a tag that Docker cannot name."""
        try:
            name = self._name.tagged(row.tag)
        except UsageError:
            return None
        if row.labels or self._by_rules:
            made = candidate_of(name, row.labels or {}, row.arch, SourceKind.REGISTRY, self._host)
            version, variant = made.facts.version, made.facts.variant
        else:
            made = self._alike(name, row.arch)
            version, variant = name.version, name.variant
        facts = copy_with(
            made.facts,
            reference=f"{self._reference}:{row.tag}",
            version=version,
            variant=variant,
            pushed=row.pushed,
            size=row.bytes,
            source=self._source,
        )
        return copy_with(made, name=name, facts=facts, digest=row.digest, order=self._order)

    def _alike(self, name: ImageName, arch: str | None) -> ImageCandidate:
        """A candidate for the same platform. It holds what the ID is of, so that no other object gets that ID."""
        key = (id(name.platform), arch)
        made = self._read.get(key)
        if made is None or made.name.platform is not name.platform:
            made = self._read[key] = candidate_of(name, {}, arch, SourceKind.REGISTRY, self._host)
        return made
