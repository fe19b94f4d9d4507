"""Start a server that takes its key on the command line or from a variable of its own, without showing the key.

The key comes in the environment variable API_KEY. `--env NAME` hands it on as NAME; `--flag NAME` adds it to the
program's arguments inside this process, so that neither `ps` nor `docker inspect` shows it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.drivers import programs
else:
    import programs


def main(argv: Sequence[str] | None = None) -> int:
    """Parse; replace this process, or run the program in it."""
    parser = argparse.ArgumentParser(description=__doc__, usage="with_key.py (--env NAME | --flag NAME) -- PROGRAM …")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--env", metavar="NAME", help="environment variable that the program reads")
    how.add_argument("--flag", metavar="NAME", help="option that the program takes, `--api-keys`")
    given = list(sys.argv[1:] if argv is None else argv)
    if "--" not in given:
        parser.error("`--` and the program are missing")
    options = parser.parse_args(_joined(given[: given.index("--")]))
    program = given[given.index("--") + 1 :]
    if not program:
        parser.error("the program is missing")
    key = os.environ.pop("API_KEY", "")
    if not key:
        sys.exit("with_key.py: the environment variable API_KEY is empty")
    if options.flag:
        return programs.run([*program, options.flag, key])
    path = shutil.which(program[0])
    if path is None:
        sys.exit(f"no program `{program[0]}` in this image")
    # The program takes this process over.
    return os.execve(path, program, {**os.environ, options.env: key})  # noqa: S606


def _joined(words: Sequence[str]) -> list[str]:
    """`--flag --api-keys` as `--flag=--api-keys`: argparse takes what begins with dashes for an option."""
    pairs = iter(words)
    joined = []
    for word in pairs:
        value = next(pairs, None) if word in {"--flag", "--env"} else None
        joined.append(word if value is None else f"{word}={value}")
    return joined


if __name__ == "__main__":
    sys.exit(main())
