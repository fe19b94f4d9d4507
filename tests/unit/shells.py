"""What a shell says of a command line, without running it."""

from __future__ import annotations

import subprocess
from functools import cache


@cache
def is_read_by_a_shell(text: str) -> bool:
    """Whether bash reads it as whole commands. Many tests ask for the same one."""
    return subprocess.run(["bash", "-n"], input=text.encode(), check=False, capture_output=True).returncode == 0
