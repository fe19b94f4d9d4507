"""Which architecture a runtime's interface loads, and which of its quantizations it can have. Pure.

MLC's are the tables that tools/mlc_tables.py reads from its sources; the others are `architectures.yaml` and the rows
of `runtimes.yaml`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from jetson_containers.core.facts import load_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.llm.models.config import ModelConfig

ANY = "*"  # an interface that loads whatever is made of linear layers


@functools.cache
def families(runtime: str, interface: str) -> frozenset[str]:
    """The `model_type`s that an interface loads; `*` stands for all."""
    if runtime == "mlc":
        return frozenset(load_facts("mlc_tables")[interface]["models"])
    return frozenset(load_facts("architectures")[runtime][interface])


def interfaces(runtime: str) -> tuple[str, ...]:
    """The interfaces of a runtime that have a list."""
    return tuple(load_facts("mlc_tables") if runtime == "mlc" else load_facts("architectures")[runtime])


def quantizes(runtime: str, interface: str, name: str, config: ModelConfig | None) -> bool:
    """Whether a model can have a quantization. True where the model, or the quantization, is not known here."""
    if config is None or not config.model_type:
        return True
    if runtime == "mlc":
        return _mlc(interface, name, config)
    row = load_facts("runtimes")["runtimes"].get(runtime, {}).get(interface, {})
    mode = row.get("quantizations", {}).get(name, {})
    if "models" not in mode or config.model_type not in families(runtime, row["models"]):
        return True
    return config.model_type in families(runtime, mode["models"])


def having(interface: str, name: str) -> tuple[str, ...]:
    """The architectures that MLC can have in a quantization, whatever else decides."""
    table: Mapping[str, Any] = load_facts("mlc_tables")[interface]
    kind = table["quantizations"][name]["kind"]
    return tuple(sorted(family for family, kinds in table["models"].items() if kind in kinds))


def _mlc(interface: str, name: str, config: ModelConfig) -> bool:
    table: Mapping[str, Any] = load_facts("mlc_tables")[interface]
    mode = table["quantizations"].get(load_facts("mlc")["renamed"][interface].get(name, name))
    kinds = table["models"].get(config.model_type)
    if mode is None or kinds is None:
        return True
    if mode["kind"] not in kinds:
        return False
    # experts have a quantization of their own, which has no layout KN
    experts = config.experts > 0 and config.model_type in table.get("experts", ())
    return not (experts and mode.get("layout") == "KN")
