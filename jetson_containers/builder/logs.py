"""The folder of one run: a log per stage and per test, `build.json`, and no secret in any of them."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.errors import NotReadyError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from jetson_containers.core.secrets import Redactor

ABANDONED = 24 * 3600.0  # seconds after which a run without a report counts as killed
_RUN = re.compile(r"[0-9]{8}_[0-9]{6}(?:_[0-9]+)?")


class Log:
    """One log file; lines are redacted on their way in. Safe to write from several threads."""

    def __init__(self, path: Path, redact: Redactor) -> None:
        self.path = path
        self._redact = redact
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = files.open_no_link(path, "w", encoding="utf-8", errors="replace")

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, line: str) -> str:
        """Append a line; returns it as it was written."""
        text = self._redact(line)
        with self._lock:
            self._file.write(text + "\n")
            self._file.flush()  # so that `tail -f` shows it, and a kill loses nothing
        return text

    def discard(self) -> None:
        """Remove a log of nothing but the command that was never started."""
        if len(self.lines()) <= 1:
            self.path.unlink()

    def lines(self) -> list[str]:
        """Read back everything written so far."""
        return self.path.read_text(encoding="utf-8").splitlines()


class RunLogs:
    """`<log_dir>/<YYYYmmdd_HHMMSS>/` with `build/` and `test/`; `<log_dir>/latest` points at it."""

    def __init__(self, log_dir: Path, redact: Redactor) -> None:
        self.redact = redact
        self.directory = _new_directory(log_dir)
        _point(log_dir / "latest", self.directory)

    def build(self, number: int, package: str) -> Log:
        """Open the log of a stage: `build/NN_<package>.log`."""
        return Log(self.directory / "build" / f"{number:02d}_{_slug(package)}.log", self.redact)

    @property
    def empty(self) -> Path:
        """A directory without files: the context of a build that reads none."""
        place = self.directory / "empty"
        place.mkdir(exist_ok=True)
        return place

    def test(self, number: int, index: int, package: str, test: str) -> Log:
        """Open the log of a package test: `test/NN-K_<package>_<test>.log`; `index` counts from 1."""
        name = f"{number:02d}-{index}_{_slug(package)}_{_slug(test)}.log"
        return Log(self.directory / "test" / name, self.redact)


def ended_runs(log_dir: Path, now: float | None = None) -> list[Path]:
    """The folders of runs that may be removed: ended, or untouched for a day, and not the latest."""
    latest = (log_dir / "latest").resolve()
    found = []
    for path in sorted(log_dir.glob("[0-9]*_[0-9]*")) if log_dir.is_dir() else []:
        if path.is_symlink() or not _RUN.fullmatch(path.name) or not path.is_dir() or path.resolve() == latest:
            continue
        if files.is_old(path, ABANDONED, now) or (path / "build.json").is_file():
            found.append(path)
    return found


def _slug(text: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", text)


def _new_directory(log_dir: Path) -> Path:
    stamp = time.strftime("%Y%m%d_%H%M%S")
    try:
        log_dir.mkdir(parents=True, exist_ok=True)
        for suffix in itertools.chain([""], (f"_{number}" for number in itertools.count(2))):
            directory = log_dir / f"{stamp}{suffix}"
            with contextlib.suppress(FileExistsError):
                directory.mkdir()
                return directory
    except OSError as error:
        raise NotReadyError(
            f"cannot write logs to `{log_dir}`: {error.strerror}", hint="choose another place with `--log-dir DIR`"
        ) from error
    raise AssertionError("counting has no end")


def _point(link: Path, target: Path) -> None:
    """Make `latest` point at this run; somebody's directory of that name stays."""
    if link.is_symlink() or not link.is_dir():
        files.replace_link(link, target.name)
