"""Which L4T release is meant: by number, JetPack or board, known or not.

An unknown point release counts as the nearest lower one of its major.minor, else of its major, and it is said so. An
unknown major, or a release before the first of its major, is never a guess (JC PR#1741, JC#787, JC#654, JC#1539):
a known release stands in for it where packages are listed and images run by name, and `Platform.require_known`
refuses what would depend on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.errors import TargetError
from jetson_containers.core.versions import pep440
from jetson_containers.platforms import tables, target

if TYPE_CHECKING:
    from jetson_containers.platforms.tables import Board, Release
    from jetson_containers.platforms.target import Parts, TargetPart


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A release that was asked for: its own number, the row that stands for it, who asked, and `Platform.unknown`."""

    l4t: Version
    row: Release
    origin: str
    unknown: str = ""


def known(version: Version, origin: str, notices: list[str]) -> tuple[Release, str]:
    """Find the row that stands for a release, and why it is only a stand-in (empty where it is not)."""
    row = tables.release_for(version)
    if row is None:
        return _stand_in(version, origin, notices)
    if row.l4t != version:
        notices.append(f"L4T {version} (from {origin}) is not in the table: treated as {row.l4t}, the nearest lower")
    return row, ""


def _stand_in(version: Version, origin: str, notices: list[str]) -> tuple[Release, str]:
    """The oldest general release of the major; of a major that no table holds, the newest below, or the oldest."""
    general = [row for row in tables.releases() if row.status == "released"]
    same = [row for row in general if row.l4t.major == version.major]
    row = same[-1] if same else next((row for row in general if row.l4t < version), general[-1])
    other = "no older" if same else "no other"
    why = f"L4T {version} is not known, and {other} {version.major}.x either (from {origin})"
    notices.append(f"{why}: shown as for L4T {row.l4t}; what depends on it needs --target")
    return row, why


def of_parts(parts: Parts, notices: list[str]) -> Asked | None:
    """Find the release of a target: named, or of its JetPack, or the newest its board boots; None without any."""
    if parts.l4t:
        return _of_number(parts.l4t, parts.jetpack, notices)
    if parts.jetpack:
        row = _of_jetpack(parts.jetpack, parts, notices)
        return Asked(l4t=row.l4t, row=row, origin=parts.jetpack.place)
    if parts.board is None or tables.soc_arch(tables.boards()[parts.board.value].soc):
        return None
    return _of_board(parts.board)


def same_jetpack(one: str | None, other: str | None) -> bool:
    """Whether two spellings mean one JetPack: `6.1 (rev 1)` and `6.1rev1`."""
    return _plain(one) == _plain(other)


def _of_number(part: TargetPart, jetpack: TargetPart | None, notices: list[str]) -> Asked:
    version = _complete(part, notices)
    row, unknown = known(version, part.place, notices)
    if jetpack and not same_jetpack(row.jetpack, jetpack.value):
        raise target.conflict(part, jetpack, f"L4T {version} is JetPack {row.jetpack or 'unknown'}")
    return Asked(l4t=version, row=row, origin=part.place, unknown=unknown)


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
    found = found or _nearest_jetpack(part, fits, notices)
    if found is None:
        names = sorted({row.jetpack for row in tables.releases() if row.jetpack}, reverse=True)
        raise TargetError(f"{part}: no such JetPack", details=(f"known: {tables.listing(names)}",))
    if _plain(found.jetpack).startswith(f"{wanted}."):
        notices.append(
            f"`{part.text}` is taken as JetPack {found.jetpack} (L4T {found.l4t}), the newest known of that name"
        )
    return found


def _nearest_jetpack(part: TargetPart, fits: list[Release], notices: list[str]) -> Release | None:
    """The newest JetPack of the same major.minor below an unknown one, as for L4T releases."""
    wanted = pep440(part.value)
    if wanted is None or len(wanted.release) < 3:
        return None
    numbered = [(row, pep440(row.jetpack or "")) for row in fits if row.status == "released"]
    lower = [
        row for row, version in numbered if version and version < wanted and version.release[:2] == wanted.release[:2]
    ]
    if not lower:
        return None
    notices.append(f"JetPack {wanted} is not in the table: treated as {lower[0].jetpack}, the nearest lower")
    return lower[0]


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
            hint=f"name one: --target {board.id},r{_example(board)}",
        )
    return Asked(l4t=row.l4t, row=row, origin=f"newest known for {part.value}")


def _example(board: Board) -> Version:
    """The newest release that the chip of a board runs."""
    row = tables.newest(lambda row: board.soc in row.socs)
    return row.l4t if row else tables.releases()[0].l4t


def _plain(jetpack: str | None) -> str:
    """`6.1 (rev 1)` → `6.1rev1`, as it is written in a target."""
    return re.sub(r"[^0-9a-z.]", "", (jetpack or "").lower())
