"""Data files and headers of directories in upstream's format, read as upstream reads them: with `yaml.safe_load`.

Text becomes numbers and switches, because a `config.py` computes with them (see `yaml_lines` for the one exception).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.recipes import files, reader, yaml_lines
from jetson_containers.recipes.upstream import merge

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OUR_FORMAT = re.compile(
    r"^(?:aliases|args|artifacts|platforms|source|variants|versions):", re.MULTILINE
)  # without parsing
_OURS = {"aliases": "alias", "args": "build_args"}
_NOT_MERGED = frozenset({"artifacts", "platforms", "source", "variants", "versions"})


def definition(path: Path, tree: Path) -> dict[str, Any] | None:
    """What a file says if it is a definition of upstream's; a file of any other content is none of ours."""
    try:
        text = files.read_text(path, tree=tree)
        if path.name in files.CONFIG_FILES and _OUR_FORMAT.search(text):
            return None
        data, _ = _load(text, path)
    except (OSError, ValueError, RecipeError):
        return None
    # Upstream takes an empty file for a definition too; it defines nothing.
    return data if data and _is_any(data) else None


def named_data(path: Path, tree: Path) -> dict[str, Any]:
    """What a file says that the header's `config` names. Raises RecipeError where it is not a definition."""
    data, lines = _load(files.read_text(path, tree=tree), path)
    if not _is_any(data):
        _check_keys(data, lines, path)
        for name, entry in data.items():
            if isinstance(entry, dict):
                _check_keys(entry, lines, path, f"{name}.")
    return data


def header_data(path: Path, tree: Path) -> dict[str, Any]:
    """The header of a Dockerfile; empty where there is none. Raises RecipeError."""
    text = reader.header_text(files.read_text(path, tree=tree))
    if text is None:
        return {}
    data, lines = _load(text, path)
    for key in _NOT_MERGED & data.keys():
        message = f"`{key}` cannot stand beside definitions in upstream's format"
        raise RecipeError(message, path=path, line=lines.get(key))
    result = {_OURS.get(key, key): value for key, value in data.items()}
    _check_keys(result, lines, path)
    return result


def _is_any(data: Mapping[str, Any]) -> bool:
    return merge.is_definition(data) or merge.is_nested(data)


def _load(text: str, path: Path) -> tuple[dict[str, Any], Mapping[str, int]]:
    """A mapping and the lines of its keys. Raises RecipeError, or ValueError for broken JSON."""
    lines: Mapping[str, int] = {}
    if path.suffix == ".json":  # which is not always YAML: tabs
        try:
            data = json.loads(text[: yaml_lines.LONGEST + 1], parse_float=yaml_lines.number)
            yaml_lines.check_size(data, path)
        except RecursionError:
            raise RecipeError("broken JSON: nested too deeply", path=path) from None
        except ValueError as error:
            line = getattr(error, "lineno", None)
            raise RecipeError(f"broken JSON: {error}", path=path, line=line) from None
    else:
        document = yaml_lines.parse(text, path, native=True)
        data, lines = document.data, document.lines
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise RecipeError("a definition must be a mapping of keys to values", path=path, line=lines.get(""))
    return data, lines


def _check_keys(data: Mapping[str, Any], lines: Mapping[str, int], path: Path, prefix: str = "") -> None:
    """Refuse unknown keys. Upstream drops all of such a header, its `depends` too, with a warning."""
    for key in data:
        if key not in merge.KEYS:
            known = merge.KEYS
            hint = did_you_mean(key, known, otherwise=f"known keys: {', '.join(sorted(known))}")
            raise RecipeError(f"unknown key `{key}`", path=path, line=lines.get(prefix + key), hint=hint)
