"""Manual pages of all commands."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from jetson_containers.cli import manual
from jetson_containers.cli.main import COMMANDS


def test_pages_are_there_for_every_command() -> None:
    """Groups have a page for each of their commands, and name it."""
    pages = manual.pages()
    assert {f"jetson-containers-{name}" for name in COMMANDS} < set(pages)
    assert "jetson\\-containers\\-llm\\-chat" in pages["jetson-containers-llm"]
    assert "\\-\\-dry\\-run" in pages["jetson-containers-build"]
    assert "runs here" in pages["jetson-containers"]


def test_pages_escape_what_roff_would_read() -> None:
    """A line that begins with a dot or a quote, and a backslash, are text."""
    assert manual._escaped(".env\n'x' a\\b --c") == "\\&.env\n\\&'x' a\\eb \\-\\-c"


@pytest.mark.long
def test_pages_are_read_without_a_warning() -> None:
    """The formatter has nothing to say about them."""
    if not shutil.which("groff"):
        pytest.skip("cannot run here: groff is not installed")
    for name, text in manual.pages().items():
        done = subprocess.run(
            ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z"], input=text.encode(), capture_output=True, check=False
        )
        assert (name, done.stderr.decode()) == (name, "")
