"""Which commands of a build the engine took from its layer cache: such a build says nothing about the time it takes."""

from __future__ import annotations

import re

_BUILDKIT_STEP = re.compile(r"#([0-9]+) \[[^\]]+\] RUN\b", re.IGNORECASE)
_BUILDKIT_END = re.compile(r"#([0-9]+) (CACHED|DONE\b.*)$")
_LEGACY_STEP = re.compile(r"Step [0-9]+/[0-9]+ : (\w+)")
_LEGACY_CACHED = re.compile(r" ?---> Using cache$")


class LayerCache:
    """Counts the RUN commands of one build by its output, as BuildKit (plain) and the legacy builder print it."""

    def __init__(self) -> None:
        self.runs = 0  # commands seen
        self.reused = 0  # of these, taken from the cache
        self._steps: set[str] = set()  # numbers of BuildKit's RUN steps
        self._legacy_run = False  # whether the legacy builder's present step is a RUN

    @property
    def everything(self) -> bool:
        """Whether no command of the build ran, although it has some."""
        return self.runs > 0 and self.reused == self.runs

    def line(self, text: str) -> None:
        """Take in a line of output."""
        if found := _BUILDKIT_STEP.match(text):
            if found[1] not in self._steps:
                self._steps.add(found[1])
                self.runs += 1
        elif found := _BUILDKIT_END.match(text):
            if found[1] in self._steps and found[2] == "CACHED":
                self.reused += 1
        elif found := _LEGACY_STEP.match(text):
            self._legacy_run = found[1].upper() == "RUN"
            self.runs += self._legacy_run
        elif self._legacy_run and _LEGACY_CACHED.match(text):
            self.reused += 1
