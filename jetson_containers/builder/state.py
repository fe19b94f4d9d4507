"""What runs remember between each other: one builder per key at a time, and how long stages took."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import IO, TYPE_CHECKING, Any

from jetson_containers.core import files, json_text
from jetson_containers.core.errors import NotReadyError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


class BuildState:
    """A directory with lock files and `stages.json`; made when it is first written to."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def file(self) -> Path:
        """Where times and sizes are kept."""
        return self.directory / "stages.json"

    def seconds(self) -> dict[str, float]:
        """Recorded build times by stage name, in seconds."""
        return self._column("seconds")

    def sizes(self) -> dict[str, float]:
        """Recorded sizes by stage name: bytes a stage added to its base."""
        return self._column("bytes")

    def record(self, name: str, *, seconds: float | None, size: int | None = None) -> None:
        """Remember how long a stage took (None: not known), and what it added; other processes may do so as well."""
        with self.lock("stages.json"):
            known_seconds, known_sizes = self.seconds(), self.sizes()
            if seconds is not None:
                known_seconds[name] = round(seconds, 3)
            if size is not None:
                known_sizes[name] = size
            files.write_json(self.file, {"seconds": known_seconds, "bytes": known_sizes})

    @contextlib.contextmanager
    def lock(
        self,
        name: str,
        *,
        cancelled: threading.Event | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> Iterator[None]:
        """Hold `name` against every other thread and process of this machine.

        The kernel releases it when its holder dies. `on_wait` is called once, with the holder's process id as text,
        when somebody else has it. Raises InterruptedByUserError when `cancelled` is set while waiting.
        """
        with self._open(name) as file:
            if not files.try_lock(file.fileno()):
                if on_wait:
                    file.seek(0)
                    on_wait(file.read(32).strip() or "?")
                files.wait_for_lock(file.fileno(), cancelled)
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield  # closing the file lets go

    @contextlib.contextmanager
    def claim(self, keys: Iterable[str]) -> Iterator[None]:
        """Say that a run stands on these stages until it ends: `prune` leaves them (`in_use`).

        Where nothing can be written, nothing is said. The kernel ends the claim of a run that is killed.
        """
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                self._claims.mkdir(parents=True, exist_ok=True)
                path = self._claims / f"{os.getpid()}-{os.urandom(4).hex()}"
                unready = path.with_name(path.name.replace("-", "."))  # `in_use` takes what has no lock for left over
                file = stack.enter_context(unready.open("x", encoding="ascii"))
                stack.callback(path.unlink, missing_ok=True)
                stack.callback(unready.unlink, missing_ok=True)
                files.try_lock(file.fileno())
                file.write("\n".join(keys))
                file.flush()
                unready.rename(path)
            yield

    def in_use(self) -> frozenset[str]:
        """The stages that runs stand on right now. Claims of runs that were killed are removed."""
        found: set[str] = set()
        for path in sorted(self._claims.glob("*-*")):
            with contextlib.suppress(OSError, UnicodeDecodeError), path.open("r+", encoding="ascii") as file:
                if files.try_lock(file.fileno()):
                    path.unlink(missing_ok=True)
                else:
                    found |= set(file.read().split())
        return frozenset(found)

    @property
    def _claims(self) -> Path:
        return self.directory / "runs"

    def is_held(self, name: str) -> bool:
        """Whether some process holds `name` right now."""
        path = self._lock_file(name)
        if not path.is_file():
            return False
        try:
            with path.open("r", encoding="ascii") as file:
                return not files.try_lock(file.fileno())
        except OSError:
            return True  # what cannot be looked at is left alone

    def _lock_file(self, name: str) -> Path:
        return self.directory / "locks" / (hashlib.sha256(name.encode()).hexdigest()[:32] + ".lock")

    def _open(self, name: str) -> IO[str]:
        path = self._lock_file(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return files.open_no_link(path, "a+", encoding="ascii")
        except OSError as error:
            raise NotReadyError(
                f"cannot write to `{path.parent}`: {error.strerror}",
                hint="correct its owner, or choose another place: `export JETSON_CONTAINERS_CACHE=DIR`",
            ) from error

    def _column(self, name: str) -> dict[str, float]:
        column = self._read().get(name)
        if not isinstance(column, dict):
            return {}
        return {key: float(value) for key, value in column.items() if isinstance(value, (int, float))}

    def _read(self) -> dict[str, Any]:
        """Everything recorded; a file that cannot be read counts as empty, for it only holds estimates."""
        try:
            data = json_text.parse(self.file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}
