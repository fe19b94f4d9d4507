"""What the base image of a target was last time, so that plans of it need neither engine nor network.

`base_image.ensure` writes it down. A base that had to be made is of the host's distribution, and the packages of the
target are those for that one from then on. `misfit` tells of a base that the user chose for another platform.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core import files, json_text
from jetson_containers.core.errors import TargetError, UsageError
from jetson_containers.images import compat
from jetson_containers.images.labels import PLATFORM
from jetson_containers.images.name import ImageName
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import default_base_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.core.settings import Settings
    from jetson_containers.platforms.platform import Platform

RECORD = "base-images.json"  # in the cache directory
COPIES = "farm-base"  # repository beside the stages, in which a farm's workers find base images of no registry
DIGESTS = "loaded-digests.json"  # in the cache directory, by `bundle load`
NAMED_BY_CUDA = ("cuda", "l4t-cuda")  # NVIDIA's; their tags begin with the CUDA inside: 12.6.0-devel-ubuntu22.04
WITHOUT_CUDA = ("l4t-base",)  # the tag names the L4T release, but the image holds none of its CUDA


@dataclass(frozen=True, kw_only=True)
class BaseImage:
    """What to build on. `platform` is that of the image; `digest` is None where none is known yet.

    `digest` is the registry's digest of a pulled image, and the ID of one that no registry knows.
    """

    reference: str
    platform: Platform
    digest: str | None
    made: bool = False
    assumed: bool = False  # the image does not say its distribution, so that of the target stands for it


def may_stand_in(platform: Platform, distro: str, version: str) -> bool:
    """Whether a base made of this distribution may be taken: any, unless the request names one."""
    return not platform.distro_chosen or (distro, version) == (platform.distro, platform.distro_version)


def misfit(reference: str, platform: Platform, labels: Mapping[str, str] | None = None) -> tuple[str, str] | None:
    """Why a base that the user chose is, by its own words, not for this platform, and what to do; None where it is.

    What is built on it is labeled with this platform. `labels` are those of the image, where it is here; else its name
    alone is asked. What says nothing fits.
    """
    try:
        name = ImageName.parse(reference)
    except UsageError:
        return None  # an image by its ID
    facts = replace(compat.facts_of(name, {PLATFORM: (labels or {}).get(PLATFORM, "")}), role=None)
    rule = compat.compatible(facts, platform).rule
    if rule == "architecture" and facts.machine and facts.machine != platform.machine:
        return _differs(reference, facts.machine, platform.machine), "give an image for the target's architecture"
    # releases of one series differ in their CUDA alone, which is asked next
    if rule == "l4t-class" and facts.l4t and not (platform.l4t and facts.l4t.major == platform.l4t.major):
        wanted = f"L4T {platform.l4t}" if platform.l4t else f"{platform.arch.value} without L4T"
        return _differs(reference, f"L4T {facts.l4t}", wanted), f"`--target r{facts.l4t}`, or another image"
    cuda = _cuda_inside(name, facts.cuda)
    if cuda and platform.cuda and cuda != platform.cuda:
        target = f"r{platform.l4t}" if platform.l4t else platform.arch.value
        remedy = f"`--target {target},cu{cuda.major}{cuda.minor}`, or an image with CUDA {platform.cuda}"
        return _differs(reference, f"CUDA {cuda}", f"CUDA {platform.cuda}"), remedy
    return None


def _differs(reference: str, theirs: str, wanted: str) -> str:
    return f"the base image {reference} is for {theirs}, and the target is {wanted}"


def _cuda_inside(name: ImageName, said: Version | None) -> Version | None:
    if name.name in WITHOUT_CUDA:
        return None
    found = re.match(r"[0-9]{1,2}\.[0-9]{1,2}(?=[.-]|$)", name.tag or "") if name.name in NAMED_BY_CUDA else None
    return Version(found[0]) if found else tables.series(said) if said else None


def recorded(platform: Platform, settings: Settings, chosen: str, digest: str) -> BaseImage | None:
    """What `ensure` found out of a base that the user chose, when this is the same image that told its distribution."""
    row = _recorded(settings).get(_record_key(platform, chosen))
    if not isinstance(row, dict) or row.get("assumed") is not False or row.get("digest") != digest:
        return None
    try:
        return _remembered(platform, row)
    except (KeyError, TypeError, AttributeError, TargetError):  # a damaged record
        return None


def predict(platform: Platform, settings: Settings, base: str = "") -> BaseImage:
    """What `ensure` would most likely answer, from what it answered last; asks neither engine nor network."""
    chosen = base or settings["base"]
    unknown = BaseImage(reference=chosen or default_base_image(platform), platform=platform, digest=None)
    row = _recorded(settings).get(_record_key(platform, chosen))
    try:
        if not row or (not chosen and not may_stand_in(platform, row["distro"], row["version"])):
            return unknown
        return _remembered(platform, row)
    except (KeyError, TypeError, AttributeError, TargetError):  # a record of another version, or a damaged one
        return unknown


def _remembered(platform: Platform, row: Mapping[str, Any]) -> BaseImage:
    """Read a row of the record. Raises KeyError, TypeError, AttributeError or TargetError for one that is damaged."""
    from jetson_containers.platforms.overrides import rebase

    rebased = rebase(platform, row["distro"], row["version"], row["origin"])
    same = (row["distro"], row["version"]) == (platform.distro, platform.distro_version)
    if not isinstance(row["reference"], str) or not isinstance(row["digest"], str | None):
        raise TypeError("reference and digest are text")
    return BaseImage(
        reference=row["reference"], platform=platform if same else rebased, digest=row["digest"], made=bool(row["made"])
    )


def _record_key(platform: Platform, chosen: str) -> str:
    """All that decides about packages: two targets that begin with the same image may end with another."""
    cuda = f"cu{platform.cuda}" if platform.cuda else "cpu"
    target = f"{platform.arch.value} r{platform.l4t} {cuda} py{platform.python}"
    return f"{chosen or default_base_image(platform)} {target} {platform.distro}{platform.distro_version}"


def remember_digests(settings: Settings, digests: Mapping[str, str]) -> None:
    """Note which registry's digest an image has that came in a file, by its ID. It is part of the keys above it."""
    known = {**_read(settings, DIGESTS), **digests}
    files.write_atomically(settings.path("cache") / DIGESTS, json.dumps(known, indent=1, sort_keys=True))


def loaded_digest(settings: Settings, image_id: str) -> str:
    """The digest that was noted for an image; `""` where there is none."""
    found = _read(settings, DIGESTS).get(image_id)
    return found if isinstance(found, str) else ""


def _recorded(settings: Settings) -> dict[str, Any]:
    return _read(settings, RECORD)


def _read(settings: Settings, name: str) -> dict[str, Any]:
    try:
        data = json_text.parse((settings.path("cache") / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def remember(settings: Settings, platform: Platform, chosen: str, found: BaseImage) -> None:
    """Note the answer for `predict`. The note is a convenience: a cache that cannot be written is not an error."""
    row = {
        "reference": found.reference,
        "digest": found.digest,
        "made": found.made,
        "assumed": found.assumed,
        "distro": found.platform.distro,
        "version": found.platform.distro_version,
        "origin": f"of {found.reference}",
    }
    recorded = {**_recorded(settings), _record_key(platform, chosen): row}
    path = settings.path("cache") / RECORD
    with contextlib.suppress(OSError):
        files.write_atomically(path, json.dumps(recorded, indent=1, sort_keys=True))
