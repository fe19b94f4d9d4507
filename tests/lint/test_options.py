"""Every option of every command is read, and every setting has an effect."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from jetson_containers.cli.app import GLOBAL_NAMES
from jetson_containers.cli.main import cli
from jetson_containers.core.settings import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {path: ast.parse(path.read_text()) for path in (ROOT / "jetson_containers").rglob("*.py")}

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


def reads(name: str) -> bool:
    """Whether a value of that name is read anywhere: as a variable, an attribute or a key."""
    return any(_reads(node, name) for tree in SOURCES.values() for node in ast.walk(tree))


def _reads(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Name):
        return node.id == name and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Attribute):
        return node.attr == name and isinstance(node.ctx, ast.Load)
    if isinstance(node, ast.Subscript):
        return isinstance(node.slice, ast.Constant) and node.slice.value == name
    return False


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
    assert {option for option in takes(command) if not reads(option)} == ignored


def test_unread_names_are_recognized() -> None:
    """The check would find an option that nothing reads."""
    assert not reads("jetson_no_such_option")
    assert reads("keep_going")


def test_settings_are_read() -> None:
    """Each setting is read by its name."""
    called = {
        node.args[0].value
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "path"
    }
    keys = {
        node.slice.value
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
    }
    assert {name for name in OPTIONS if name not in called | keys} == set()


def test_global_options_are_read() -> None:
    """The options of every command have an effect in `App`."""
    text = Path(importlib.import_module("jetson_containers.cli.app").__file__ or "").read_text()
    assert {name for name in GLOBAL_NAMES if text.count(f'"{name}"') < 2} == set()
