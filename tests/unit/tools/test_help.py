"""`--help` of the programs of this checkout changes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROGRAMS = [
    path.relative_to(ROOT).as_posix()
    for path in sorted([*ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*/*.py"), *ROOT.glob("scripts/*.sh")])
    if '__name__ == "__main__"' in (text := path.read_text(encoding="utf-8")) or text.startswith("#!")
]


def fingerprint() -> set[tuple[str, int, int]]:
    """The files of the checkout that git does not ignore, with sizes and times."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [(name, ROOT / name) for name in names]
    return {(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in found if path.is_file()}


@pytest.fixture(scope="module")
def before() -> set[tuple[str, int, int]]:
    """The fingerprint before a program starts; each test leaves that for the next."""
    return fingerprint()


@pytest.mark.long
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_prints_what_it_is_for_and_changes_nothing(
    program: str, tmp_path: Path, before: set[tuple[str, int, int]]
) -> None:
    """It is answered at once, without a file written here or there."""
    argv = [sys.executable, str(ROOT / program)] if program.endswith(".py") else [str(ROOT / program)]
    done = subprocess.run([*argv, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert len((done.stdout + done.stderr).split()) > 4
    assert list(tmp_path.iterdir()) == []
    expected, after = before.copy(), fingerprint()
    before.clear()
    before.update(after)
    assert after == expected
