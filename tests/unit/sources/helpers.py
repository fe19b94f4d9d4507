"""What tests of sources share: the command line, and a file of weights."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from jetson_containers.cli import main
from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    import pytest

HEADER = (UNIT_DIR / "gguf" / "by-gguf-py.gguf").read_bytes()
WEIGHTS = HEADER + struct.pack("<I", 7) * 25_000


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    """Run a command line; stdout and stderr."""
    done = main.main(list(argv))
    captured = capsys.readouterr()
    assert done == code, captured
    assert "Traceback" not in captured.err
    return captured.out, captured.err
