"""The wording of code, messages and docs: American spelling, and none of the phrases that read like a translation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Words of the English dictionary that stay: names in JSON and files of earlier versions, and of Python's own libraries.
BRITISH_NAMES = "cancelled,artefact,catalogue,licence,licences,flavour,dialogues,labelling"

FORBIDDEN = {
    r"`[^`\n]*` is no [a-z]": "say `invalid …`, `unknown …` or `… is not a …`",
    r"(?<!t)\bis no (?!longer|more|larger|such|hope)[a-z]": "say `is not a …`",
    r"\b[Tt]here is: ": "say `available: …` or `known: …`",
    r"[\"']nothing is asked\b": "say `no prompt given`",
    r"\b(class|def) (Workshop|World|Patient)\b": "name the thing, without a metaphor",
    r"\bforesight\b": "say `prediction`",
    r"\bgoes on where it stopped\b.*: ": "say `resumes`",
}
THERE = re.compile(r"[Tt]here is no ")


def sources() -> list[Path]:
    files = [*ROOT.glob("jetson_containers/**/*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("docs/*.md")]
    return [*files, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def findings(text: str) -> list[str]:
    return [f"{line.strip()}: {remedy}" for line in text.splitlines() for pattern, remedy in FORBIDDEN.items()
            if re.search(pattern, THERE.sub("", line))]  # fmt: skip


def test_sources_have_no_forbidden_phrase() -> None:
    """No page and no module uses a phrase of the list."""
    found = {path.relative_to(ROOT).as_posix(): findings(path.read_text(encoding="utf-8")) for path in sources()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("`x` is no directory", True),
        ("what is no file", True),
        ("hint: there is: mlc", True),
        ("class Workshop:", True),
        ("there is no such file", False),
        ("it is no longer here", False),
        ("`x` is not a directory", False),
    ],
)
def test_forbidden_phrases_are_recognized(line: str, found: bool) -> None:
    """The list finds what it is for, and nothing else."""
    assert bool(findings(line)) is found


def test_spelling_is_american() -> None:
    """The spelling checker's table of British words finds none."""
    files = [str(path) for path in sources()]
    command = [sys.executable, "-m", "codespell_lib", "--builtin", "en-GB_to_en-US", "-L", BRITISH_NAMES, *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
