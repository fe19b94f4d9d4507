"""What the base image of a target was last time, so that plans of it need neither engine nor network.

`base_image.ensure` writes it down. A base that had to be made is of the host's distribution, and the packages of the
target are those for that one from then on.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core import files, json_text
from jetson_containers.core.errors import TargetError
from jetson_containers.platforms.platform import default_base_image

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.core.settings import Settings
    from jetson_containers.platforms.platform import Platform

RECORD = "base-images.json"  # in the cache directory
COPIES = "farm-base"  # repository beside the stages, in which a farm's workers find base images of no registry
DIGESTS = "loaded-digests.json"  # in the cache directory, by `bundle load`


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
