"""What tests of hub share: helpers and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.cli import main
from jetson_containers.hub.transfer import command

if TYPE_CHECKING:
    import pytest

WEIGHTS = b"\x07" * 5000


FILES = {"config.json": b'{"model_type": "llama", "hidden_size": 64}', "model.safetensors": WEIGHTS}


SECRET = "hf_" + "x" * 34


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    done = main.main(["download", *argv])
    captured = capsys.readouterr()
    assert done == code, captured
    assert SECRET not in captured.out + captured.err
    return captured.out, captured.err


def in_image(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    done = command.main(argv)
    captured = capsys.readouterr()
    assert done == code, captured
    assert SECRET not in captured.out + captured.err
    return captured.out, captured.err
