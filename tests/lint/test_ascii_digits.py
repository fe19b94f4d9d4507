"""Numbers from outside are ASCII digits: `\\d` and `str.isdigit` also take digits that `int` refuses or reads."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("jetson_containers/**/*.py"))
# Where the whole test stands; the last two run in images without the rest of the package.
JUDGES = {
    "jetson_containers/core/text.py",
    "jetson_containers/hub/transfer/errors.py",
    "jetson_containers/container_scripts/request_rules.py",
    "jetson_containers/container_scripts/with_page.py",
}


def _strings(path: Path) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    wanted = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    return [token.string for token in tokens if token.type in wanted]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_patterns_and_checks_take_ascii_digits_only(path: Path) -> None:
    """No pattern has `\\d`, and `isdigit` and its kind are asked only where the text was found to be ASCII."""
    if "\\d" in path.read_text(encoding="utf-8"):  # else no string has it, and none has to be looked for
        assert not [text for text in _strings(path) if re.search(r"(?<!\\)(?:\\\\)*\\d", text)]
    asked = re.findall(r".*\.is(?:digit|decimal|numeric)\(\).*", path.read_text(encoding="utf-8"))
    judges = path.relative_to(ROOT).as_posix() in JUDGES
    assert all(judges and ".isascii()" in line for line in asked)
