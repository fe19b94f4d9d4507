"""What building a plan is expected to take: time and disk space, with what is not known said beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jetson_containers.core.console import human_bytes, human_seconds

SHOWN = 4  # names of stages in a line


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Time in seconds and space in bytes of the `stages` to build, as far as known.

    `untimed` and `unsized` are the stages that add nothing to them, because no build here was timed and their recipes
    state nothing. `stated` counts the stages whose time is the recipe's. What is pulled or tested is not in it.
    """

    stages: int
    seconds: float
    bytes: int
    untimed: tuple[str, ...] = ()
    unsized: tuple[str, ...] = ()
    stated: int = 0

    def to_json(self) -> dict[str, Any]:
        """The estimate for JSON."""
        return {
            "stages": self.stages,
            "seconds": round(self.seconds, 1),
            "bytes": self.bytes,
            "untimed": list(self.untimed),
            "unsized": list(self.unsized),
            "stated": self.stated,
        }

    def lines(self) -> list[str]:
        """The estimate for people, a line for the time and one for the space."""
        stated = f"; the time of {_stages(self.stated)} is what the recipe says" if self.stated else ""
        return [
            f"time    {self._said(human_seconds(self.seconds), self.untimed)}{stated}",
            f"disk    {self._said(human_bytes(self.bytes), self.unsized)}",
        ]

    def _said(self, amount: str, unknown: tuple[str, ...]) -> str:
        """An amount, `at least` it where some stages are not known, or that nothing is known."""
        if not unknown:
            return f"about {amount} for {_stages(self.stages)}, from earlier builds"
        if len(unknown) == self.stages:
            return f"not known: {_none(self.stages)} built here before"
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        names = ", ".join(unknown[:SHOWN])
        return f"at least {amount}: {len(unknown)} of {_stages(self.stages)} were never built here ({names}{more})"


def _stages(count: int) -> str:
    return f"{count} stage{'' if count == 1 else 's'}"


def _none(count: int) -> str:
    return "the stage was not" if count == 1 else f"none of the {count} stages was"
