"""Which conversation template MLC uses for a model: by its name, then by its architecture; base models get `LM`.

A wrong template does not fail: the model answers worse, or never stops. Pure; the tables are
`facts/conv_templates.yaml` and `facts/mlc_tables.yaml`.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.facts import load_facts
from jetson_containers.core.suggest import closest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.llm.models.config import ModelConfig

PLAIN = "LM"  # continues a text, without roles


@dataclass(frozen=True, kw_only=True)
class TemplateChoice:
    """A template, and notices about it."""

    template: str  # empty where `missing` is not
    notices: tuple[str, ...] = ()
    missing: str = ""  # why none can be chosen for the user


@dataclass(frozen=True, kw_only=True)
class _Rule:
    template: str
    name: re.Pattern[str]
    chat: bool  # only for chat models, by their name


def registered(interface: str = "new") -> tuple[str, ...]:
    """The templates of an interface of MLC: for the new one what `--conv-template` knows."""
    return tuple(load_facts("mlc_tables")[interface]["templates"])


def choose(
    name: str, config: ModelConfig | None, wanted: str = "", known: frozenset[str] = frozenset()
) -> TemplateChoice:
    """Choose the template for a model of that name; `wanted` is the user's own choice and always taken.

    `known` are those the image has; empty where it was not asked. A chat model never gets the template without roles:
    where none is known for it, the choice says what is missing.
    """
    if wanted:
        return TemplateChoice(template=wanted, notices=() if wanted in (known or registered()) else (_unknown(wanted),))
    best = _best(name, config)
    there = known or frozenset(registered())
    template = best.template
    while template not in there and template not in {"", PLAIN}:
        template = _table()["nearest"].get(template, "")
    if template == best.template:
        return best
    if not template:
        return TemplateChoice(
            template="", missing=f"this MLC has no conversation template `{best.template}`, and none that is similar"
        )
    notice = f"this MLC has no conversation template `{best.template}`; `{template}` is the nearest it has"
    return TemplateChoice(template=template, notices=(*best.notices, notice))


def _best(name: str, config: ModelConfig | None) -> TemplateChoice:
    chat = is_chat_model(name)
    for rule in _rules():
        if rule.name.search(name) and (chat or not rule.chat):
            return TemplateChoice(template=rule.template)
    kind = config.model_type if config else ""
    if chat and (template := _table()["by_type"].get(kind)):
        notice = f"no conversation template is known for `{name}`; `{template}` is that of its family ({kind})"
        return TemplateChoice(template=template, notices=(notice,))
    if chat:
        return TemplateChoice(
            template="", missing=f"`{name}` is a chat model, and no conversation template is known for it"
        )
    return TemplateChoice(
        template=PLAIN,
        notices=(f"`{name}` looks like a base model: it continues text (template `{PLAIN}`) and does not chat",),
    )


def choices(printed: str) -> frozenset[str]:
    """The templates that `mlc_llm gen_config --help` lists; none where it lists none."""
    found = re.search(r"--conv-template \{([^}]+)\}", printed)
    return frozenset(found[1].split(",")) if found else frozenset()


def alternatives(wanted: str, known: frozenset[str] = frozenset()) -> list[str]:
    """What there is instead of a template: its replacement, then those with a similar name."""
    there = known or frozenset(registered())
    template = _table()["nearest"].get(wanted, "")
    while template and template not in there:
        template = _table()["nearest"].get(template, "")
    alike = closest(wanted, sorted(there), 3)
    return [*([template] if template else []), *(name for name in alike if name != template)]


def old_template(name: str, config: ModelConfig | None) -> str:
    """The template the old interface takes, by the model's name; it has no option. Empty: the shape is needed."""
    lower = name.lower()
    if "rwkv" in lower and "world" in lower:
        return "rwkv_world"
    prefixes: Mapping[str, str] = load_facts("mlc_tables")["old"]["prefixes"]
    for prefix, template in prefixes.items():
        if lower.startswith(prefix):
            return template
    return f"{config.model_type}_default" if config else ""


def is_chat_model(name: str) -> bool:
    """Whether a model is one for chat, by its name."""
    return re.search(_table()["chat"], name, re.IGNORECASE) is not None


def _unknown(wanted: str) -> str:
    close = alternatives(wanted)
    hint = f"; similar: {', '.join(close)}" if close else ""
    return f"no known version of MLC has the conversation template `{wanted}`; it may be refused{hint}"


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            template=row["template"], name=re.compile(row["name"], re.IGNORECASE), chat=row.get("chat", "yes") != "no"
        )
        for row in _table()["rules"]
    )


def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = load_facts("conv_templates")
    return table
