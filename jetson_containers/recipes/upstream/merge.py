"""How the definition files of one directory in upstream's format become packages. Standard library only.

`config.py` runs in a child process that cannot be given much; this is what parent and child share. A definition is a
plain dict of upstream's keys, and the state between files is whatever `package` would be there: one dict, a dict of
named dicts, or lists of them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UPSTREAM_KEYS = frozenset(
    {
        "alias",
        "build_args",
        "build_flags",
        "buildkit_device",
        "config",
        "depends",
        "disabled",
        "dockerfile",
        "docs",
        "group",
        "name",
        "notes",
        "path",
        "postfix",
        "prefix",
        "requires",
        "test",
    }
)
# Ours, where a definition may say them too: they are one value each and mean nothing to the merging.
OUR_KEYS = frozenset({"coexist", "gpu_at_build", "license", "memory_per_job", "network", "timeout"})
KEYS = UPSTREAM_KEYS | OUR_KEYS
# Text that stands for a list of one. `requires` is text or a list in both worlds.
LIST_KEYS = frozenset({"alias", "config", "depends", "test"})


class Malformed(Exception):  # noqa: N818 - becomes a RecipeError where file and line are known
    """A `package` that is not a definition; the text says why."""


def is_definition(value: Any) -> bool:
    """Whether a value is a dict of nothing but known keys; the empty one is, as upstream has it."""
    return isinstance(value, dict) and all(key in KEYS for key in value)


def is_nested(data: Mapping[str, Any]) -> bool:
    """Whether a file maps names to definitions rather than keys to values."""
    return bool(data) and all(key not in KEYS and is_definition(value) for key, value in data.items())


def listed(value: Any) -> list[Any]:
    """A text as a list of one, a list, tuple or set as a list, nothing as an empty one."""
    if value is None or value == "":
        return []
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return list(value) if isinstance(value, list | tuple) else [value]


def switched_on(value: Any) -> bool:
    """Whether `disabled` says so: Python's truth, but the texts that YAML means as no are no."""
    return bool(value) and str(value).lower() not in {"false", "no", "off", "0"}


def with_lists(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with lists where upstream's code expects lists."""
    return {key: listed(value) if key in LIST_KEYS else value for key, value in definition.items()}


def apply_data(package: dict[str, Any], data: Mapping[str, Any], header_of: Callable[[str], Mapping[str, Any]]) -> None:
    """Merge a YAML or JSON file into the package so far.

    `header_of` gives the header of a Dockerfile by name: where one of several named definitions has a Dockerfile of
    its own, that header has the last word.
    """
    if not is_nested(data):
        package.update(with_lists(dict(data)))
    elif len(data) == 1:
        ((name, entry),) = data.items()
        package.update({"name": name, **with_lists(copy.deepcopy(entry))})
    else:
        parent = {key: value for key, value in package.items() if key in KEYS}
        for name, entry in data.items():
            definition = {**copy.deepcopy(parent), **with_lists(copy.deepcopy(entry))}
            if isinstance(entry.get("dockerfile"), str) and entry["dockerfile"]:
                definition.update(with_lists(dict(header_of(entry["dockerfile"]))))
            package[name] = {**definition, "name": name}


def flatten(value: Any, parent: Mapping[str, Any], notes: list[str]) -> list[dict[str, Any]]:
    """The definitions in what `package` is after the last file, in their order, several of one name included.

    A definition without a `path` was made from nothing and takes from `parent` what it does not say; None is a
    package that is disabled. What a reader may wonder about goes to `notes`. Raises Malformed.
    """
    if value is None:
        return [{**parent, "disabled": True}]
    return [_with_text_args(_complete(item, parent, notes), notes) for item in _walk(value)]


def _walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list | tuple):
        for item in value:
            if item is not None:
                yield from _walk(item)
    elif isinstance(value, dict):
        inner = {key: entry for key, entry in value.items() if key not in KEYS and is_definition(entry)}
        for name, entry in inner.items():
            yield {**entry, "name": name}
        if not inner:
            yield value
    else:
        raise Malformed(f"`package` must be a dict, a list of dicts or None; there is a {type(value).__name__} in it")


def _complete(definition: dict[str, Any], parent: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    name = definition.get("name", parent["name"])
    if isinstance(name, dict | list | tuple | set | frozenset):
        raise Malformed(f"`name` must be text, and is a {type(name).__name__}")
    for key in definition:
        if key not in KEYS:
            meant = did_you_mean(str(key).lower(), UPSTREAM_KEYS)
            notes.append(f"`{name}` has a key `{key}`, which has no effect{meant and '; '}{meant}")
    known = {key: value for key, value in definition.items() if key in KEYS}
    if "path" not in known:
        known = {**copy.deepcopy(dict(parent)), **known}
    return with_lists({"name": parent["name"], **known})


def _with_text_args(definition: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """The definition with build arguments as text, as Python writes them: upstream passes `str(value)`."""
    args = definition.get("build_args")
    if not isinstance(args, dict):
        return definition
    result = {}
    for key, value in args.items():
        if isinstance(value, list | tuple | dict | set | frozenset):
            notes.append(
                f"`{definition['name']}`: the build argument `{key}` is a {type(value).__name__}; "
                f"the Dockerfile gets the text `{value}`"
            )
            value = str(value)  # noqa: PLW2901 - the next line takes it
        result[key] = value
    return {**definition, "build_args": result}


def clean(value: Any) -> Any:
    """The value as JSON can hold it: tuples and sets are lists, and what JSON does not know is its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((clean(item) for item in value), key=str)
    return str(value)
