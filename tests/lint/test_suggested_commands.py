"""Suggested commands with a name, path or value in them are made by `core.errors.command`, which quotes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.lint.sources import parsed
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = ROOT_DIR / "jetson_containers"
APART = ("container_scripts", "recipes/upstream/child", "core/errors.py")  # no hints
VALUE = "\0"
PROGRAMS = (
    r"jetson-containers|\./\w+\.sh|(?:\./)?autotag|docker|sudo|curl|git|pip|apt(?:-get)?|chown|chmod|rm|mv|cp|mkdir"
)
# A program where a command begins (of the text, or within backticks or after a colon) and a value before it ends.
COMMAND = re.compile(rf"(?:^|`|: )(?:{PROGRAMS}) [^`;\n]*{VALUE}")
SENTENCES = {  # begin with the name of a program and suggest nothing
    f"docker {VALUE} (API {VALUE}) through `{VALUE}` {VALUE}",
    f"docker {VALUE} on this kernel may start nothing",
    f"`git {VALUE}` of a branch, which moves",  # VALUE: a word of git's own
    f"jetson-containers {VALUE}",  # the version
    "sudo modprobe v4l2loopback",  # numbers
}


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every f-string with its line, values as VALUE; those that a `command(…)` quotes count as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(shown, node.values))


def shown(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    return "`…`" if "command(" in ast.unparse(part) else VALUE


def bare(text: str) -> bool:
    return COMMAND.search(text) is not None and not any(sentence in text for sentence in SENTENCES)


def test_suggested_commands_hold_no_bare_value() -> None:
    """No suggested command holds a value that is not quoted for a shell."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(APART):
            found += [f"{place}:{line}: {text}" for line, text in texts(parsed(path)) if bare(text)]
    assert found == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('f"`docker rm -f {name}` ends it"', True),
        ('f"sudo rm -r {path}, or not"', True),
        ('f"make it yours: sudo chown -R me {path}"', True),
        ('f"or {other} makes one: `./build.sh {name}`"', True),
        ("f\"{command('docker', 'rm', name)} ends it\"", False),
        ('f"`docker ps` lists {name}"', False),
        ('f"the disk of {name} is full"', False),
    ],
)
def test_bare_values_are_found(source: str, expected: bool) -> None:
    """Values that are not quoted are found."""
    assert [bare(text) for _, text in texts(ast.parse(source))] == [expected]
