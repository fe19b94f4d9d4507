"""One name for one thing: imports keep the names that modules have, and no two classes of the package share one."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.lint.test_layers import PACKAGE, ROOT, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = tuple(f"{PACKAGE}.{name.partition('.')[0]}" for name in modules(ROOT) if name)  # upstream has this package too
FOLDERS = (PACKAGE, "tests", "tools", "benchmarks", "scripts")


def aliases(text: str) -> Iterator[str]:
    """What a program imports from the package under another name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.{node.names[0].name}".startswith(OURS):
            yield from (f"{one.name} as {one.asname}" for one in node.names if one.asname not in {None, one.name})
        elif isinstance(node, ast.Import):
            yield from (f"{one.name} as {one.asname}" for one in node.names if one.asname and one.name.startswith(OURS))


def test_imports_keep_the_names_that_modules_have() -> None:
    """Imports keep the names that modules have."""
    found = {
        str(path.relative_to(ROOT)): names
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "trees" not in path.parts and (names := list(aliases(path.read_text())))
    }
    assert found == {}


def test_imports_under_another_name_are_seen_wherever_they_stand() -> None:
    """Imports under another name are seen wherever they stand."""
    late = "def f():\n    from jetson_containers.platforms import detect as platforms\n"
    assert list(aliases(late + "import jetson_containers.core as c\nfrom json import dumps as d\n")) == [
        "jetson_containers.core as c",
        "detect as platforms",
    ]


def test_class_names_mean_one_thing() -> None:
    """A class name means one thing in the whole package."""
    places = defaultdict(list)
    for name, path in modules(ROOT).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}
