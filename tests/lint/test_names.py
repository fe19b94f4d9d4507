"""One name for one thing: imports keep the names that modules have, and no two classes of the package share one."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lint.sources import parsed, statements
from tests.lint.test_layers import PACKAGE, ROOT, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = tuple(f"{PACKAGE}.{name.partition('.')[0]}" for name in modules(ROOT) if name)  # upstream has this package too
FOLDERS = (PACKAGE, "tests", "tools", "benchmarks", "scripts")


def aliases(tree: ast.Module) -> Iterator[str]:
    """What a program imports from the package under another name."""
    for node in statements(tree):
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
        if "trees" not in path.parts and (names := list(aliases(parsed(path))))
    }
    assert found == {}


def test_imports_under_another_name_are_seen_wherever_they_stand() -> None:
    """Imports under another name are seen wherever they stand."""
    late = "def f():\n    from jetson_containers.platforms import detect as platforms\n"
    text = late + "import jetson_containers.core as c\nfrom json import dumps as d\n"
    assert sorted(aliases(ast.parse(text)), reverse=True) == [
        "jetson_containers.core as c",
        "detect as platforms",
    ]


def test_class_names_mean_one_thing() -> None:
    """A class name means one thing in the whole package."""
    places = defaultdict(list)
    for name, path in modules(ROOT).items():
        for node in statements(parsed(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(f"{name}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


_PLACE = re.compile(r"`(?:jetson_containers/|python:jetson_containers/)?((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`")
_PAGE = re.compile(r"\b[\w/-]+\.md\b")


def _is_there(path: Path) -> bool:
    return path.exists() or path.with_suffix(".py").exists()


def test_modules_that_texts_name_exist() -> None:
    """A docstring, comment or page names no file of the package that has moved or gone, and no page nobody has."""
    gone = []
    tops = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir()}
    pages = {path.name for path in ROOT.rglob("*.md") if "data" not in path.parts and ".venv" not in path.parts}
    texts = [
        *(ROOT / PACKAGE).rglob("*.py"),
        *(ROOT / PACKAGE / "facts").glob("*.yaml"),
        *(ROOT / "tools").glob("*.py"),
    ]
    for path in [*texts, *(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]:
        text = path.read_text(encoding="utf-8")
        gone += [
            f"{path.relative_to(ROOT)}: {place}"
            for place in _PLACE.findall(text)
            if place.partition("/")[0] in tops and not any(_is_there(root / place) for root in (ROOT / PACKAGE, ROOT))
        ]
        if path.suffix == ".py":  # tables name pages of other projects by address
            named = {Path(page).name for page in _PAGE.findall(text)} - {"README.md", "A.md", "NAME.md"}
            gone += [f"{path.relative_to(ROOT)}: {page}" for page in sorted(named - pages)]
    assert gone == []


def test_tools_import_only_what_is_there() -> None:
    """Programs beside the package name modules, functions and classes that it has."""
    known, gone = modules(ROOT), []
    for path in (path for folder in ("tools", "benchmarks", "scripts") for path in (ROOT / folder).rglob("*.py")):
        tree = parsed(path)
        old = {id(node) for each in ast.walk(tree) if isinstance(each, ast.ExceptHandler) for node in ast.walk(each)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and id(node) not in old and (node.module or "").startswith(OURS):
                module = (node.module or "").removeprefix(f"{PACKAGE}.")
                text = known[module].read_text() if module in known else ""
                gone += [
                    f"{path.relative_to(ROOT)}: {node.module}.{one.name}"
                    for one in node.names
                    if f"{module}.{one.name}" not in known
                    and not re.search(rf"^(def |class )?{one.name}\b", text, re.MULTILINE)
                ]
    assert gone == []
