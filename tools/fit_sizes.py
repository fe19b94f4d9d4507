"""Sizes that were published (`facts/published.yaml`) beside those that follow from shapes: a part of docs/fit.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_counts import parts, rows, summary, weigh

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.weights import active_weights, parameters, weights
from jetson_containers.llm.models import known

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.llm.models.config import ModelConfig

MIB = 1 << 20
RUNTIME, CACHE = "llama_cpp", "f16"
CONTEXTS = (4096, 32768)

INTRO = """## Sizes

Parameters as the publishers' files hold them, and as they follow from `models.yaml`; a count that is of more or less
than the model (*and* the head that it ties, *without* a layer that predicts further tokens) is compared with the same.
Active: what one token goes through, with the head. KV cache and state of one sequence: llama.cpp, f16.
"""

LIST = """### Other published counts

`tools/model_counts.py` weighs the 1,003 models of `benchmarks/fit/model-counts.tsv` (counts and columns of shapes from
llmfit's catalogue 1.1.17, MIT); `--all` prints each row that is not met, with the reason.
"""

FILES = """### GGUF files
"""


@dataclass(frozen=True, kw_only=True)
class Count:
    """A published count of parameters, and ours of the same parts. `note`: which those are where they are not all."""

    model: str
    config: ModelConfig
    published: int
    counted: int
    note: str
    source: str

    @property
    def error(self) -> float:
        """Ours over the published one, minus one."""
        return self.counted / self.published - 1


@dataclass(frozen=True, kw_only=True)
class File:
    """The size of a published GGUF file, and ours, in bytes."""

    model: str
    quantization: str
    published: float
    computed: float
    source: str

    @property
    def error(self) -> float:
        """Ours over the published one, minus one."""
        return self.computed / self.published - 1


def counts() -> Iterator[Count]:
    """Every published count of a model of the table."""
    for model, row in load_facts("published")["counts"].items():
        config = _config(model)
        more, less = str(row.get("and", "")), str(row.get("without", ""))
        by_name = parts(config, config.family)
        for name in filter(None, (more, less)):
            if name not in by_name:
                raise UsageError(f"facts/published.yaml: {model} has no {name}")
        yield Count(
            model=model,
            config=config,
            published=int(row["parameters"]),
            counted=parameters(config) + by_name.get(more, 0) - by_name.get(less, 0),
            note=f"and {more}" if more else f"without {less}" if less else "",
            source=str(row.get("source", "")),
        )


def files() -> Iterator[File]:
    """Every published size of a GGUF file."""
    for row in load_facts("published")["files"]:
        yield File(
            model=row["model"],
            quantization=row["quantization"],
            published=float(row["size"]) * 1e9,
            computed=weights(_config(row["model"]), row["quantization"]).total,
            source=str(row.get("source", "")),
        )


def _config(model: str) -> ModelConfig:
    config = known.config(model)
    if config is None:
        raise UsageError(f"facts/published.yaml names the model `{model}`, which facts/models.yaml has not")
    return config


def sections() -> list[str]:
    """The part of docs/fit.md."""
    found = [weigh(row) for row in rows()]
    published = {count.model: count for count in counts()}
    return [
        INTRO,
        *_table(
            ("model", "parameters", "published", "error", "", "active", *(f"KV MiB at {size}" for size in CONTEXTS)),
            (_size(name, published) for name in known.configs()),
        ),
        "",
        LIST,
        *summary(found),
        "",
        FILES,
        *_table(
            ("model", "", "GB", "published", "error", "source"),
            (
                (
                    file.model, file.quantization, f"{file.computed / 1e9:.2f}", f"{file.published / 1e9:g}",
                    f"{file.error:+.1%}", file.source,
                )
                for file in files()
            ),
        ),
        "",
    ]  # fmt: skip


def _size(name: str, published: Mapping[str, Count]) -> tuple[str, ...]:
    config, count = _config(name), published.get(name)
    head = config.vocab * config.hidden
    caches = (memory.kv_cache(config, constants.runtime(RUNTIME), CACHE, size) / MIB for size in CONTEXTS)
    return (
        name.rpartition("/")[2],
        _billions(count.counted if count else parameters(config)),
        _billions(count.published) if count else "",
        f"{count.error:+.2%}" if count else "",
        "; ".join(filter(None, (count.note, count.source))) if count else "",
        _billions(active_weights(config) + head),
        *(f"{cache:.0f}" for cache in caches),
    )


def _billions(number: float) -> str:
    return f"{number / 1e9:.3f} B"


def _table(header: tuple[str, ...], body: Iterator[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ("---",) * len(header), *body)]
