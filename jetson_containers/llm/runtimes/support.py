"""Whether a runtime loads a model, by the lists of `facts/`: yes, no, or not known to them. Pure.

The outer `model_type` of a configuration decides what loads, also where only the part inside it is a language model.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from jetson_containers.core.facts import load_facts
from jetson_containers.llm.runtimes import limits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from jetson_containers.llm.models.config import ModelConfig, Quantized


def loads(names: Collection[str], config: ModelConfig) -> bool:
    """Whether a list of model types has this one."""
    return "*" in names or not config.model_type or any(name in names for name in config.names)


# Command lines that print the classes of models that a runtime loads, each on a line of its own after `-`.
LISTINGS: Mapping[str, tuple[str, ...]] = {
    "llama_cpp": ("convert_hf_to_gguf.py", "--print-supported-models"),
    "vllm": (
        "python3",
        "-c",
        "from vllm import ModelRegistry as r; print(*(f'- {name}' for name in r.get_supported_archs()), sep=chr(10))",
    ),
}
_FEWEST = 10  # fewer names are an error message that looks like a list


def listed_by(runtime: str, probed: Mapping[str, str]) -> frozenset[str]:
    """The classes that the runtime of the image says it loads; empty where it was not asked, or did not answer."""
    printed = probed.get(" ".join(LISTINGS.get(runtime, ())), "")
    models = printed.partition("MMPROJ models")[0]  # after it stand encoders, which llama.cpp converts by themselves
    found = frozenset(re.findall(r"^\s*- (\w+)\s*$", models, flags=re.MULTILINE))
    return found if len(found) >= _FEWEST else frozenset()


def knows(runtime: str, kind: str, config: ModelConfig, probed: Mapping[str, str] | None = None) -> bool | None:
    """Whether a runtime's interface loads an architecture; None where its list is not all that it loads.

    `probed`: what the image printed. Its own list decides where there is one: a class that vLLM lacks may still load
    through transformers.
    """
    listed_there = listed_by(runtime, probed or {})
    if listed_there and config.architecture:
        return True if config.architecture in listed_there else False if runtime == "llama_cpp" else None
    names = limits.families(runtime, kind)
    if limits.ANY in names:
        return generic(config)
    if loads(names, config):
        return True
    if any(loads(limits.families(runtime, other), config) for other in limits.interfaces(runtime) if other != kind):
        return False
    if runtime == "llama_cpp" and not generic(config):
        return None  # newer than all our lists, its converter may be as well
    return False if runtime in load_facts("architectures")["complete"] else None


def generic(config: ModelConfig) -> bool | None:
    """What loads anything made of linear layers knows a model type that some list has; of others it is not known."""
    if not config.model_type:
        return True
    return True if listed() & set(config.names) else None


@functools.cache
def listed() -> frozenset[str]:
    """All model types that some runtime's list has."""
    lists = load_facts("architectures")
    runtimes = ["mlc", *(name for name in lists if isinstance(lists[name], dict))]
    rows = [limits.families(name, interface) for name in runtimes for interface in limits.interfaces(name)]
    return frozenset(kind for row in (*rows, lists["remote_code"]) for kind in row) - {limits.ANY}


def reads(runtime: str, methods: Collection[str], quantized: Quantized) -> bool | None:
    """Whether a runtime reads a checkpoint that is quantized already; None where that is not known."""
    if quantized.method in methods:
        return True
    table = load_facts("runtimes")
    return None if runtime in table["open"] and quantized.method not in table["own"] else False


def kept(runtime: str, config: ModelConfig | None) -> str:
    """The quantization that leaves a checkpoint's own number format as it is; empty where none does."""
    if config is None or config.quantized is None:
        return ""
    form = config.quantized.form
    rows = load_facts("runtimes")["runtimes"].get(runtime, {}).values()
    return next((str(row["keeps"][form]) for row in rows if form in row.get("keeps", ())), "")


def lowest_sm(quantized: Quantized) -> int:
    """Compute capability ×10 from which on the format of a checkpoint is read; 0: any."""
    return _limit("checkpoint_sm", quantized)


def weight_only_sm(quantized: Quantized) -> int:
    """The compute capability below which kernels are used that no report covers on a Jetson; 0: none."""
    return _limit("checkpoint_weight_only", quantized)


def _limit(table: str, quantized: Quantized) -> int:
    limits = load_facts("runtimes")[table]
    names = (quantized.form, quantized.method, f"{quantized.method}-{quantized.bits:g}")
    return next((int(limits[name]) for name in names if name in limits), 0)
