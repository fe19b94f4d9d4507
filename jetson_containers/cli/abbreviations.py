"""Long options may be cut short as long as one option alone begins so: `--list` is `--list-packages`, as upstream's.

Not in `run`, whose options are docker's.
"""

from __future__ import annotations

from typing import Any

import click


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


class AbbreviatingCommand(_Abbreviating, click.Command):
    """`click.Command` with abbreviations."""


class AbbreviatingGroup(_Abbreviating, click.Group):
    """`click.Group` with abbreviations."""
