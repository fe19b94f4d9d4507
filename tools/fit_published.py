"""Published figures (`facts/published.yaml`) beside what is predicted for the same case."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import cards, constants, memory, peak, speed
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board, of_card
from jetson_containers.llm.fit.predict import FitOptions, predict, work
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import from_hf

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.predict import Fit
    from jetson_containers.llm.models.config import ModelConfig

_MIB = 1 << 20
_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "intermediate": "intermediate_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab": "vocab_size",
}
_UNITS = {"GiB": GIB, "GB": 10**9, "MB": 10**6}


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published figure and the prediction. `speed` in tokens/s, `memory` in bytes; None where none was published.

    With a `prompt`, `speed` is that of a whole run: `output` tokens for each of `sequences` requests, prompts included
    unless they were `cached`; the server works on `at_once` of them. Without, `filled` tokens were in the context.

    `kind` is what was measured (`system` or `process`), `runs` whether it was seen to run (None: not said), `fitted`
    whether a constant was fitted on this figure.
    """

    board: str
    mode: str
    model: str
    runtime: str
    quantization: str
    context: int
    speed: float | None
    memory: float | None
    kind: str
    runs: bool | None
    fitted: bool
    source: str
    caveat: str
    fit: Fit
    work: speed.Workload
    prompt: int = 0
    output: int = 0
    sequences: int = 1
    at_once: int = 1
    filled: int = 0
    cached: bool = False
    beyond: bool = False
    prefill: float | None = None
    tokens: int = 0

    @property
    def predicted_prefill(self) -> float | None:
        """Tokens per second while a prompt of `tokens` is read."""
        seconds = speed.prefill(self.work, self.tokens) if self.tokens else None
        return self.tokens / seconds if seconds else None

    @property
    def predicted_speed(self) -> float | None:
        """Tokens per second that compare with `speed`."""
        if not speed.is_known(self.work.machine):
            return None
        if self.prompt:
            return speed.served(self.work, self.prompt, self.output, self.at_once, cached=self.cached)
        return self.fit.batch_tokens_per_s

    @property
    def predicted_memory(self) -> float:
        """Bytes that compare with `memory`: of the whole board, or of the process alone."""
        if self.kind == "process":
            return self.fit.needed_bytes - self.fit.baseline_bytes
        return self.fit.used_bytes

    @property
    def speed_error(self) -> float | None:
        """Predicted over published, minus one."""
        predicted = self.predicted_speed
        return predicted / self.speed - 1 if self.speed and predicted else None

    @property
    def memory_error(self) -> float | None:
        """Predicted over published, minus one."""
        return None if self.memory is None else self.predicted_memory / self.memory - 1


@dataclass(frozen=True, kw_only=True)
class Account:
    """What llama.cpp said of one run, and what is predicted. `kv` and `compute` in bytes."""

    config: ModelConfig
    context: int
    micro_batch: int
    kv_type: str
    kv: float
    compute: float
    predicted_kv: float
    predicted_compute: float


def accounts() -> tuple[Account, ...]:
    """Every run whose own account of its memory we have."""
    return tuple(_account({**row.get("like", {}), **row}) for row in load_facts("published")["accounts"])


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The highest memory of one conversion or prompt that was measured, and what is predicted. Bytes of the process."""

    config: ModelConfig
    step: str
    context: int
    measured: float
    predicted: float


def peaks() -> tuple[Peak, ...]:
    """Every peak that was measured."""
    return tuple(_peak({**row.get("like", {}), **row}) for row in load_facts("published")["peaks"])


def _peak(row: Mapping[str, Any]) -> Peak:
    config, context = _config(row), int(row.get("context", 0))
    if row["step"] == "prompt":
        runtime = constants.runtime("transformers")
        predicted = memory.workspace(config, runtime, runtime.variants[-1], memory.Load(context=context))
    else:
        predicted = float(peak.steps(config, (row["step"],), 0)[0][1])
    return Peak(
        config=config, step=row["step"], context=context, measured=float(row["peak"]) * _MIB, predicted=predicted
    )


def _config(row: Mapping[str, Any]) -> ModelConfig:
    return from_hf({"model_type": "llama", **{_KEYS[name]: int(row[name]) for name in _KEYS}})


def _account(row: Mapping[str, Any]) -> Account:
    config = _config(row)
    runtime = replace(constants.runtime("llama_cpp"), micro_batch=int(row["micro_batch"]))
    load = memory.Load(context=int(row["context"]), kv_type=row["kv_type"])
    variant = runtime.variants[-1]
    return Account(
        config=config,
        context=load.context,
        micro_batch=runtime.micro_batch,
        kv_type=load.kv_type,
        kv=float(row["kv"]) * _MIB,
        compute=float(row["compute"]) * _MIB,
        predicted_kv=memory.kv_needed(config, runtime, variant, load),
        predicted_compute=memory.workspace(config, runtime, variant, load),
    )


@functools.cache
def comparisons() -> tuple[Published, ...]:
    """Every published figure of the table with its prediction, in the order of the table."""
    table = load_facts("published")
    rows = [{**row.get("like", {}), **row} for row in table["rows"]]
    return tuple(_compare(row) for row in (*rows, *_served(table["served"])))


def _served(table: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Rows of what was served to one client and to eight."""
    for shared in table:
        row = {**shared.get("like", {}), **shared}
        for board, speeds in row.get("boards", {}).items():
            for sequences, rate in zip((1, 8), speeds, strict=False):
                fitted = "yes" if board in row.get("fitted", ()) else "no"
                seen = {"runs": "yes"} if sequences == 1 else {}  # several wait for each other where memory is short
                yield {**row, **seen, "board": board, "speed": rate, "sequences": sequences, "fitted": fitted}


def _compare(row: Mapping[str, Any]) -> Published:
    config = known.config(row["model"])
    if config is None:
        raise UsageError(f"facts/published.yaml names the model `{row['model']}`, which facts/models.yaml has not")
    machine = _machine(row)
    quantization = row.get("quantization", "")
    prompt, output = int(row.get("prompt", 0)), int(row.get("output", 0))
    sequences = int(row.get("sequences", 1))
    context = int(row.get("context", prompt + output))
    predicted = predict(
        config,
        runtime=row["runtime"],
        quantization=quantization,
        context=context,
        max_batch=sequences,
        board=machine,
        options=FitOptions(
            baseline=row.get("baseline", "headless"),
            session=int(row.get("session", 0)),
            filled=int(row.get("filled", 0)),
        ),
    )
    done = work(config, runtime=row["runtime"], machine=machine, quantization=quantization)
    slots = int(row.get("slots", 0)) if row["runtime"] == "llama_cpp" else 0
    return Published(
        board=machine.id,
        mode=machine.mode,
        model=row["model"],
        runtime=row["runtime"],
        quantization=predicted.quantization,
        context=context,
        speed=float(row["speed"]) if "speed" in row else None,
        memory=float(row["memory"]) * _UNITS[row["unit"]] if "memory" in row else None,
        kind=row.get("kind", "") if "memory" in row else "",
        runs={"yes": True, "no": False}.get(row.get("runs", "")),
        fitted=row.get("fitted") == "yes",
        source=row["source"],
        caveat=row.get("caveat", ""),
        fit=predicted,
        work=done,
        prompt=prompt,
        output=output,
        sequences=sequences,
        at_once=min(sequences, slots or sequences),
        filled=int(row.get("filled", 0)),
        cached=row["runtime"] == "vllm" and _keeps_prompts(done, row),
        beyond="beyond" in row,
        prefill=float(row["prefill"]) if "prefill" in row else None,
        tokens=int(row.get("tokens", 0)),
    )


def _machine(row: Mapping[str, Any]) -> Machine:
    if "card" in row:
        card = cards.named(row["card"])
        if card is None:
            raise UsageError(f"facts/published.yaml names the card `{row['card']}`, which facts/cards.yaml has not")
        return of_card(card)
    return of_board(
        board_named(row["board"]),
        mode=row.get("mode", ""),
        swap=int(float(row.get("swap", 0)) * GIB),
        l4t=int(row["l4t"]) if "l4t" in row else None,
    )


def _keeps_prompts(done: speed.Workload, row: Mapping[str, Any]) -> bool:
    """Whether vLLM's prefix cache still holds all prompts of a benchmark when they come again, in the same order.

    With less room the oldest are gone when they come. Layers that keep a state are not cached by default.
    """
    if "prompts" not in row or speed.mixers(done.config)[1]:
        return False
    tokens = int(row["prompt"]) + int(row["output"])
    kept = int(row["prompts"]) * memory.kv_cache(done.config, done.runtime, done.kv_type, tokens)
    load = memory.Load(context=tokens, max_batch=int(row["seats"]))
    buffers = memory.workspace(done.config, done.runtime, done.runtime.variants[-1], load)
    return kept <= float(row["share"]) * done.machine.memory - done.held.total - done.runtime.process - buffers
