"""Short forms of JSON Schema (2020-12), in which `json_results` writes down what commands print.

A type of Python stands for itself, a list with one item for a list, a dictionary for an object with these keys; a key
that ends in `?` may be missing. `FieldsOf` takes the fields of a dataclass.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
_NAMES = {
    "Mapping": Mapping,
    "Sequence": Sequence,
    "Iterable": Iterable,
    "Callable": Callable,
    "Path": Path,
    "Any": Any,
}


@dataclass(frozen=True)
class Maybe:
    """A value or null."""

    of: Any


@dataclass(frozen=True)
class MapOf:
    """An object with any keys, whose values are alike."""

    of: Any


@dataclass(frozen=True)
class OneOf:
    """One of several results, for instance of a dry run and of a real one."""

    of: tuple[Any, ...]


@dataclass(frozen=True)
class FieldsOf:
    """A dataclass, named as `module:class` below the package, with what its JSON has beside its fields."""

    name: str
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class With:
    """An object, and further keys."""

    base: Mapping[str, Any]
    more: Mapping[str, Any]


def document(title: str, form: Any) -> dict[str, Any]:
    """The schema of one command."""
    return {"$schema": DIALECT, "title": title, **schema(form)}


def schema(form: Any) -> dict[str, Any]:
    """The schema of a short form. Raises TypeError for what is none."""
    if form is Any:
        return {}
    if isinstance(form, type) and form in _PLAIN:
        return {"type": _PLAIN[form]}
    if isinstance(form, list) and len(form) == 1:
        return {"type": "array", "items": schema(form[0])}
    make = _FORMS.get(type(form))
    if make is None:
        raise TypeError(f"no form of a schema: {form!r}")
    return make(form)


def _object(keys: Mapping[str, Any]) -> dict[str, Any]:
    """An object; readers must expect keys that are added later, so others are allowed."""
    properties = {key.removesuffix("?"): schema(form) for key, form in keys.items()}
    return {"type": "object", "properties": properties, "required": [key for key in keys if not key.endswith("?")]}


_FORMS: Mapping[type, Callable[[Any], dict[str, Any]]] = {
    dict: _object,
    Maybe: lambda form: {"anyOf": [schema(form.of), {"type": "null"}]},
    MapOf: lambda form: {"type": "object", "additionalProperties": schema(form.of)},
    OneOf: lambda form: {"anyOf": [schema(each) for each in form.of]},
    FieldsOf: lambda form: _object({**fields(_class(form.name)), **form.more}),
    With: lambda form: _object({**form.base, **form.more}),
}


def _class(name: str) -> type:
    module, _, kind = name.partition(":")
    found: type = getattr(importlib.import_module(f"jetson_containers.{module}"), kind)
    return found


def fields(kind: type) -> dict[str, Any]:
    """The short forms of a dataclass's fields, as `Console.result_json` writes them.

    A type that its module only imports for type checkers can be anything here.
    """
    names: dict[str, Any] = dict(_NAMES)
    while True:
        try:
            hints = typing.get_type_hints(kind, localns=names)
        except NameError as error:
            names[str(error.name)] = Any
        else:
            return {field.name: _form(hints[field.name]) for field in dataclasses.fields(kind)}


def _form(hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, types.UnionType}:
        known = [_form(each) for each in arguments if each is not type(None)]
        form = known[0] if len(known) == 1 else OneOf(tuple(known))
        return Maybe(form) if type(None) in arguments else form
    if origin in {tuple, list, Sequence, Iterable}:
        return [_form(arguments[0])]
    if origin in {dict, Mapping}:
        return MapOf(_form(arguments[1]))
    return _of_class(hint) if isinstance(hint, type) else Any


def _of_class(kind: type) -> Any:
    if dataclasses.is_dataclass(kind):
        return fields(kind)
    if issubclass(kind, enum.Enum):
        return type(next(iter(kind)).value)
    return kind if kind in _PLAIN else str if issubclass(kind, Path) else Any
