"""The tables under `facts/`, read on first use and kept.

Every scalar of these files is text, whatever it looks like: YAML would make `12.10` the number 12.1. Reading YAML takes
longer than all else that a command does before it answers, so what was read is kept as JSON where Python keeps its
compiled modules, and is valid like those: while size and times of the table are the same.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from pathlib import Path
from typing import Any

FACTS = Path(__file__).resolve().parents[1] / "facts"


@functools.cache
def load_facts(name: str) -> Any:
    """Read `facts/<name>.yaml`, all scalars as text. The result is shared: do not change it."""
    return read(FACTS / f"{name}.yaml", _kept_in(__spec__.cached if __spec__ else None))


def plain(value: Any) -> Any:
    """Text of a table as what it stands for in JSON: numbers, yes and no, nothing; inside lists and objects too."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if value in _WORDS:
        return _WORDS[value]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


_WORDS = {"true": True, "false": False, "null": None}


def read(table: Path, kept_in: Path | None) -> Any:
    """Read a table, through the copy in `kept_in` where that is still right. None: no copy is used or made."""
    copy = kept_in / f"{table.stem}.json" if kept_in else None
    stamp = _stamp(table)
    if copy is not None:
        try:
            known = json.loads(copy.read_bytes())
            if known["stamp"] == stamp:
                return known["table"]
        except (OSError, ValueError, LookupError, TypeError):
            pass  # none yet, or one that cannot be read: it is made again
    found = _parse(table)
    if copy is not None and not sys.dont_write_bytecode:
        _keep(copy, {"stamp": stamp, "table": found})
    return found


def _kept_in(compiled: str | None) -> Path | None:
    """The directory of the compiled modules, which the user may have put elsewhere (PYTHONPYCACHEPREFIX)."""
    return Path(compiled).parent if compiled else None


def _stamp(table: Path) -> list[int]:
    # The time of the change too: `mv`, `cp -p` and `touch -r` bring their own time of modification.
    status = table.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _parse(table: Path) -> Any:
    import yaml

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    with table.open(encoding="utf-8") as stream:
        return yaml.load(stream, Loader=loader)  # noqa: S506 - the base loader makes nothing but text


def _keep(copy: Path, data: dict[str, Any]) -> None:
    """Write a copy, whole or not at all; a directory that cannot be written costs time, and nothing else."""
    from jetson_containers.core import files

    with contextlib.suppress(OSError):
        files.write_atomically(copy, json.dumps(data, separators=(",", ":")))
