"""Weighs every row of a list of published parameter counts: which are met, which are wrong, and what is lacking.

    .venv/bin/python tools/model_counts.py [TSV] [--all]

The list has a few columns of each model's shape. What they leave out is taken from a model of `facts/models.yaml` that
agrees in all columns, else from the defaults of the model's class. Without TSV: benchmarks/fit/model-counts.tsv, whose
counts and columns come from llmfit's catalogue 1.1.17 (MIT).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.weights import matrices, parameters
from jetson_containers.llm.models import assumed, known
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.layers import COUNTS, EXPERT, STATE_SPACE
from jetson_containers.llm.runtimes import support

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.llm.models.config import ModelConfig

LIST = ROOT / "benchmarks" / "fit" / "model-counts.tsv"
CLOSE = 0.02
# Columns of the list and the keys of a configuration that they are.
COLUMNS = {
    "num_hidden_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_attention_heads",
    "num_key_value_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "vocab_size": "vocab_size",
    "ffn_width": "intermediate_size",
    "num_experts": "num_experts",
    "active_experts": "num_experts_per_tok",
    "shared_expert_intermediate_size": "shared_expert_intermediate_size",
}
NEEDED = ("num_hidden_layers", "hidden_size", "num_attention_heads", "vocab_size", "ffn_width")
# Architectures whose feed-forward block is four times as wide as the model where nothing is stated.
FOUR_TIMES = frozenset({"falcon", "bloom", "gpt2", "gptj", "gpt_bigcode", "mpt", "opt"})
# In which a model of facts/models.yaml must agree to be the same shape.
ALIKE = ("num_hidden_layers", "hidden_size", "num_attention_heads")
# Keys that decide the size of an architecture and are no columns of the list.
BEYOND: Mapping[str, tuple[str, ...]] = {
    "granitemoehybrid": ("layer_types", "shared_intermediate_size"),
    "falcon_h1": ("mamba_d_ssm",),
    "nemotron_h": ("hybrid_override_pattern",),
    "lfm2": ("layer_types", "block_auto_adjust_ff_dim"),
    "hymba": ("mamba_expand", "conv_dim"),
    "deepseek_v4": ("compress_ratios", "hc_mult"),
    "jamba": ("expert_layer_period",),
    "bailing_moe": ("num_shared_experts", "first_k_dense_replace", "intermediate_size"),
    "falcon": ("multi_query", "new_decoder_architecture"),
    "deepseek_v3": ("first_k_dense_replace", "intermediate_size"),
    "qwen": ("audio",),
    "youtu": ("kv_lora_rank",),
}
# Architectures around a language model: an encoder of pictures or sound is counted as well.
ENCODED = frozenset(
    {
        "hunyuan_vl", "paddleocr_vl", "glm_ocr", "dots_ocr",
        "llava", "llava_next", "llava_onevision", "minicpmv", "kimi_vl", "phi3_v", "phi4mm", "interns1", "exaone4_5",
        "internvl", "internvl_chat", "idefics3", "smolvlm", "lfm2_vl", "mistral3", "glm4v", "glm4v_moe", "qwen2_vl",
        "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "gemma3", "gemma3n", "gemma4",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of the list."""

    name: str
    architecture: str
    parameters: int
    context: int
    columns: Mapping[str, int]

    def lacking(self) -> tuple[str, ...]:
        """The columns that are needed and empty."""
        spared = {"num_attention_heads"} if self.architecture in STATE_SPACE else set()
        spared |= {"ffn_width"} if self.architecture in FOUR_TIMES else set()
        return tuple(name for name in NEEDED if name not in self.columns and name not in spared)


@dataclass(frozen=True, kw_only=True)
class Weighed:
    """What became of a row: `within`, `wrong` (its count is of something else), `off`, `lacks` or `unknown`.

    `error` of the nearest reading; `why`: the reading, what is wrong, or the keys that are lacking. `like`: the model
    whose shape completed it.
    """

    row: Row
    kind: str
    error: float = 0.0
    why: str = ""
    like: str = ""


def rows(path: Path = LIST) -> tuple[Row, ...]:
    """The list."""
    with path.open(encoding="utf-8", newline="") as stream:
        return tuple(_row(line) for line in csv.DictReader(stream, delimiter="\t"))


def _row(line: Mapping[str, str]) -> Row:
    return Row(
        name=line["name"],
        architecture=line["architecture"],
        parameters=int(line["parameters_raw"]),
        context=int(line["context_length"] or 0),
        columns={name: int(line[name]) for name in COLUMNS if line[name]},
    )


def weigh(row: Row) -> Weighed:
    """What our description of the architecture says of a row."""
    if row.architecture not in support.listed():
        return Weighed(row=row, kind="unknown")
    exact = next(((name, known.config(name)) for name in known.configs() if name == row.name), None)
    if row.lacking() and exact is None:
        return Weighed(row=row, kind="lacks", why=", ".join(row.lacking()))
    configs = list(_configs(row))
    found = [_nearest(row, config, like) for like, config in configs]
    if exact is not None and exact[1] is not None:
        found.insert(0, _nearest(row, exact[1], row.name))
    if not found:
        return Weighed(row=row, kind="lacks", why=", ".join(BEYOND.get(row.architecture, ("unreadable",))))
    met = next((each for each in found if each.kind == "within"), None)
    if met is not None:
        return met
    if wrong := _wrong(row, [config for _, config in configs]):
        return Weighed(row=row, kind="wrong", why=wrong)
    best = min(found, key=lambda each: abs(each.error))
    beyond = _beyond(row)
    return replace(best, kind="lacks", why=", ".join(beyond)) if beyond and not best.like else best


def _beyond(row: Row) -> tuple[str, ...]:
    """Keys that decide the size and are not in the row."""
    experts = "num_experts" in assumed.sizes(row.architecture) or "moe" in row.architecture
    counted = row.columns.get("num_experts", 0) > 1
    return (
        *(("num_experts",) if experts and not counted else ()),
        *BEYOND.get(row.architecture, ()),
        *(("draft_vocab_size",) if row.columns.get("num_hidden_layers") == 1 else ()),  # a head that drafts for a model
        *(("vision_config",) if row.architecture in ENCODED else ()),
    )


def _configs(row: Row) -> Iterator[tuple[str, ModelConfig]]:
    """Shapes that a row can stand for: of a known model with its columns, else of its class."""
    if row.lacking():
        return
    for name, config in known.configs().items():
        if _agrees(row, config):
            yield name, from_hf(_filled(row, config), name)
    plain: dict[str, Any] = {"model_type": row.architecture}
    if assumed.part(row.architecture, "vision_config"):
        plain["vision_config"] = {}
    plain.update({COLUMNS[name]: value for name, value in row.columns.items()})
    if row.columns.get("num_experts", 0) > 1:
        plain["moe_intermediate_size"] = plain.get("intermediate_size")
    else:
        plain.pop("num_experts", None)
    try:
        yield "", from_hf(plain, row.name)
    except UsageError:
        return


def _agrees(row: Row, config: Mapping[str, Any]) -> bool:
    inner = config.get("text_config", config)
    names = {str(config.get("model_type")), str(inner.get("model_type")).removesuffix("_text")}
    widths = [inner.get(key) for key in ("intermediate_size", "moe_intermediate_size", "block_ff_dim")]
    same = all(inner.get(COLUMNS[name]) == row.columns.get(name) for name in ALIKE)
    return row.architecture in names and same and row.columns.get("ffn_width") in widths


def _filled(row: Row, config: Mapping[str, Any]) -> dict[str, Any]:
    """The known model with the row's own vocabulary and experts."""
    inner = dict(config.get("text_config", config))
    inner["vocab_size"] = row.columns["vocab_size"]
    if (experts := row.columns.get("num_experts", 0)) > 1:
        inner.update({key: experts for key in COUNTS if key in inner})
    return {**config, "text_config": inner} if "text_config" in config else inner


def _nearest(row: Row, config: ModelConfig, like: str) -> Weighed:
    """The reading with the fewest differences that meets the count, else the nearest."""
    readings = sorted(_readings(row, config), key=lambda each: (len(each[0]), abs(each[1] / row.parameters - 1)))
    near = next((each for each in readings if abs(each[1] / row.parameters - 1) <= CLOSE), None)
    said, size = near or min(readings, key=lambda each: abs(each[1] / row.parameters - 1))
    kind = "within" if near else "off"
    return Weighed(row=row, kind=kind, error=size / row.parameters - 1, why=", ".join(said), like=like)


def _readings(row: Row, config: ModelConfig) -> Iterator[tuple[tuple[str, ...], int]]:
    """What a count can be of: the list does not say whether a head is stored, nor which parts were counted."""
    have = parts(config, row.architecture)
    changes = [(f"and {name}", have[name]) for name in ("tied matrix", "scales") if name in have]
    changes += [(f"without {name}", -have[name]) for name in ("head", "encoders") if name in have]
    if further := have.get("further-token layer"):
        changes.append(
            ("without further-token layer", -further) if config.drafts else ("and further-token layer", further)
        )
    for count in range(len(changes) + 1):
        for chosen in itertools.combinations(changes, count):
            yield tuple(name for name, _ in chosen), parameters(config) + sum(size for _, size in chosen)


def parts(config: ModelConfig, architecture: str) -> dict[str, int]:
    """Weights of what some counts are with and others without, as far as the model has it."""
    head = config.vocab * config.hidden
    further = config.drafts
    if not further and architecture in {"mimo", "qwen3_next"}:  # whose configuration does not always say so
        block = [block for block in config.blocks if block.cache][-1]
        further = sum(matrix.weights for matrix in block.matrices) + 2 * config.hidden**2
    # One scale for 32 weights of mxfp4, which the hub counts as parameters.
    scales = _experts(config) // 32 if config.family == "gpt_oss" else 0
    found = {
        "tied matrix" if config.tied else "head": head,
        "encoders": config.towers,
        "further-token layer": further,
        "scales": scales,
    }
    return {name: size for name, size in found.items() if size}


def _experts(config: ModelConfig) -> int:
    return sum(matrix.weights * len(at) for matrix, at in matrices(config) if matrix.role in EXPERT)


def _wrong(row: Row, configs: Sequence[ModelConfig]) -> str:
    """What a count that is not met is of, where that can be shown by computing it."""
    have = row.columns
    layers, hidden, width = (have.get(name, 0) for name in ("num_hidden_layers", "hidden_size", "ffn_width"))
    estimate = have.get("vocab_size", 0) * hidden + layers * (4 * hidden**2 + 2 * hidden * width)
    if row.parameters == estimate:
        return "the catalogue's own estimate: vocabulary × width + layers × (4 width² + 2 width × feed-forward width)"
    for config in configs:
        sizes = {size for _, size in _readings(row, config)}
        for size in sizes:
            if row.architecture == "gpt_neox" and _close(size + layers * row.context**2, row):
                return "holds the attention masks: layers × context²"
            linear = sum(matrix.weights * len(at) for matrix, at in matrices(config))
            if _close(size - linear + linear // 2 + linear // 32, row):
                return "counts packed bytes: two 4-bit weights and a 32nd of a scale as one"
    return ""


def _close(size: int, row: Row) -> bool:
    return abs(size / row.parameters - 1) <= CLOSE


def report(found: Sequence[Weighed]) -> Iterator[str]:
    """The table: by architecture, then what is wrong, off or not weighable."""
    yield "| architecture | rows | within 2 % | largest error | count is of something else | off | not weighable |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    by_name: dict[str, list[Weighed]] = {}
    for each in found:
        if each.kind != "unknown":
            by_name.setdefault(each.row.architecture, []).append(each)
    for name, group in sorted(by_name.items(), key=lambda item: (-len(item[1]), item[0])):
        count = Counter(each.kind for each in group)
        errors = [each.error for each in group if each.kind == "within"]
        largest = f"{max(errors, key=abs):+.2%}" if errors else ""
        cells = (name, len(group), count["within"], largest, count["wrong"], count["off"], count["lacks"])
        yield f"| {' | '.join(str(cell or '') for cell in cells)} |"


def summary(found: Sequence[Weighed]) -> Iterator[str]:
    """The result in a few lines."""
    count = Counter(each.kind for each in found)
    met = [abs(each.error) for each in found if each.kind == "within"]
    yield (
        f"{len(found)} rows: {count['within']} within 2 % (mean {sum(met) / max(len(met), 1):.2%}), "
        f"{count['off']} off, {count['wrong']} whose count is of something else, "
        f"{count['lacks']} without the keys that decide their size, "
        f"{count['unknown']} of architectures that no runtime here lists."
    )
    for why, number in Counter(each.why for each in found if each.kind == "wrong").most_common():
        yield f"- {number} × {why}"


def main(arguments: list[str]) -> int:
    """Print the tables; 1 where a row is off."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tsv", type=Path, nargs="?", default=LIST)
    parser.add_argument("--all", action="store_true", help="also each row that is not met, with the reason")
    given = parser.parse_args(arguments)
    found = [weigh(row) for row in rows(given.tsv)]
    print("\n".join([*report(found), "", *summary(found)]))
    shown = ("off", "wrong", "lacks") if given.all else ("off",)
    for kind in shown:
        for each in found:
            if each.kind == kind:
                error = f" {each.error:+.1%}" if each.error else ""
                print(f"{kind}: {each.row.architecture} {each.row.name}{error}: {each.why}")
    return 1 if any(each.kind == "off" for each in found) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
