"""Reads the command lines and environments of all processes of this machine again and again, looking for secrets."""

from __future__ import annotations

import threading
from pathlib import Path


class Watcher(threading.Thread):
    """Keeps the command lines that hold one of some words, and those of programs whose environment does.

    A process between fork and exec still is its parent, with the same command line and environment.
    """

    def __init__(self, words: list[str]) -> None:
        super().__init__(daemon=True)
        self.words = [word.encode() for word in words]
        self.found: set[bytes] = set()
        self.environments: set[bytes] = set()  # command lines of programs that have a word in their environment
        self.seen: set[bytes] = set()
        self.ended = threading.Event()

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        while not self.ended.wait(0.002):
            self.look()

    def look(self) -> None:
        """Read all of them once."""
        for place in Path("/proc").glob("[0-9]*"):
            try:
                line = (place / "cmdline").read_bytes()
                environment = (place / "environ").read_bytes()
                same = line == (place / "cmdline").read_bytes()
            except OSError:
                continue
            self.seen.add(line)
            if self._holds(line):
                self.found.add(line)
            if same and self._holds(environment):  # else another program has begun meanwhile
                self.environments.add(line)

    def _holds(self, text: bytes) -> bool:
        return any(word in text for word in self.words)
