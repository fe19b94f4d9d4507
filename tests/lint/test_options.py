"""Every option of every command is read, and every setting has an effect."""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from jetson_containers.cli.app import GLOBAL_NAMES
from jetson_containers.cli.main import cli
from jetson_containers.core.settings import OPTIONS
from tests.lint.sources import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "jetson_containers").rglob("*.py"))

# Upstream's options that change nothing here; their help says so.
WITHOUT_EFFECT = {("build", "no_github_api")}


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


@cache
def read_names() -> frozenset[str]:
    """Every name that a value is read by anywhere: of a variable, an attribute or a key."""
    names = (_read(node) for path in SOURCES for node in ast.walk(parsed(path)))
    return frozenset(name for name in names if name is not None)


def _read(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Attribute):
        return node.attr if isinstance(node.ctx, ast.Load) else None
    if isinstance(node, ast.Subscript):
        return _text(node.slice)
    return None


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def takes(command: click.Command) -> set[str]:
    """The options of a command, by the name its function gets them under."""
    return {parameter.name or "" for parameter in command.params} - set(GLOBAL_NAMES)


def test_commands_are_found() -> None:
    """The walk reaches commands and those below `llm`."""
    assert {"build", "autotag", "llm chat", "download"} <= {name for name, _ in commands(cli)}


@pytest.mark.parametrize("name", [name for name, _ in commands(cli)])
def test_options_of_a_command_are_read(name: str) -> None:
    """A value that no code reads is an option without effect."""
    command = dict(commands(cli))[name]
    ignored = {option for where, option in WITHOUT_EFFECT if where == name}
    assert takes(command) - read_names() == ignored


def test_unread_names_are_recognized() -> None:
    """The check would find an option that nothing reads."""
    assert "jetson_no_such_option" not in read_names()
    assert "keep_going" in read_names()


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("kept = given", ["given"]),
        ("given.kept", ["given", "kept"]),
        ("given['kept']", ["given", "kept"]),
        ("given.kept = 3", ["given"]),
        ("'kept'", []),
        ("def kept(given): pass", []),
    ],
)
def test_names_are_read_as_variable_attribute_or_key(source: str, names: list[str]) -> None:
    """Setting a value or naming it in a text does not read it."""
    assert sorted(filter(None, map(_read, ast.walk(ast.parse(source))))) == names


def test_settings_are_read() -> None:
    """Each setting is read by its name."""
    called = {
        node.args[0].value
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "path"
    }
    keys = {
        node.slice.value
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    }
    assert {name for name in OPTIONS if name not in called | keys} == set()


def test_global_options_are_read() -> None:
    """The options of every command have an effect in `App`."""
    text = Path(importlib.import_module("jetson_containers.cli.app").__file__ or "").read_text()
    assert {name for name in GLOBAL_NAMES if text.count(f'"{name}"') < 2} == set()
