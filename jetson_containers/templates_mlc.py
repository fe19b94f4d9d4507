"""Which conversation template MLC uses for a model: by its name, then by its architecture; base models get `LM`.

A wrong template does not fail: the model answers worse, or never stops. Pure; the table is `facts/conv_templates.yaml`.
"""

from __future__ import annotations

import difflib
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.modelconfig import ModelConfig

PLAIN = "LM"  # continues a text, without roles


@dataclass(frozen=True)
class Choice:
    """A template, and what there is to say about it."""

    template: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rule:
    template: str
    name: re.Pattern[str]
    chat: bool  # only for models whose name promises a conversation


def registered() -> tuple[str, ...]:
    """The names `--conv-template` knows."""
    return tuple(_table()["registered"])


def choose(name: str, config: ModelConfig | None, wanted: str = "") -> Choice:
    """Choose the template for a model of that name; `wanted` is the user's own choice and always taken."""
    if wanted:
        return Choice(wanted, () if wanted in registered() else (_unknown(wanted),))
    chat = re.search(_table()["chat"], name, re.IGNORECASE) is not None
    for rule in _rules():
        if rule.name.search(name) and (chat or not rule.chat):
            return Choice(rule.template)
    kind = config.model_type if config else ""
    if chat and (template := _table()["by_type"].get(kind)):
        notice = f"no conversation template is known for `{name}`; `{template}` is that of its family ({kind})"
        return Choice(template, (notice,))
    if chat:
        return Choice(PLAIN, (f"no conversation template is known for `{name}`: choose one with --conv-template",))
    return Choice(
        PLAIN, (f"`{name}` looks like a base model: it continues texts (template `{PLAIN}`), it does not chat",)
    )


def old_template(name: str, config: ModelConfig | None) -> str:
    """The template the old interface takes; it has no option for it."""
    lower = name.lower()
    prefixes: Mapping[str, str] = _table()["old_prefixes"]
    found = [prefix for prefix in prefixes if lower.startswith(prefix)]
    if found:
        return prefixes[max(found, key=len)]
    return f"{config.model_type}_default" if config else ""


def _unknown(wanted: str) -> str:
    close = difflib.get_close_matches(wanted, registered(), n=3)
    hint = f"; near it: {', '.join(close)}" if close else ""
    return f"MLC has no conversation template `{wanted}`, and would only warn and then fail when it chats{hint}"


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(
        _Rule(row["template"], re.compile(row["name"], re.IGNORECASE), row.get("chat", "yes") != "no")
        for row in _table()["rules"]
    )


def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = tables.load("conv_templates")
    return table
