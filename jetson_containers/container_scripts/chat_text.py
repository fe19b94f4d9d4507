"""Chat messages to the text a model continues: its own template, or a plain form for models without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Callable, Dict, List

    Messages = List[Dict[str, str]]


def plain(messages: Messages) -> str:
    """`User: …` and `Assistant: …`, as people write dialogues: for base models, which have no template."""
    lines = []
    for message in messages:
        name = "" if message["role"] == "system" else f"{message['role'].capitalize()}: "
        lines.append(f"{name}{message['content'].strip()}")
    return "\n".join([*lines, "Assistant:"])


def fold_system(messages: Messages) -> Messages:
    """The system message as the beginning of the user's first: some templates refuse a system role."""
    system = "\n".join(message["content"] for message in messages if message["role"] == "system")
    others = [dict(message) for message in messages if message["role"] != "system"]
    if system and others:
        others[0]["content"] = f"{system}\n\n{others[0]['content']}"
    return others


def apply(template: Callable[[Messages], Any], messages: Messages) -> Any:
    """Apply a model's template; where it refuses a system message, again with that folded in. Raises what it raises."""
    try:
        return template(messages)
    except Exception:
        folded = fold_system(messages)
        if not folded or folded == messages:
            raise
        return template(folded)


def template_of(directory: str) -> str:
    """The chat template of a checkpoint: a file of its own, or in tokenizer_config.json; empty without one."""
    own = Path(directory, "chat_template.jinja")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    path = Path(directory, "tokenizer_config.json")
    found = json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.is_file() else None
    if isinstance(found, list):  # several by name
        found = next((entry["template"] for entry in found if entry["name"] == "default"), "")
    return str(found or "")


def render(template: str, messages: Messages, **tokens: str) -> str:
    """Render with Jinja as transformers does, for libraries that do not."""
    import jinja2.sandbox

    def refuse(reason: str) -> None:
        raise ValueError(reason)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True, **tokens)
