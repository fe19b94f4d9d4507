"""Forms of long options: cut short as long as one option alone begins so, and switches with a value.

`--list` is `--list-packages`, as upstream's; `--buildkit=true` is `--buildkit`, `--buildkit=off` is `--no-buildkit`,
as its variables say it. Not in `run`, whose options are docker's.
"""

from __future__ import annotations

from typing import Any

import click

from jetson_containers.core.errors import command

_ON, _OFF = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


class _Abbreviated(dict[str, Any]):
    """The parser's long options by name; what is the beginning of one option alone is found too."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or self._only(name) is not None

    def __missing__(self, name: str) -> Any:
        if (option := self._only(name)) is None:
            raise KeyError(name)
        return option

    def _only(self, name: object) -> Any:
        if not isinstance(name, str) or not name.startswith("--"):
            return None
        meant = {id(option): option for full, option in self.items() if full.startswith(name)}
        return next(iter(meant.values())) if len(meant) == 1 else None


class _Abbreviating:
    """A command whose parser takes abbreviations."""

    def make_parser(self, ctx: click.Context) -> Any:
        """Make the parser of click; what it looks options up in is ours."""
        parser = super().make_parser(ctx)  # type: ignore[misc]
        parser._long_opt = _Abbreviated(parser._long_opt)  # noqa: SLF001 - click has no other place for it
        return parser

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, with switches that have a value spelled as click knows them."""
        known = _Abbreviated({name: option for option in _options(self, ctx) for name in _names(option)})
        end = args.index("--") if "--" in args else len(args)
        before = [word for given in args[:end] for word in _spelled(given, known, ctx)]
        parsed: list[str] = super().parse_args(ctx, [*before, *args[end:]])  # type: ignore[misc]
        return parsed


def _options(command: Any, ctx: click.Context) -> list[click.Option]:
    return [each for each in command.get_params(ctx) if isinstance(each, click.Option)]


def _names(option: click.Option) -> tuple[str, ...]:
    return tuple(name for name in (*option.opts, *option.secondary_opts) if name.startswith("--"))


def _spelled(given: str, known: _Abbreviated, ctx: click.Context) -> tuple[str, ...]:
    """The words that a word means: `--buildkit=true` is `--buildkit`; a switch that is off by itself is left out."""
    name, equals, value = given.partition("=")
    if not equals or not name.startswith("--") or name not in known:
        return (given,)
    option = known[name]
    if not option.is_flag or option.count:
        return (given,)
    if value.lower() in _ON:
        return (name,)
    if value.lower() not in _OFF:
        raise click.BadParameter(f"`{value}` is neither true nor false", ctx=ctx, param=option)
    negated = name.replace("--no-", "--", 1) if name.startswith("--no-") else name.replace("--", "--no-", 1)
    return (negated,) if negated in dict.keys(known) else ()


class AbbreviatingCommand(_Abbreviating, click.Command):
    """`click.Command` with abbreviations."""


class AbbreviatingGroup(_Abbreviating, click.Group):
    """`click.Group` with abbreviations; of a command that stands one level above, it says so."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            parent = ctx.parent
            if parent is None or not isinstance(parent.command, click.Group):
                raise
            if parent.command.get_command(parent, args[0]) is None:
                raise
            above = f"It is a command of its own: {command(*parent.command_path.split(), args[0])}."
            raise click.UsageError(f"{error.message} {above}", ctx) from error
