"""The order of the subpackages: each imports only those before it, and no two modules import each other.

Every import counts: at the head of a module, late in a function, and those for type checkers alone.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lint.sources import parsed, statements
from tools.subpackages import ORDER, public

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "jetson_containers"

ALONE = ("container_scripts", "hub.transfer")  # run inside images, where the rest of the package is missing


def modules(root: Path) -> dict[str, Path]:
    """Every module below the package by its name without the package's, `cli.main`; a subpackage by its own."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root / PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports anywhere."""
    here = [PACKAGE, *name.split(".")] if name else [PACKAGE]
    package = here if path.name == "__init__.py" else here[:-1]
    for node in statements(parsed(path)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *filter(None, [node.module])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            inside = target.removeprefix(f"{PACKAGE}.") if target.startswith(f"{PACKAGE}.") else ""
            while inside and inside not in known:  # a name that stands in a module
                inside = inside.rpartition(".")[0]
            if inside and inside != name:
                yield inside


@cache
def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """What each module imports."""
    known = modules(root)
    return {name: set(imports(name, path, known)) for name, path in known.items()}


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Modules that reach each other, one set for each circle or several that hang together."""
    reached = {name: _reachable(name, edges) for name in edges}
    found: list[set[str]] = []
    for name in edges:
        ring = {other for other in reached[name] if name in reached[other]}
        if ring and ring not in found:
            found.append(ring)
    return found


def _reachable(name: str, edges: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges[name])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting.extend(edges[other])
    return seen


def wrong_way(edges: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Imports of what stands later in the order."""
    place = {name: number for number, name in enumerate(ORDER)}
    return {
        (name, other)
        for name, others in edges.items()
        for other in others
        if name and place[other.partition(".")[0]] > place[name.partition(".")[0]]
    }


def test_order_names_everything_at_the_top() -> None:
    """The order names everything at the top of the package."""
    assert {name.partition(".")[0] for name in modules(ROOT) if name} == set(ORDER)


def test_imports_follow_the_order() -> None:
    """Imports follow the order."""
    assert wrong_way(graph()) == set()


def test_modules_import_each_other_in_no_circle() -> None:
    """No modules import each other in a circle."""
    assert circles(graph()) == []


def test_subpackages_use_only_public_modules_of_others() -> None:
    """From another subpackage only the modules are imported that its docstring names."""
    used = defaultdict(set)
    for name, others in graph().items():
        for other in others:
            subpackage, _, module = other.partition(".")
            if name and subpackage != name.partition(".")[0] and module.partition(".")[0] not in public(subpackage):
                used[name].add(other)
    assert {name: others for name, others in used.items() if others - {"doctor", "cli.main"}} == {}


def test_public_modules_exist_and_are_used() -> None:
    """A docstring names no module that is gone or that nothing else imports."""
    edges = graph()
    for subpackage in ORDER:
        for module in public(subpackage):
            whole = f"{subpackage}.{module}"
            users = {
                name.partition(".")[0]
                for name, others in edges.items()
                for other in others
                if other == whole or other.startswith(f"{whole}.")
            }
            assert whole in edges
            assert users - {subpackage}, whole


def test_subpackages_say_what_flows_through_them_and_export_nothing() -> None:
    """The `__init__.py` of a subpackage is a docstring and nothing else."""
    for name, path in modules(ROOT).items():
        if path.name == "__init__.py" and name:
            tree = parsed(path)
            assert len(tree.body) == 1, name
            assert len((ast.get_docstring(tree) or "").split()) > 20, name


def test_programs_for_images_import_nothing_else() -> None:
    """Programs for images import nothing else of the package."""
    outside = defaultdict(set)
    for name, others in graph().items():
        for alone in ALONE:
            if name == alone or name.startswith(f"{alone}."):
                outside[name] |= {other for other in others if other != alone and not other.startswith(f"{alone}.")}
    assert outside
    assert {name: others for name, others in outside.items() if others} == {}


def test_graph_sees_late_and_type_only_imports(tmp_path: Path) -> None:
    """The graph of imports has late ones and those for types alone."""
    package = tmp_path / PACKAGE
    for folder in ("core", "cli"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "core" / "early.py").write_text("def late():\n    from jetson_containers.cli import main\n")
    (package / "cli" / "main.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jetson_containers.core.early import Name\n"
        "from . import other\n"
    )
    (package / "cli" / "other.py").write_text("import jetson_containers.core.early\n")
    edges = graph(tmp_path)
    assert edges["core.early"] == {"cli.main"}
    assert edges["cli.main"] == {"core.early", "cli.other"}
    assert edges["cli.other"] == {"core.early"}
    assert wrong_way(edges) == {("core.early", "cli.main")}
    assert circles(edges) == [{"core.early", "cli.main", "cli.other"}]
