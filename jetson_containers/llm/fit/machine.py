"""The machine a prediction is for: a Jetson module of the table, this machine, or a graphics card."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core.errors import UsageError
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.llm.fit.cards import Card
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.platforms.tables import Board

_USUAL_SM = 80  # of a card that nothing is known of
_RATED_EMC = 3199  # MHz at which Orin's memory has its rated bandwidth


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What of a machine decides. Sizes in bytes, `bandwidth` in bytes/s (None: unknown), `sm_hz` SMs × clock.

    `hz`: that clock (None: unknown); `flops`: dense 16-bit tensor operations per second.
    `memory` is what the kernel sees (MemTotal), or a graphics card's own with `discrete`. `l4t`: the major releases
    it runs, or may run, ascending; empty where there is none. `sm`: compute capability ×10, None without
    a GPU. `probed`: by runtime, what its image here printed of the models it loads.
    """

    id: str
    memory: int
    bandwidth: float | None = None
    sm: int | None = None
    l4t: tuple[int, ...] = ()
    discrete: bool = False
    swap: int = 0
    sm_hz: float | None = None
    hz: float | None = None
    flops: float | None = None
    mode: str = ""
    slowed: bool = False  # by the mode: its clocks are lower than at full power, or not known
    release: Version | None = None  # of L4T, where one was asked for
    notes: tuple[str, ...] = ()
    used: int | None = None  # now, where it is this machine
    probed: Mapping[str, Mapping[str, str]] = field(default_factory=dict, compare=False)


def of_board(
    board: Board, *, mode: str = "", swap: int = 0, l4t: int | None = None, release: Version | None = None
) -> Machine:
    """Take a module from the table, with any L4T it runs unless a release, or one major release, is given.

    `mode` is a power mode of `facts/fit.yaml`; without one, full power with the memory's rated bandwidth: that of the
    Super mode where the release has it. Raises UsageError for a mode the board is not known to have, or not with this
    release.
    """
    fastest = mode or _fastest(board, l4t, release)
    bandwidth, count, hz = _speeds(board, fastest)
    sm_hz = count * hz if hz else None
    if release is not None:
        l4t = release.major
        _check_mode(board, mode, release)
    return Machine(
        id=board.id,
        memory=board.visible << 20 if board.visible else int(board.memory * GIB * constants.system().unknown_visible),
        bandwidth=bandwidth,
        sm=tables.soc_sm(board.soc),
        l4t=(l4t,) if l4t else _majors(board),
        swap=swap,
        sm_hz=sm_hz,
        hz=hz,
        flops=_flops(tables.soc_sm(board.soc), sm_hz),
        mode=mode,
        slowed=_is_slowed(board.id, mode),
        release=release,
        notes=tuple(_notes(board, mode, fastest)),
    )


def _speeds(board: Board, mode: str) -> tuple[float | None, int, float | None]:
    """Bandwidth in bytes/s, SMs and their clock in a power mode; None where it is not known."""
    row = _mode(board.id, mode) if mode else {}
    bandwidth = board.super_bandwidth if "super" in row and board.super_bandwidth else board.bandwidth
    slower = int(row["emc"]) / _RATED_EMC if "emc" in row else 1.0
    count, clock = 0, None
    if {"sm", "mhz"} <= row.keys():
        count, clock = int(row["sm"]), int(row["mhz"]) * 1e6
    elif not row or "full" in row:
        count, clock = _full_clock(board)
    return (bandwidth * slower * 1e9 if bandwidth else None), count, clock


def _full_clock(board: Board) -> tuple[int, float | None]:
    """SMs and their clock at full power, without the Super modes."""
    known = constants.compute().get(tables.soc_sm(board.soc) or 0)
    if known is None or board.cores is None or board.mhz is None:
        return 0, None
    return board.cores // known.cores, board.mhz * 1e6


def _flops(sm: int | None, sm_hz: float | None) -> float | None:
    known = constants.compute().get(sm or 0)
    return known.flops * sm_hz if known and sm_hz else None


def _fastest(board: Board, l4t: int | None, release: Version | None) -> str:
    """The mode with the faster memory that Super releases brought; empty where there is none, or not yet."""
    for name, row in constants.modes(board.id).items():
        if "super" in row and "full" in row:
            if release is not None:
                return name if release >= _since(row, release) else ""
            last = max(map(Version, row["since"])).major
            return name if (l4t or last) >= last else ""
    return ""


def _since(row: Mapping[str, Any], release: Version) -> Version:
    """The release that brought a mode to the major of another one; to majors that are not named, the last one did."""
    brought = [Version(text) for text in row["since"]]
    return next((each for each in brought if each.major == release.major), max(brought))


def _is_slowed(board: str, mode: str) -> bool:
    """Whether a mode's clocks are lower than at full power; where they are not known, they are taken to be."""
    row = _mode(board, mode) if mode else {"full": "yes"}
    if "full" in row:
        return False
    clocks = (int(row.get("sm", 0)), int(row.get("mhz", 0)))
    rows = [full for full in constants.modes(board).values() if "full" in full and {"sm", "mhz"} <= full.keys()]
    reached = [full for full in rows if clocks[0] >= int(full["sm"]) and clocks[1] >= int(full["mhz"])]
    return "emc" in row or not reached


def _check_mode(board: Board, mode: str, release: Version) -> None:
    row = _mode(board.id, mode) if mode else {}
    if "since" in row and release < (since := _since(row, release)):
        others = [name for name, each in constants.modes(board.id).items() if "since" not in each and name != "default"]
        raise UsageError(
            f"the power mode {mode} of {board.id} came with L4T {since}, and the target is L4T {release}",
            hint=f"`--target r{since}`, or a mode that L4T {release} has: {', '.join(others)}",
        )


def _notes(board: Board, mode: str, fastest: str) -> Iterator[str]:
    if not board.visible:
        yield f"the memory visible to Linux on {board.id} is not published; estimated from its {board.memory} GB"
    starts = constants.modes(board.id).get("default")
    if starts and not mode:
        yield f"speeds are for {fastest or 'full power'}; {board.id} starts in the mode {starts}, which is slower"


def of_card(card: Card, *, sm: int | None = None, l4t: tuple[int, ...] = ()) -> Machine:
    """Take a graphics card; where the table has none of its name, its speeds are not known. `sm`: of the platform."""
    sm_hz = card.multiprocessors * card.hz if card.hz else None
    unknown = () if card.bandwidth else (f"the memory bandwidth of {card.name} is not in our table",)
    return Machine(
        id=card.name,
        memory=card.memory,
        bandwidth=card.bandwidth,
        sm=card.sm or sm or _USUAL_SM,
        l4t=l4t,
        discrete=True,
        sm_hz=sm_hz,
        hz=card.hz,
        flops=_flops(card.sm, sm_hz),
        notes=unknown,
    )


def of_platform(platform: Platform, *, card: Card | None = None, swap: int = 0, mode: str = "") -> Machine:
    """Take the machine we run on, or a cross target. `card`: a graphics card, where one decides.

    Raises UsageError where the platform says nothing about memory.
    """
    l4t = platform.l4t.major if platform.l4t is not None else None
    runs = (l4t,) if l4t else ()
    if platform.board:
        known = of_board(tables.boards()[platform.board], mode=mode, swap=swap, l4t=l4t, release=platform.l4t)
        if not platform.memory or not platform.host:
            return known
        return replace(known, memory=platform.memory, notes=())
    if mode:
        raise UsageError(
            f"`--mode {mode}` is a power mode of a Jetson, but no board was specified",
            hint="specify it, e.g. --board orin-nx-16gb",
        )
    if not platform.memory and card is None:
        raise UsageError(
            "the platform does not specify a board, so its memory is unknown",
            hint="specify it, e.g. --board orin-nx-16gb",
        )
    sm = max(platform.sm, default=None) if platform.has_gpu else None
    if platform.soc:
        sm = tables.soc_sm(platform.soc)
    if card is not None:
        return of_card(card, sm=sm, l4t=runs)
    if sm is not None and not runs:
        raise UsageError(
            "the memory of the graphics card is unknown", hint="specify it with --vram 24, or a board with --board"
        )
    name = platform.host.get("model") or "this machine"
    return Machine(id=name, memory=platform.memory or 0, sm=sm, l4t=runs, swap=swap)


def board_named(name: str) -> Board:
    """The module by one of its ids. Raises UsageError listing them."""
    found = tables.board_id(name)
    if found is None:
        known = f"boards: {', '.join(sorted(tables.boards()))}"
        raise UsageError(f"unknown board `{name}`", hint=did_you_mean(name, tables.board_ids(), otherwise=known))
    return tables.boards()[found]


@functools.cache
def _majors(board: Board) -> tuple[int, ...]:
    """Major L4T releases a module runs, ascending."""
    return tuple(sorted({row.l4t.major for row in tables.releases() if board.boots(row.l4t)}))


def _mode(board: str, mode: str) -> dict[str, str]:
    known = {name: row for name, row in constants.modes(board).items() if name != "default"}
    if mode not in known:
        raise UsageError(
            f"unknown power mode `{mode}` of {board}",
            hint=f"modes: {', '.join(known)}" if known else "leave it out: full power is assumed",
        )
    return dict(known[mode])


def of_target(board: Board, platform: Platform, *, mode: str = "", swap: int = 0) -> Machine:
    """Take a module with the L4T release of a target. Raises UsageError where the two cannot both be meant."""
    if platform.board and platform.board != board.id:
        raise UsageError(
            f"`--board {board.id}` and `--target` name two boards: the target's is {platform.board}",
            hint="leave one of them out",
        )
    if platform.l4t is None:
        raise UsageError(
            f"`--board {board.id}` is a Jetson, and the target is {platform.machine} without L4T",
            hint="leave one of them out, or name the release: --target r36.4.3",
        )
    if not board.boots(platform.l4t):
        runs = ", ".join(f"r{row.l4t}" for row in tables.releases() if board.boots(row.l4t))
        raise UsageError(
            f"{board.id} does not run L4T {platform.l4t}", hint=f"it runs: {runs}" if runs else "leave out --target"
        )
    return of_board(board, mode=mode, swap=swap, release=platform.l4t)
