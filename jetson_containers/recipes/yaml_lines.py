"""YAML as recipes use it: scalars stay the text that was written, and every value knows its line.

A version such as `2.10`, an option such as `on` or a commit such as `1234567e8` must reach a recipe as written, so
numbers and switches are not converted: a scalar is `str`, only a plain `null`, `~` or nothing is None, and plain
`True`/`TRUE`/`False`/`FALSE` are written `true`/`false`. Duplicate keys are errors, because the loser is never meant.

Trees in upstream's format were written for `yaml.safe_load`; `parse(…, native=True)` reads as that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import yaml

from jetson_containers.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# typing.Union because a recursive alias is evaluated at run time, where `|` cannot take a forward reference.
Value = Union[str, int, float, None, list["Value"], dict[str, "Value"]]  # noqa: UP007

# PyYAML without libyaml is ten times slower, and otherwise the same.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

LONGEST = 1 << 18  # characters; more is not a definition, and takes seconds to parse
MOST_VALUES = 10_000  # values of a document, those that an alias repeats counted each time
MOST_TEXT = 1 << 20  # characters of these together
DEEPEST = 32  # values within values
LONGEST_KEY = 256

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})
_MERGE = "tag:yaml.org,2002:merge"
_QUOTED = frozenset({"'", '"', "|", ">"})  # or a block: exactly what was written
_CANONICAL = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"}


@dataclass(frozen=True)
class Document:
    """A YAML document. `lines` maps `versions[0].args.X` to a 1-based line; the empty key is the document's own."""

    data: Value
    lines: Mapping[str, int] = field(default_factory=dict)


def parse(text: str, path: Path, *, native: bool = False) -> Document:
    """Parse one document; an empty one has data None. Raises RecipeError with the line of `text` in `path`.

    With `native`, switches and numbers are converted, `<<` merges and the last of two equal keys counts. Only a number
    that would not be written the same again (`1.10`) stays text: its author meant a version.
    """
    if len(text) > LONGEST:
        raise RecipeError(f"has more than {LONGEST >> 10} KiB of YAML", path=path)
    lines: dict[str, int] = {}
    try:
        node = _composed(text, path)
        return Document(None if node is None else _Builder(path, lines, native).build(node, ""), lines)
    except RecursionError:
        raise RecipeError("broken YAML: nested too deeply", path=path) from None


def _composed(text: str, path: Path) -> yaml.Node | None:
    try:
        loader = _LOADER(text)  # which refuses control characters at once
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, path) from None
    try:
        node: yaml.Node | None = loader.get_single_node()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, path) from None
    finally:
        loader.dispose()
    return node


def _syntax_error(error: yaml.YAMLError, text: str, path: Path) -> RecipeError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    context = getattr(error, "context", None)
    what = f"{problem} ({context})" if context else problem
    line = text.splitlines()[mark.line : mark.line + 1] if mark else []
    hint = "there is a tab: YAML is indented with blanks" if line and "\t" in line[0] else None
    return RecipeError(f"broken YAML: {what}", path=path, line=mark.line + 1 if mark else None, hint=hint)


class _Builder:
    """Turns nodes into values, noting lines on the way."""

    def __init__(self, path: Path, lines: dict[str, int], native: bool) -> None:
        self._path = path
        self._lines = lines
        self._native = native
        self._open: set[int] = set()  # nodes being built: an alias to one of them would never end
        self._values = self._text = 0

    def _count(self, node: yaml.Node) -> None:
        """Count one value: a few aliases of aliases can stand for more than there is memory."""
        self._values += 1
        self._text += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        if self._values > MOST_VALUES or self._text > MOST_TEXT:
            limit = f"{MOST_VALUES} values or {MOST_TEXT >> 20} MiB of text"
            raise self._error(f"more than {limit}, with aliases written out", node)
        if len(self._open) > DEEPEST:
            raise self._error(f"nested too deeply: more than {DEEPEST} levels", node)

    def build(self, node: yaml.Node, key: str) -> Value:
        self._count(node)
        self._lines.setdefault(key, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return _converted(node) if self._native else _scalar(node)
        if id(node) in self._open:
            raise self._error("an alias that contains itself", node)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, f"{key}[{index}]") for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)  # noqa: S101 - YAML has no fourth kind
            return self._mapping(node, key)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, prefix: str) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key_node, value_node in self._merged(node) if self._native else node.value:
            if not isinstance(key_node, yaml.ScalarNode) or len(key_node.value) > LONGEST_KEY:
                raise self._error("a key must be a plain word", key_node)
            if key_node.tag == _MERGE:
                raise self._error("merge keys (`<<`) are not part of the recipe format", key_node)
            name = key_node.value
            if name in result and not self._native:
                raise self._error(f"key `{name}` is given twice", key_node)
            path = f"{prefix}.{name}" if prefix else name
            self._lines[path] = key_node.start_mark.line + 1
            result[name] = self.build(value_node, path)
        return result

    def _merged(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The entries of a mapping, those that `<<` brings in first, so that its own and earlier ones win."""
        self._count(node)
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in reversed(sources):
                if not isinstance(source, yaml.MappingNode) or id(source) in self._open:
                    raise self._error("`<<` needs a mapping, or a list of them", key)
                self._open.add(id(source))
                yield from self._merged(source)
                self._open.discard(id(source))
        yield from ((key, value) for key, value in node.value if key.tag != _MERGE)

    def _error(self, message: str, node: yaml.Node) -> RecipeError:
        return RecipeError(message, path=self._path, line=node.start_mark.line + 1)


def _scalar(node: yaml.ScalarNode) -> str | None:
    if node.style in _QUOTED:
        return str(node.value)
    if node.tag == _NULL:
        return None
    return _CANONICAL.get(node.value, node.value) if node.tag == _BOOL else str(node.value)


def _converted(node: yaml.ScalarNode) -> str | float | None:
    """The scalar as `yaml.safe_load` has it; numbers as `number` does."""
    if node.style in _QUOTED or node.tag not in {_BOOL, *_NUMBERS}:
        return _scalar(node)
    return node.value.lower() in {"yes", "true", "on"} if node.tag == _BOOL else number(node.value)


def check_size(data: Any, path: Path) -> None:
    """Hold data of another format (JSON) to the same bounds. Raises RecipeError."""
    waiting, values = [(data, 0)], 0
    while waiting:
        item, depth = waiting.pop()
        values += 1
        if depth > DEEPEST or values > MOST_VALUES:
            raise RecipeError(f"more than {MOST_VALUES} values, or more than {DEEPEST} levels of them", path=path)
        if isinstance(item, dict):
            waiting += [(value, depth + 1) for value in item.values()]
        elif isinstance(item, list):
            waiting += [(value, depth + 1) for value in item]


def number(text: str) -> str | float:
    """The number that a text is, or the text where it would not be written the same again (`1.10`, `0x10`)."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:
            return value
    return text
