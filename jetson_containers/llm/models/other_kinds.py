"""Repositories and folders that hold no language model: what they hold instead, from `facts/other_kinds.yaml`. Pure."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class OtherKindError(UsageError):
    """It holds no language model: no runtime is asked whether it loads it all the same."""


@dataclass(frozen=True, kw_only=True)
class OtherKind:
    """One kind: its name with an article, packages that run such models, and how it is recognized."""

    name: str
    packages: tuple[str, ...]
    types: frozenset[str]
    keys: tuple[frozenset[str], ...]  # of a configuration: all of one group
    files: tuple[str, ...]  # ends of names

    @property
    def hint(self) -> str | None:
        """Who runs it, where a package here does."""
        if not self.packages:
            return None
        return f"packages here for that: {', '.join(f'`{name}`' for name in self.packages)}"


def refuse_config(config: Mapping[str, Any], origin: str) -> None:
    """Raises OtherKindError for the configuration of what is not a language model, saying what it is."""
    model_type = config.get("model_type")
    for kind in _kinds():
        by_type = isinstance(model_type, str) and model_type in kind.types
        if by_type or (not model_type and any(group <= config.keys() for group in kind.keys)):
            named = f" ({model_type})" if by_type else ""
            raise OtherKindError(f"{origin} is that of {kind.name}{named}, not of a language model", hint=kind.hint)


def refuse_files(names: Iterable[str], model: str) -> None:
    """Raises OtherKindError where a file without a configuration beside it says what is there."""
    listed = sorted(names)
    for kind in _kinds():
        for end in kind.files:
            found = next((name for name in listed if name.endswith(end)), "")
            if found:
                raise OtherKindError(f"`{model}` holds {kind.name} ({found}), not a language model", hint=kind.hint)


def silent(architecture: str, model_type: str, files: Iterable[str] = ()) -> str:
    """What a language model is that writes no text, with an article: it makes vectors or scores; empty for others."""
    rows = load_facts("other_kinds")["silent"]
    by_class = (
        kind
        for kind, row in rows.items()
        if architecture.endswith(tuple(row["classes"])) or architecture in row.get("bare", ())
    )
    by_type = (
        kind
        for kind, row in rows.items()
        if model_type in row.get("types", ()) and not architecture.endswith(_WRITES_TEXT)
    )
    there = frozenset(files)
    by_files = (kind for kind, row in rows.items() if there & {*row.get("files", ())})
    return next((kind for found in (by_class, by_type, by_files) for kind in found), "")


_WRITES_TEXT = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")  # ends of classes; `bert` has such ones too


@functools.cache
def _kinds() -> tuple[OtherKind, ...]:
    return tuple(
        OtherKind(
            name=name,
            packages=tuple(row.get("with", ())),
            types=frozenset(row.get("types", ())),
            keys=tuple(frozenset(group) for group in row.get("keys", ())),
            files=tuple(row.get("files", ())),
        )
        for name, row in load_facts("other_kinds")["kinds"].items()
    )
