"""A program that takes its key as an option only."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.container_scripts.quantize_examples import with_key

if TYPE_CHECKING:
    from pathlib import Path


SHOW = """
import json, os, sys
def main():
    with open("/proc/self/cmdline", "rb") as file:
        shown = file.read().decode()
    print(json.dumps([sys.argv[1:], shown, os.environ.get("API_KEY")]))
    return 3
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """An environment in which `show` is an installed console script."""
    (tmp_path / "show.py").write_text(SHOW)
    info = tmp_path / "show-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: show\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nshow = show:main\n")
    script = tmp_path / "bin" / "show"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\nimport sys, show\nsys.exit(show.main())\n")
    script.chmod(0o755)
    return {"PYTHONPATH": str(tmp_path), "PATH": f"{script.parent}:{os.environ['PATH']}", "API_KEY": "sekrit"}


@pytest.mark.parametrize("program", [["show"], ["python3", "{directory}/show.py"], ["python3", "-m", "show"]])
def test_with_key_shows_the_key_only_to_the_program(installed: dict[str, str], program: list[str]) -> None:
    """A key that must be a flag is seen by the program alone."""
    words = [word.format(directory=installed["PYTHONPATH"]) for word in program]
    done = with_key(installed, "--api-keys", "--", *words, "--port", "1")
    given, shown, inherited = json.loads(done.stdout)
    assert done.returncode == 3
    assert given == ["--port", "1", "--api-keys", "sekrit"]
    assert "sekrit" not in shown
    assert inherited is None  # nor is it left where a child would inherit it


@pytest.mark.parametrize(
    ("words", "key", "said"),
    [
        (("--x", "--", "no-such-program"), "k", "no program `no-such-program`"),
        (("--x", "--", "show"), "", "API_KEY is empty"),
        (("--x", "--"), "k", "usage: with_key.py FLAG"),
        (("--x", "show"), "k", "usage: with_key.py FLAG"),
    ],
)
def test_with_key_names_what_is_missing(installed: dict[str, str], words: tuple[str, ...], key: str, said: str) -> None:
    """What is missing is named: the program, the separator or the key."""
    done = with_key({**installed, "API_KEY": key}, *words)
    assert done.returncode in {1, 2}
    assert said in done.stderr
