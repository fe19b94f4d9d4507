"""`llm show`: what a model says of itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.console import human_bytes

if TYPE_CHECKING:
    from jetson_containers.llm.models.details import ModelDetails

_FIELDS = {
    "name": "model", "origin": "from", "commit": "commit", "format": "format", "title": "title",
    "architecture": "architecture", "model_class": "class", "parameters": "parameters", "layers": "layers",
    "hidden": "hidden size", "heads": "attention heads", "kv_heads": "KV heads", "head_dim": "head size",
    "vocabulary": "vocabulary", "context": "context", "sliding_window": "sliding window", "experts": "experts",
    "experts_used": "experts per token", "quantization": "quantization", "tokenizer": "tokenizer",
    "license": "license",
}  # fmt: skip
_LONGEST = 100  # characters of a value of the metadata


@command("show")
@click.argument("model")
@click.option("--quantization", default="", metavar="NAME", help="Choose among the GGUF files of a name.")
@click.option("--metadata", is_flag=True, help="Also list all metadata of a GGUF file.")
@click.option("--template", is_flag=True, help="Print the chat template alone.")
def show(app: App, /, *, model: str, quantization: str, metadata: bool, template: bool) -> int:
    """Show what MODEL says of itself: architecture, context, types of tensors, tokenizer, license, files.

    MODEL is a .gguf file, a directory, or a name as in `llm fit`, of which no weights are downloaded.

    Example: jetson-containers llm show Qwen/Qwen2.5-1.5B-Instruct
    """
    from jetson_containers.core.errors import NothingMatchedError
    from jetson_containers.llm.models.details import details
    from jetson_containers.llm.models.lookup import as_typed, split_quantization

    model, quantization = split_quantization(as_typed(model, app.settings), quantization)
    found = details(model, quantization, app.settings, app.console)
    if app.console.as_json:
        app.console.result_json(found)
        return 0
    if template:
        if not found.chat_template:
            raise NothingMatchedError(f"`{found.name}` has no chat template")
        app.console.result(found.chat_template)
        return 0
    _print(app, found, metadata=metadata)
    return 0


def _print(app: App, found: ModelDetails, *, metadata: bool) -> None:
    table = app.console.table
    table(("field", "value"), _rows(found), to_result=True)
    if found.types:
        app.console.result("")
        table(("type", "tensors", "elements", "size", "share"), _types(found), to_result=True)
    app.console.result("")
    table(("file", "size"), [(file.name, human_bytes(file.bytes)) for file in found.files], to_result=True)
    if metadata and found.metadata is not None:
        app.console.result("")
        rows = [(key, _cut(value)) for key, value in found.metadata.items()]
        table(("metadata", "value"), rows, to_result=True)
    for sentence in found.missing:
        app.console.warning(sentence)


def _rows(found: ModelDetails) -> list[tuple[str, str]]:
    said = asdict(found)
    rows = [(label, _count(said[key])) for key, label in _FIELDS.items() if said[key] not in (None, "")]
    if found.weights_bytes:
        rows.append(("weights", human_bytes(found.weights_bytes)))
    size = len(found.chat_template)
    rows.append(("chat template", f"{size} characters; --template prints it" if size else "none"))
    return rows


def _count(value: Any) -> str:
    """A value; of large counts also what people say: 1.54 billion."""
    for size, word in ((10**9, "billion"), (10**6, "million")):
        if isinstance(value, int) and value >= size:
            return f"{value / size:.2f} {word}"
    return str(value)


def _types(found: ModelDetails) -> list[tuple[str, ...]]:
    total = sum(kind.bytes for kind in found.types) or 1
    return [
        (kind.type, str(kind.tensors), _count(kind.elements), human_bytes(kind.bytes), f"{kind.bytes / total:.1%}")
        for kind in found.types
    ]


def _cut(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
