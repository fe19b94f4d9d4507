"""Whether an image answers a request, whatever the platform: by its name, its tag, and what its labels say it holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.images import labels
from jetson_containers.images.name import is_of_stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.autotag.types import ImageCandidate, Names, Wanted
    from jetson_containers.images.name import ImageName

_FINISHED = frozenset({"", labels.FINAL})
_UNFINISHED = {
    labels.STAGE: "it is an intermediate build stage",
    labels.ARTIFACT: "it is only the compiled part of a package",
}


def unmet(
    candidate: ImageCandidate, request: Sequence[Wanted], contents: Names | None = None
) -> tuple[str, str] | None:
    """Say (rule, reason) why an image is not an answer, whatever the platform; None when it is one.

    Rules: `image-role` (under construction), `version`, `digest`, `contents`. `contents` may know what is inside an
    image without labels, by its name.
    """
    if not is_finished(candidate.role):
        return "image-role", _UNFINISHED.get(candidate.role, f"its role is `{candidate.role}`, not a finished image")
    if is_of_stages(candidate.name):
        return "image-role", _UNFINISHED[labels.STAGE]
    for wanted in request:
        if refusal := _lacks(candidate, wanted, contents):
            return refusal
    return None


def _lacks(candidate: ImageCandidate, wanted: Wanted, contents: Names | None) -> tuple[str, str] | None:
    named = candidate.has_name(wanted)
    if wanted.digest and wanted.digest != candidate.digest:
        return "digest", f"its digest is {candidate.digest or 'not known'}, not {wanted.digest}"
    if named and wanted.version_text and wanted.fits(candidate.name.tag or ""):
        return None
    if candidate.facts.packages:
        versions = _versions(candidate.facts.packages, wanted)
        if any(wanted.fits(version) for version in versions) and wanted.in_place(candidate.name):
            return None
        if versions:
            held = " and ".join(filter(None, versions))
            return "version", f"it holds {wanted.name} {held}, not {wanted.version_text}"
        return None if named and not wanted.version_text else ("contents", f"it does not hold {wanted.text}")
    if named:
        return _unlabeled(candidate, wanted)
    inside = contents(candidate.name.name) if contents and not wanted.version_text else ()
    if any(map(wanted.names_family, inside)):
        return None
    return "contents", f"it has no label of its contents, so it is not known to hold {wanted.text}"


def _unlabeled(candidate: ImageCandidate, wanted: Wanted) -> tuple[str, str] | None:
    if wanted.fits(candidate.name.tag or ""):
        return None
    if wanted.specifier:
        return "version", f"its tag names no version in `{wanted.specifier}`"
    series = f" or `{wanted.tag}.`" if wanted.tag and re.search(r"[0-9]$", wanted.tag) else ""
    return "version", f"its tag is not `{wanted.tag}` and does not begin with `{wanted.tag}-`{series}"


def extra_packages(candidate: ImageCandidate, request: Sequence[Wanted]) -> int:
    """How many packages an image holds that were not requested; 0 when its contents are not known."""
    if not candidate.facts.packages:
        return 0
    return sum(
        not any(wanted.names_family(item.partition(":")[0]) for wanted in request) for item in candidate.facts.packages
    )


def _versions(packages: Iterable[str], wanted: Wanted) -> list[str]:
    pairs = (item.partition(":") for item in packages)
    return [version for family, _, version in pairs if wanted.names_family(family)]


def only_in_series(candidate: ImageCandidate, request: Sequence[Wanted]) -> bool:
    """Whether an image answers a request by its series only (`0.20.0` one for `0.20`), and not in so many words."""
    return any(
        wanted.tag
        and not wanted.is_called(candidate.name.tag or "")
        and not any(map(wanted.is_called, _versions(candidate.facts.packages or (), wanted)))
        for wanted in request
    )


def related(name: ImageName, packages: Iterable[str], request: Sequence[Wanted]) -> bool:
    """Whether an image has anything to do with a request: by its name, or by what it holds."""
    return any(
        wanted.names_image(name) or (wanted.in_place(name) and bool(_versions(packages, wanted))) for wanted in request
    )


def is_finished(role: str) -> bool:
    """Whether a role is that of an image to run; one that is not ours has none."""
    return role in _FINISHED
