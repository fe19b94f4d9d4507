"""Checks of disks: space, medium and owner of the places that are written to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import chown_command
from jetson_containers.core.files import free_space
from jetson_containers.doctor.types import CheckDefinition, Finding, bare_command, fail, note, ok, skip, warn
from jetson_containers.host.media import medium_of

if TYPE_CHECKING:
    from jetson_containers.doctor.types import DoctorContext

SPACE = 20_000_000_000  # bytes: a typical runtime image unpacked, twice
TEMPORARY_SPACE = 2_000_000_000  # bytes: pip and compilers unpack there
MUCH_CACHE = 5_000_000_000  # bytes
MUCH_LOG = 2_000_000_000  # bytes
FOREIGN = frozenset({"exfat", "fuseblk", "hfsplus", "msdos", "ntfs", "ntfs3", "vfat"})  # fuseblk: mostly NTFS
MOST_FILES = 200_000  # looked at for a size


def space_finding(place: Path, setting: str, fix: str = "") -> Finding:
    """How much is free at a place."""
    free = free_space(place)
    if free >= SPACE:
        return ok(f"{human_bytes(free)} free in {place}")
    remedy = f"jetson-containers df; jetson-containers prune  # or take a larger disk: {setting}"
    return warn(f"only {human_bytes(free)} free in {place}", remedy, fix)


def medium_finding(context: DoctorContext, place: str, remedy: str, fix: str = "") -> Finding:
    """What a place is stored on."""
    medium = medium_of(place, context.root)
    if medium is None:
        return skip(f"what {place} is stored on cannot be read")
    text = f"{place} is on {medium.text}"
    if medium.kind in {"SD card", "SD card or eMMC", "USB disk", "hard disk"}:
        return warn(text, remedy, fix)
    if medium.kind == "network":
        return warn(f"{text}, where docker's and SQLite's locks may fail", remedy, fix)
    if medium.mount.filesystem in FOREIGN:
        return warn(f"{text}, whose file system knows no owners, rights and links as Linux has them", remedy, fix)
    if medium.kind == "memory":
        return warn(f"{text}, and gone after a restart", remedy, fix)
    return ok(text)


def _data_space(context: DoctorContext) -> Finding:
    return space_finding(context.settings.path("data"), "setting `data`")


def _data_medium(context: DoctorContext) -> Finding:
    place = str(context.settings.path("data").absolute())
    return medium_finding(context, place, "jetson-containers config set data DIR  # of a faster disk")


def _data_owner(context: DoctorContext) -> Finding:
    data = context.settings.path("data")
    if not data.exists():
        return ok(f"{data} is made on first use")
    if not data.is_dir():
        return fail(f"{data} is not a directory", "export JETSON_CONTAINERS_DATA=DIR")
    if _is_read_only(context, data):
        return fail(f"{data} is mounted read-only", "sudo dmesg | tail  # says why: often a disk with errors")
    foreign = [path for path in (data, *sorted(data.iterdir())) if not os.access(path, os.W_OK)]
    if not foreign:
        return ok(f"{data} can be written")
    return warn(f"{foreign[0]} cannot be written by you", chown_command(data).strip("`"))


def _is_read_only(context: DoctorContext, place: Path) -> bool:
    medium = medium_of(str(place.absolute()), context.root)
    return medium is not None and medium.mount.read_only


def _temporary(context: DoctorContext) -> Finding:
    place = Path(context.settings.env.get("TMPDIR") or "/tmp")  # noqa: S108 - what the programs use by default
    free = free_space(place)
    if free < TEMPORARY_SPACE:
        return warn(f"only {human_bytes(free)} free in {place}", "export TMPDIR=DIR of a larger disk")
    return ok(f"{human_bytes(free)} free in {place}")


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder, of the first MOST_FILES where it has more."""
    total = count = 0
    for parent, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many files
            except OSError:
                continue
            count += 1
            if count >= MOST_FILES:
                return total
    return total


def _cache_size(context: DoctorContext) -> Finding:
    place = context.settings.path("cache")
    size = folder_size(place)
    if size > MUCH_CACHE:
        return note(f"{human_bytes(size)} in {place}", bare_command("rm", "-r", place))
    return ok(f"{human_bytes(size)} in {place}")


def _log_size(context: DoctorContext) -> Finding:
    place = context.settings.path("logs")
    size = folder_size(place)
    if size > MUCH_LOG:
        return note(
            f"{human_bytes(size)} of build logs in {place}",
            bare_command("find", place, "-mtime", "+30", "-type", "f", "-delete"),
        )
    return ok(f"{human_bytes(size)} of build logs in {place}")


CHECKS = (
    CheckDefinition(name="data disk", why="Models have 1 to 50 GB each.", look=_data_space),
    CheckDefinition(
        name="data medium", why="A model of 5 GB loads in 2 s from NVMe and in 60 s from an SD card.", look=_data_medium
    ),
    CheckDefinition(name="data owner", why="Containers of root leave files that you cannot change.", look=_data_owner),
    CheckDefinition(name="temporary files", why="pip and compilers unpack there.", look=_temporary),
    CheckDefinition(name="own cache", why="Indexes and listings are kept there.", look=_cache_size),
    CheckDefinition(name="own logs", why="Every build leaves one folder.", look=_log_size),
)
