"""Which L4T release is meant: by number, JetPack or board, known or not.

An unknown point release counts as the nearest lower one of its major.minor, else of its major, and it is said so; an
unknown major is an error, never a guess (JC PR#1741, JC#787, JC#654, JC#1539).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.errors import TargetError
from jetson_containers.platforms import tables, target

if TYPE_CHECKING:
    from jetson_containers.platforms.tables import Release
    from jetson_containers.platforms.target import Parts, TargetPart


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A release that was asked for: its own number, the row that stands for it, and who asked."""

    l4t: Version
    row: Release
    origin: str


def known(version: Version, origin: str, notices: list[str]) -> Release:
    """Find the row that stands for a release. Raises TargetError where none of its major is as old."""
    row = tables.release_for(version)
    if row is None:
        same = [row.l4t for row in tables.releases() if row.l4t.major == version.major]
        majors = sorted({row.l4t.major for row in tables.releases()})
        raise TargetError(
            f"L4T {version} is not known, and no older {version.major}.x either (from {origin})",
            details=(f"known: {tables.listing(same or [f'{major}.x' for major in majors])}",),
            hint="a newer jetson-containers may know it; or name a known one: --target r36.4.3",
        )
    if row.l4t != version:
        notices.append(f"L4T {version} (from {origin}) is not in the table: treated as {row.l4t}, the nearest lower")
    return row


def of_parts(parts: Parts, notices: list[str]) -> Asked | None:
    """Find the release of a target: named, or of its JetPack, or the newest its board boots; None without any."""
    if parts.l4t:
        return _of_number(parts.l4t, parts.jetpack, notices)
    if parts.jetpack:
        row = _of_jetpack(parts.jetpack, parts, notices)
        return Asked(l4t=row.l4t, row=row, origin=parts.jetpack.place)
    return _of_board(parts.board) if parts.board else None


def same_jetpack(one: str | None, other: str | None) -> bool:
    """Whether two spellings mean one JetPack: `6.1 (rev 1)` and `6.1rev1`."""
    return _plain(one) == _plain(other)


def _of_number(part: TargetPart, jetpack: TargetPart | None, notices: list[str]) -> Asked:
    version = _complete(part, notices)
    row = known(version, part.place, notices)
    if jetpack and not same_jetpack(row.jetpack, jetpack.value):
        raise target.conflict(part, jetpack, f"L4T {version} is JetPack {row.jetpack or 'unknown'}")
    return Asked(l4t=row.l4t if row.l4t == version else version, row=row, origin=part.place)


def _complete(part: TargetPart, notices: list[str]) -> Version:
    """`r36` is the newest 36.x there is; `r35.4`, since there was no 35.4.0, the newest 35.4.x."""
    version = Version(part.value)
    given = version.release
    if len(given) >= 3 or (len(given) == 2 and any(row.l4t == version for row in tables.releases())):
        return version
    found = tables.newest(lambda row: row.l4t.release[: len(given)] == given)
    if found is None and len(given) == 2:
        found = next((row for row in tables.releases() if row.l4t.release[:2] == given), None)
    if found is None:
        return version
    notices.append(f"`{part.text}` is taken as L4T {found.l4t}, the newest known of that name")
    return found.l4t


def _of_jetpack(part: TargetPart, parts: Parts, notices: list[str]) -> Release:
    board = tables.boards()[parts.board.value] if parts.board else None
    fits = [row for row in tables.releases() if board is None or board.boots(row.l4t)]
    wanted = _plain(part.value)
    exact = next((row for row in fits or tables.releases() if _plain(row.jetpack) == wanted), None)
    if exact:
        return exact
    found = next(
        (row for row in fits if row.status == "released" and _plain(row.jetpack).startswith(f"{wanted}.")), None
    )
    if found is None and parts.board and _exists(wanted):
        raise target.conflict(part, parts.board, f"{board.name if board else ''} has no release of this JetPack")
    if found is None:
        names = sorted({row.jetpack for row in tables.releases() if row.jetpack}, reverse=True)
        raise TargetError(f"{part}: no such JetPack", details=(f"known: {tables.listing(names)}",))
    notices.append(
        f"`{part.text}` is taken as JetPack {found.jetpack} (L4T {found.l4t}), the newest known of that name"
    )
    return found


def _exists(wanted: str) -> bool:
    return any(
        _plain(row.jetpack) == wanted or _plain(row.jetpack).startswith(f"{wanted}.") for row in tables.releases()
    )


def _of_board(part: TargetPart) -> Asked:
    board = tables.boards()[part.value]
    row = tables.newest(lambda row: board.boots(row.l4t) and board.soc in row.socs)
    if row is None:
        raise TargetError(
            f"{part}: {board.name} has L4T releases of its own",
            hint=f"name one: --target {board.id},r36.4.3",
        )
    return Asked(l4t=row.l4t, row=row, origin=f"newest known for {part.value}")


def _plain(jetpack: str | None) -> str:
    """`6.1 (rev 1)` → `6.1rev1`, as it is written in a target."""
    return re.sub(r"[^0-9a-z.]", "", (jetpack or "").lower())
