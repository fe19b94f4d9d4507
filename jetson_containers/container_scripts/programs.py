"""Run a Python program that is installed in the image inside this process, with a command line nobody else can read."""

from __future__ import annotations

import importlib.metadata
import runpy
import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Callable, Sequence


def run(argv: Sequence[str]) -> int:
    """Run `argv`: `python3 FILE …`, `python3 -m MODULE …`, or a console script of an installed package.

    Returns its exit status. Ends the program when there is none of that name.
    """
    name, *words = argv
    if name in {"python3", "python"} and words[:1] == ["-m"] and len(words) > 1:
        sys.argv = words[1:]
        return _status(lambda: runpy.run_module(words[1], run_name="__main__", alter_sys=True))
    if name in {"python3", "python"} and words:
        sys.argv = list(words)
        return _status(lambda: runpy.run_path(words[0], run_name="__main__"))
    entry = _entry(name)
    if entry is not None:
        sys.argv = [shutil.which(name) or name, *words]
        return _status(entry.load())
    path = shutil.which(name)
    if path is None:
        sys.exit(f"no program `{name}` in this image")
    sys.argv = [path, *words]
    return _status(lambda: runpy.run_path(path, run_name="__main__"))


def _entry(name: str) -> Any:
    """The console script of that name. Before Python 3.10 entry points come as a dictionary of groups."""
    found: Any = importlib.metadata.entry_points()
    group = found.select(group="console_scripts") if hasattr(found, "select") else found.get("console_scripts", ())
    return next((entry for entry in group if entry.name == name), None)


def _status(program: Callable[[], Any]) -> int:
    try:
        result = program()
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return int(end.code or 0)
    return result if isinstance(result, int) and not isinstance(result, bool) else 0
