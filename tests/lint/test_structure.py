"""Short functions, keyword-only dataclasses, and `__init__` modules that re-export nothing."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lint.sources import parsed
from tests.lint.test_layers import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = ("jetson_containers", "tools", "benchmarks", "scripts")
LONGEST = 60  # lines of a function
POSITIONAL = 2  # fields of a dataclass whose order needs no names
# These run in images with Python 3.8, which has no `kw_only`.
ALONE = ("hub/transfer", "container_scripts", "recipes/upstream/child")
INTERFACE = "is the interface of"  # what the docstring of an `__init__` with re-exports says


def sources(*folders: str) -> dict[str, ast.Module]:
    """The modules of our folders by their path."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {path.relative_to(ROOT).as_posix(): parsed(path) for path in paths}


def long_functions(tree: ast.AST) -> Iterator[str]:
    """The functions that have more lines than LONGEST."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST:
                yield f"{node.name}: {lines} lines"


def positional_dataclasses(tree: ast.AST) -> Iterator[str]:
    """The dataclasses with more than two fields, without `kw_only=True`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or len(list(_fields(node))) <= POSITIONAL:
            continue
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
            named = any(word.arg == "kw_only" and ast.unparse(word.value) == "True" for word in keywords)
            if ast.unparse(called).rpartition(".")[2] == "dataclass" and not named:
                yield node.name


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            given = not isinstance(statement.value, ast.Call) or "init=False" not in ast.unparse(statement.value)
            if given and "ClassVar" not in ast.unparse(statement.annotation):
                yield statement.target.id


def reexports(tree: ast.Module) -> list[str]:
    """The names that an `__init__` re-exports without saying in its docstring that it is the interface."""
    if INTERFACE in (ast.get_docstring(tree) or ""):
        return []
    imported = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [
        alias.asname or alias.name
        for node in imported
        if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for alias in node.names
    ]


def test_functions_are_short() -> None:
    """No function has more than 60 lines."""
    found = {path: long for path, tree in sources(*FOLDERS).items() if (long := list(long_functions(tree)))}
    assert found == {}


def test_long_functions_are_found() -> None:
    """A function of 61 lines is found, also one inside a class; one of 60 lines is allowed."""
    body = "\n".join("        pass" for _ in range(60))
    assert list(long_functions(ast.parse(f"class A:\n    def f(self):\n{body}\n"))) == ["f: 61 lines"]
    assert list(long_functions(ast.parse(f"class A:\n    def f(self):\n{body[:-13]}\n"))) == []


def test_dataclasses_are_made_by_keyword() -> None:
    """A dataclass with three fields or more takes them by keyword only."""
    found = {
        path: names
        for path, tree in sources(*FOLDERS).items()
        if not any(f"jetson_containers/{alone}/" in path for alone in ALONE)
        and (names := list(positional_dataclasses(tree)))
    }
    assert found == {}


def test_positional_dataclasses_are_found() -> None:
    """Three fields without `kw_only` are found, however the decorator is written; two fields are allowed."""
    text = """
@dataclass
class Plain:
    a: int
    b: int
    c: int = 0

@dataclasses.dataclass(frozen=True)
class Dotted:
    a: int
    b: int
    c: int

@dataclass(frozen=True, kw_only=False)
class Said:
    a: int
    b: int
    c: int

@dataclass(frozen=True, kw_only=True)
class Named:
    a: int
    b: int
    c: int

@dataclass(frozen=True)
class Pair:
    a: int
    b: int
    c: ClassVar[int] = 0
    d: int = field(default=0, init=False)

class NoDataclass:
    a: int
    b: int
    c: int
"""
    assert list(positional_dataclasses(ast.parse(text))) == ["Plain", "Dotted", "Said"]


def test_init_modules_reexport_nothing() -> None:
    """Names are imported from the module that has them: a subpackage's `__init__` is its description."""
    found = {
        path: names
        for path, tree in sources("jetson_containers").items()
        if Path(path).name == "__init__.py" and (names := reexports(tree))
    }
    assert found == {}


def test_reexported_names_are_found() -> None:
    """An import in an `__init__` is found, unless its docstring says that it is the interface."""
    text = '"""Fit."""\nfrom __future__ import annotations\nfrom jetson_containers.llm.fit import Fit, predict\n'
    assert reexports(ast.parse(text)) == ["Fit", "predict"]
    assert reexports(ast.parse(text.replace("Fit.", "This `__init__` is the interface of the subpackage."))) == []
