"""Manual pages (man(7)) of all commands, from what `--help` says."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

from jetson_containers import __version__
from jetson_containers.cli.main import COMMANDS, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "jetson-containers"
EXIT_CODES = (
    ("0", "done"),
    ("1", "something failed: a build, a test, a check"),
    ("2", "a wrong option, argument, setting or recipe"),
    ("3", "nothing matched"),
    ("4", "the environment is not ready: engine, rights, disk, network"),
    ("127", "no image runs here"),
    ("130", "stopped by Ctrl-C"),
)


def pages() -> dict[str, str]:
    """Name of each page and its text: `jetson-containers`, `jetson-containers-build`, `jetson-containers-llm-chat`."""
    root = click.Context(cli, info_name=PROGRAM)
    made = {PROGRAM: _page(PROGRAM, cli, root, sorted(f"{PROGRAM}-{name}" for name in COMMANDS))}
    for name in COMMANDS:
        command = cli.get_command(root, name)
        if command is not None:
            made.update(_pages(f"{PROGRAM}-{name}", command, root))
    return made


def _pages(title: str, command: click.Command, parent: click.Context) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=title.rpartition("-")[2], parent=parent)
    children = command.commands if isinstance(command, click.Group) else {}
    yield title, _page(title, command, context, [PROGRAM, *sorted(f"{title}-{name}" for name in children)])
    for name, child in children.items():
        yield from _pages(f"{title}-{name}", child, context)


def _page(title: str, command: click.Command, context: click.Context, see: list[str]) -> str:
    text = inspect.cleandoc(command.help or command.short_help or "")
    short, _, more = text.partition("\n\n")
    usage = _escaped(" ".join(command.collect_usage_pieces(context)))
    parts = [
        f'.TH {_escaped(title).upper()} 1 "" "{PROGRAM} {__version__}" "{PROGRAM}"',
        f".SH NAME\n{_escaped(title)} \\- {_escaped(' '.join(short.split()).rstrip('.'))}",
        f".SH SYNOPSIS\n.B {_escaped(context.command_path)}\n{usage}",
    ]
    described = "\n.PP\n".join(_escaped(part) for part in more.split("\n\n") if part.strip())
    if command.name == "run":
        from jetson_containers.launch.command import HELP

        described = f".nf\n{_escaped(HELP.strip())}\n.fi"
    if described:
        parts.append(f".SH DESCRIPTION\n{described}")
    if isinstance(command, click.Group) and command is not cli:
        parts.append(
            _list("COMMANDS", [(name, child.get_short_help_str(200)) for name, child in command.commands.items()])
        )
    elif command is cli:
        parts.append(_list("COMMANDS", [(name, COMMANDS[name][1]) for name in sorted(COMMANDS)]))
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    if records:
        parts.append(_list("OPTIONS", records))
    if command.epilog:
        parts.append(f".SH EXAMPLE\n.nf\n{_escaped(re.sub(r'^Example: ', '', command.epilog))}\n.fi")
    parts.append(_list("EXIT STATUS", list(EXIT_CODES)))
    others = ", ".join(f".BR {_escaped(name)} (1)" for name in see)
    parts.append(".SH SEE ALSO\n" + others.replace(", .BR", " ,\n.BR"))
    return "\n".join(parts) + "\n"


def _list(heading: str, rows: list[tuple[str, str]]) -> str:
    items = "\n".join(f".TP\n.B {_escaped(name)}\n{_escaped(text) or '.'}" for name, text in rows)
    return f".SH {heading}\n{items}"


def _escaped(text: str) -> str:
    """Text for roff: a backslash and a hyphen are spelled, and no line begins a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)
