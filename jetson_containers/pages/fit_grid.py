"""The fit of known models on all boards, computed for a bounded grid of contexts and quantizations.

A page shows these numbers and computes none: what it says is what `llm fit` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.machine import of_board
from jetson_containers.llm.fit.predict import FitVerdict, predict
from jetson_containers.llm.models import known
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.platforms.tables import Board

MIB = 1 << 20
OLDEST = 35  # the first L4T whose boards a runtime exists for
CONTEXTS = (2048, 4096, 8192, 16384, 32768, 131072)  # tokens
# Runtime and quantization: the defaults, what costs least quality, and no quantization at all.
SETTINGS = (("llama_cpp", "Q4_K_M"), ("llama_cpp", "Q8_0"), ("llama_cpp", "F16"), ("mlc", "q4f16_1"), ("vllm", "fp16"))
# Of the models that are known, those of which tables and charts are made: of each kind some.
MODELS = (
    "Llama-2-7b-chat-hf", "Llama-2-70b-chat-hf", "Meta-Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct",
    "Llama-3.2-3B-Instruct", "Mistral-7B-Instruct-v0.2", "Qwen2.5-7B-Instruct", "internlm-chat-7b", "internlm2-chat-7b",
    "RedPajama-INCITE-Chat-3B-v1", "TinyLlama-1.1B-Chat-v1.0", "Phi-3.5-mini-instruct", "gemma-2-2b-it",
    "Nemotron-Mini-4B-Instruct", "Qwen3-0.6B", "Qwen3-4B", "Qwen3-8B", "Qwen3-32B", "Qwen3-30B-A3B-Instruct-2507",
    "Qwen3-VL-8B-Instruct", "Qwen3.5-4B", "Qwen3.5-9B", "Qwen3.5-35B-A3B", "gemma-3-4b-it", "gemma-3-27b-it",
    "gemma-3n-E4B-it", "gemma-4-E4B-it", "gemma-4-26B-A4B-it", "gpt-oss-20b", "NVIDIA-Nemotron-Nano-9B-v2",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "Ministral-3-8B-Instruct-2512", "Phi-4-mini-instruct", "SmolLM3-3B",
    "LFM2.5-8B-A1B", "granite-4.0-h-tiny", "GLM-4.7-Flash", "Llama-4-Scout-17B-16E", "Falcon-H1-7B-Instruct",
)  # fmt: skip
BEYOND = "the model was trained for shorter contexts"
NOT_THERE = "its version of the runtime has no such quantization"


def grid(
    models: Sequence[str] | None = None,
    boards: Iterable[Board] | None = None,
    *,
    settings: Sequence[tuple[str, str]] = SETTINGS,
    contexts: Sequence[int] = CONTEXTS,
) -> dict[str, Any]:
    """The grid, small enough to stand in a page.

    `cells` holds an entry per board, model, setting and context, in this order: `[verdict, needed, weights, KV cache,
    tokens/s × 10, reason]`, in MiB, -1 where a speed is not known; verdict and reason are numbers in the lists of them.
    `usable` is what a model may take of a board together with runtime and system, in MiB.
    """
    chosen = [board for board in (tables.boards().values() if boards is None else boards) if _is_sold(board)]
    machines = [of_board(board) for board in chosen]
    configs = [
        (name, config) for name in (MODELS if models is None else models) if (config := known.config(name)) is not None
    ]
    reasons: dict[str, int] = {"": 0}
    cells = [
        _cell(config, machine, setting, context, reasons)
        for machine in machines
        for _, config in configs
        for setting in settings
        for context in contexts
    ]
    return {
        "boards": [
            {"id": board.id, "name": board.name, "usable": _usable(machine)}
            for board, machine in zip(chosen, machines, strict=True)
        ],
        "models": [known.full_name(name) for name, _ in configs],
        "settings": [{"runtime": runtime, "quantization": quantization} for runtime, quantization in settings],
        "contexts": [*contexts],
        "verdicts": [verdict.value for verdict in FitVerdict],
        "reasons": [*reasons],
        "cells": cells,
    }


def _is_sold(board: Board) -> bool:
    return max(of_board(board).l4t, default=OLDEST) >= OLDEST


def _usable(machine: Machine) -> int:
    return int(machine.memory - (0 if machine.discrete else constants.system().margin)) // MIB


def _cell(
    config: ModelConfig, machine: Machine, setting: tuple[str, str], context: int, reasons: dict[str, int]
) -> list[int]:
    runtime, quantization = setting
    verdicts = [*FitVerdict]
    impossible = verdicts.index(FitVerdict.IMPOSSIBLE)
    if config.max_position and context > config.max_position:
        return [impossible, 0, 0, 0, -1, reasons.setdefault(BEYOND, len(reasons))]
    wanted = "" if config.quantized is not None else quantization
    try:
        fit = predict(config, runtime=runtime, board=machine, quantization=wanted, context=context)
    except UsageError:
        return [impossible, 0, 0, 0, -1, reasons.setdefault(NOT_THERE, len(reasons))]
    speed = fit.decode_tokens_per_s
    return [
        verdicts.index(fit.verdict),
        fit.needed_bytes // MIB,
        fit.weights_bytes // MIB,
        fit.kv_bytes // MIB,
        -1 if speed is None else round(speed * 10),
        reasons.setdefault(fit.reason, len(reasons)),
    ]
