"""What a user asks of `llm`, and the runtimes there are."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Runtime

# name → class; a runtime's module has that name and is imported when it is asked for.
RUNTIMES = {
    "mlc": "Mlc",
    "llama_cpp": "LlamaCpp",
    "lmdeploy": "Lmdeploy",
    "vllm": "Vllm",
    "transformers": "Transformers",
    "bitsandbytes": "Bitsandbytes",
    "gptq": "Gptq",
    "awq": "Awq",
    "exllama": "ExLlama",
    "exllamav2": "ExLlamaV2",
}
MODULES = {"mlc": "mlc.runtime"}  # where it is not the module of that name
ALIASES = {
    "llama.cpp": "llama_cpp",
    "llamacpp": "llama_cpp",
    "mlc_llm": "mlc",
    "bnb": "bitsandbytes",
    "hf": "transformers",
}


@dataclass(frozen=True, kw_only=True)
class LlmRequest:
    """What was asked. Empty or zero: the runtime's or the model's default; an empty `image` is what autotag finds.

    `context` and `prefill_chunk` are tokens, `max_batch` sequences at the same time.
    """

    model: str
    runtime: str = ""
    quantization: str = ""
    context: int = 0
    max_batch: int = 1
    prefill_chunk: int = 0
    sliding_window: int = 0
    conv_template: str = ""
    device: str = ""
    host: str = ""
    opt: str = ""
    overrides: str = ""
    system_lib_prefix: str = ""
    calibration: str = ""
    samples: int = 0
    threads: int = 0
    image: str = ""
    board: str = ""  # that will run it, where that is not this one: for the fit only
    force: tuple[str, ...] = ()
    start: str = ""
    until: str = ""
    anyway: bool = False  # although it does not fit into this machine's memory
    runtime_options: tuple[str, ...] = ()  # for the runtime's own server


def runtime_named(name: str) -> Runtime:
    """The runtime of that name. Raises UsageError listing the ones there are."""
    known = ALIASES.get(name, name)
    if known not in RUNTIMES:
        meant = did_you_mean(known.lower(), RUNTIMES)
        raise UsageError(f"unknown runtime `{name}`", hint=f"{meant}{meant and ' '}runtimes: {', '.join(RUNTIMES)}")
    module = importlib.import_module(f"jetson_containers.llm.runtimes.{MODULES.get(known, known)}")
    made: Runtime = getattr(module, RUNTIMES[known])()
    return made
