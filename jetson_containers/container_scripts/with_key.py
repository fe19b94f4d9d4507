"""Start a server that takes its key only on the command line, without showing the key there.

    API_KEY=… with_key.py FLAG -- PROGRAM …

The program runs inside this process; FLAG and the key are added to its arguments here, so that `ps` does not show them
to every user of the machine. `docker inspect` shows the variable, to those who may drive the engine.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import programs
else:
    import programs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with the key. Ends with 2 when words are missing, with 1 when the key is."""
    given = list(sys.argv[1:] if argv is None else argv)
    if "--help" in given[:1]:
        sys.stdout.write(f"usage: with_key.py FLAG -- PROGRAM …\n\n{__doc__}")
        return 0
    if len(given) < 3 or given[1] != "--":
        sys.stderr.write("usage: with_key.py FLAG -- PROGRAM …\n")
        return 2
    key = os.environ.pop("API_KEY", "")
    if not key:
        sys.exit("with_key.py: the environment variable API_KEY is empty")
    return programs.run([*given[2:], given[0], key])


if __name__ == "__main__":
    sys.exit(main())
