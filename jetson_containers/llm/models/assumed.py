"""What the classes of transformers assume of sizes that a configuration leaves out (`facts/class_defaults.yaml`).

Published configurations state only what differs from their class, of inner models and encoders above all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jetson_containers.core.facts import load_facts, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every whole configuration states these: they are assumed only of a model inside another.
_OWN = frozenset(
    {
        "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size", "n_embd",
        "n_layer", "n_head", "n_inner",
    }
)  # fmt: skip


@functools.cache
def sizes(model_type: str) -> Mapping[str, Any]:
    """What the class of a model type assumes; of one around a language model, what that one's class does."""
    rows = load_facts("class_defaults")["sizes"]
    inner = rows.get(part(model_type, "text_config"), {})
    return {key: plain(value) for key, value in {**inner, **rows.get(model_type, {})}.items()}


def beyond_its_own(model_type: str) -> Mapping[str, Any]:
    """The same without what every whole configuration states itself."""
    return {key: value for key, value in sizes(model_type).items() if key not in _OWN}


def part(model_type: str, key: str) -> str:
    """The model type of what stands below `key` in a configuration of this model type; empty where none is assumed."""
    return str(load_facts("class_defaults")["parts"].get(model_type, {}).get(key, ""))
