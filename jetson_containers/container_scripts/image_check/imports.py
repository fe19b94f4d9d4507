"""Import a Python package, then load files of it, in a process of its own; prints one line of JSON."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Messages of the dynamic loader: these mean that the image is broken, whatever machine it runs on.
BROKEN = re.compile(
    r"cannot open shared object file|undefined symbol|version `[^']*' not found|invalid ELF header|wrong ELF class"
)


def attempt(action: Callable[[str], object], name: str) -> tuple[str, str]:
    """How it ended: `ok`, `broken` (the loader refused) or `other` (it wants a GPU, say), and the error's text."""
    try:
        action(name)
    except BaseException as error:  # noqa: BLE001 - a package may exit or raise whatever it likes
        whole = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        broken = isinstance(error, (ImportError, OSError)) and BROKEN.search(whole)
        return ("broken" if broken else "other"), f"{type(error).__name__}: {error}"[:500]
    return "ok", ""


def main(module: str, files: Sequence[str]) -> None:
    """Print `{"status", "said", "files": {path: [status, said]}}` and end at once."""
    out = os.dup(1)
    os.dup2(2, 1)  # what the package prints is not part of the answer
    status, said = attempt(importlib.import_module, module)
    answer = {"status": status, "said": said, "files": {path: attempt(ctypes.CDLL, path) for path in files}}
    os.write(out, (json.dumps(answer) + "\n").encode())
    os._exit(0)  # the destructors of a library that found no GPU must not decide


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
