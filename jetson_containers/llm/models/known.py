"""The models of `facts/models.yaml`: shapes that are known without a network, and `facts/model_names.yaml`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jetson_containers.core.facts import load_facts, plain
from jetson_containers.llm.models.config import from_hf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.llm.models.config import ModelConfig


@functools.cache
def configs() -> Mapping[str, Mapping[str, Any]]:
    """`config.json` of each model by its hub name, as far as the table has it."""
    return {name: plain(row) for name, row in load_facts("models").items()}


def full_name(name: str) -> str:
    """The hub name a user's name stands for: itself, its last part or a document's; empty if unknown."""
    wanted = name.lower().partition("@")[0]
    for known in configs():
        if wanted in {known.lower(), known.lower().rpartition("/")[2]}:
            return known
    return next((known for called, known in load_facts("model_names").items() if wanted == called.lower()), "")


def config(name: str) -> ModelConfig | None:
    """The shape of a model by its hub name or the last part of it; None for an unknown one."""
    known = full_name(name)
    return _read(known) if known else None


@functools.cache
def _read(known: str) -> ModelConfig:
    return from_hf(configs()[known], f"facts/models.yaml: {known}")
