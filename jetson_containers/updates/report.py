"""Each pin beside what upstream has: behind, current or unknown, and its known vulnerabilities."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.versions import pep440
from jetson_containers.updates import tags
from jetson_containers.updates.index import DEFAULT_INDEX, PackageIndex, UnknownError
from jetson_containers.updates.pins import PYPI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.core.settings import Settings
    from jetson_containers.updates.pins import Pinned, UpstreamPin

BEHIND, CURRENT, UNKNOWN = "behind", "current", "unknown"
THREADS = 8


@dataclass(frozen=True, kw_only=True)
class PinStatus:
    """What is known of one pin. `vulnerabilities` is None where nobody could be asked, which is not "none"."""

    pin: UpstreamPin
    held_by: tuple[str, ...]
    state: str
    newest: str | None = None
    vulnerabilities: tuple[str, ...] | None = None
    unknown: tuple[str, ...] = ()  # why something is not known

    def to_json(self) -> dict[str, Any]:
        """One entry of `outdated --json`."""
        return {
            "kind": self.pin.kind,
            "name": self.pin.name,
            "version": self.pin.version,
            "packages": list(self.held_by),
            "state": self.state,
            "newest": self.newest,
            "vulnerabilities": None if self.vulnerabilities is None else list(self.vulnerabilities),
            "unknown": list(self.unknown),
        }


class Upstream:
    """Whom to ask, and until when: `deadline` by `clock`, after which everything is unknown."""

    def __init__(
        self,
        index: PackageIndex,
        deadline: float,
        *,
        timeout: float = 20.0,
        prefixes: Mapping[str, str] | None = None,
        protocols: str = tags.PROTOCOLS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = index
        self._deadline = deadline
        self._timeout = timeout
        self._prefixes = prefixes or {}
        self._protocols = protocols
        self._clock = clock

    @classmethod
    def of(cls, settings: Settings, seconds: float) -> Upstream:
        """The index and mirrors of the settings, for at most so many seconds and one request."""
        from jetson_containers.registry.http import Transport

        found = settings["mirrors"]
        address = settings["index_url"] or found.get("python") or DEFAULT_INDEX
        index = PackageIndex(Transport.of(settings, "package index"), address)
        timeout = float(settings["stop_timeout"])
        return cls(index, time.monotonic() + seconds, timeout=timeout, prefixes=found.get("git", {}))

    def statuses(self, pinned: Pinned) -> list[PinStatus]:
        """The status of each pin, in the same order; several are asked about at once."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda entry: self._status(*entry), pinned.items()))

    def _status(self, pin: UpstreamPin, held_by: Sequence[str]) -> PinStatus:
        newest, state, unknown = None, UNKNOWN, []
        try:
            self._in_time()
            newest, behind = self._python(pin) if pin.kind == PYPI else self._git(pin)
            state = BEHIND if behind else CURRENT
        except UnknownError as error:
            unknown.append(str(error))
        vulnerabilities = None
        if pin.kind == PYPI:
            try:
                self._in_time()
                vulnerabilities = self._index.vulnerabilities(pin.name, pin.version)
            except UnknownError as error:
                unknown.append(str(error))
        return PinStatus(
            pin=pin,
            held_by=tuple(held_by),
            state=state,
            newest=newest,
            vulnerabilities=vulnerabilities,
            unknown=tuple(dict.fromkeys(unknown)),
        )

    def _in_time(self) -> None:
        if self._clock() >= self._deadline:
            raise UnknownError("the time was up before it was asked")

    def _python(self, pin: UpstreamPin) -> tuple[str, bool]:
        newest, mine = self._index.newest(pin.name), pep440(pin.version)
        if newest is None or mine is None:
            raise UnknownError("the index has no final version of it" if mine else f"`{pin.version}` is not a version")
        return str(newest), mine < newest

    def _git(self, pin: UpstreamPin) -> tuple[str, bool]:
        if tags.newest_like(pin.version, ()) is None:
            raise UnknownError("it is pinned by a commit without a tag that could be compared")
        timeout = min(self._timeout, self._deadline - self._clock())
        newest = tags.newest_like(pin.version, tags.remote_tags(pin.name, timeout, self._prefixes, self._protocols))
        if newest is None:
            raise UnknownError("the repository has no such tags")
        return newest, tags.is_newer(newest, pin.version)
