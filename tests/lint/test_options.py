"""Every option of every command is read, and every setting has an effect."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from jetson_containers.cli.app import GLOBAL_NAMES, App
from jetson_containers.cli.main import cli
from jetson_containers.core.settings import OPTIONS
from tests.lint.reads import Package
from tests.lint.sources import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Upstream's options that change nothing here; their help says so.
WITHOUT_EFFECT = {("build", "no_github_api")}


@functools.cache
def package() -> Package:
    """The modules of jetson_containers."""
    paths = sorted((ROOT / "jetson_containers").rglob("*.py"))
    return Package(trees={str(path): parsed(path) for path in paths})


@functools.cache
def reads() -> set[tuple[str, str]]:
    """Class and name of every field and setting that reachable code reads."""
    return package().reads()


def commands(group: click.Command, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command by its words."""
    if not isinstance(group, click.Group):
        yield prefix, group
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield from commands(found, f"{prefix} {name}".strip())


def function_of(command: click.Command) -> ast.FunctionDef:
    """The function that a command is bound to, without its decorators."""
    assert command.callback is not None
    return tree_of(inspect.unwrap(command.callback))


def tree_of(function: Callable[..., Any]) -> ast.FunctionDef:
    """The text of a function, parsed."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    return node


def unread(
    function: ast.FunctionDef, options: Iterable[str], package: Package, reads: set[tuple[str, str]]
) -> set[str]:
    """The options that the function does not use itself, and that nobody reads from the objects it gets."""
    arguments = (*function.args.args, *function.args.kwonlyargs)
    used = {node.id for line in function.body for node in ast.walk(line) if isinstance(node, ast.Name)}
    parameters = {one.arg: package.named(one.annotation) for one in arguments}
    objects = [kind for name, kind in parameters.items() if name in used]
    return {
        option
        for option in options
        if option not in used & parameters.keys() and not any((kind, option) in reads for kind in objects)
    }


def takes(command: click.Command) -> set[str]:
    """The options of a command, by the name its function gets them under; those that set a setting it does not get."""
    given = [parameter for parameter in command.params if parameter.expose_value or not parameter.callback]
    return {parameter.name or "" for parameter in given} - set(GLOBAL_NAMES)


def global_reads(text: str) -> set[str]:
    """The keys that a class gets out of its dictionary of options."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            found |= {str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant)}
    return found


def test_commands_are_found() -> None:
    """The walk reaches commands and those below `llm`."""
    assert {"build", "autotag", "llm chat", "download"} <= {name for name, _ in commands(cli)}


@pytest.mark.parametrize("name", [name for name, _ in commands(cli)])
def test_options_of_a_command_are_read(name: str) -> None:
    """Each option is read by the function of its command, or from the options object that the function gets."""
    command = dict(commands(cli))[name]
    ignored = {option for where, option in WITHOUT_EFFECT if where == name}
    assert unread(function_of(command), takes(command), package(), reads()) == ignored


def test_settings_are_read() -> None:
    """Each setting is read through the settings, in code that a command reaches."""
    assert {name for name in OPTIONS if ("Settings", name) not in reads()} == set()


def test_global_options_are_read() -> None:
    """The options of every command have an effect in `App`."""
    assert set(GLOBAL_NAMES) - global_reads(inspect.getsource(App)) == set()


PROGRAM = """
class Settings:
    def __getitem__(self, name: str) -> object: ...

    def path(self, name: str) -> str: ...


class Given:
    color: str
    size: int
    depth: int
    unused: str
    only_in_dead_code: str


class Other:
    unused: str


class App:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def settings(self) -> Settings:
        return self._settings


@command
def paint(app: App, *, given: Given, fast: bool, slow: bool) -> int:
    if fast:
        other = Other()
        print(other.unused, app.settings["cache"])
    return brush(app, replace(given, color="red"))


def brush(app: App, given: Given | None) -> int:
    again = given
    helper = lambda: again.size
    app.settings.path("data")
    return helper() + given.color


def dead(app: App, given: Given) -> int:
    return given.only_in_dead_code + app.settings["idle"]
"""


def test_unread_options_are_found() -> None:
    """An option is unread where only another class, dead code or nobody reads the name."""
    made = Package(trees={"program.py": ast.parse(PROGRAM)})
    function = next(node for _, node in _functions(made) if node.name == "paint")
    options = ("color", "size", "depth", "unused", "only_in_dead_code", "fast", "slow", "elsewhere")
    found = unread(function, options, made, made.reads())
    assert found == {"depth", "unused", "only_in_dead_code", "slow", "elsewhere"}


def test_unread_settings_are_found() -> None:
    """A setting is read by key or as a path; a read in dead code does not count."""
    read = Package(trees={"program.py": ast.parse(PROGRAM)}).reads()
    assert {name for kind, name in read if kind == "Settings"} - {"path"} == {"cache", "data"}


def test_unread_global_options_are_found() -> None:
    """A key that is only stored is not read."""
    text = (
        'class App:\n    def f(self):\n        self.options["quiet"] = 1\n        return self.options.get("target")\n'
    )
    assert global_reads(text) == {"target"}


def _functions(made: Package) -> Iterator[tuple[str, ast.FunctionDef]]:
    for tree in made.trees.values():
        yield from ((node.name, node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
