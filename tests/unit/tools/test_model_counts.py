"""Published sizes against those that follow from the shapes: lists of counts, counts of known models, GGUF files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm.models import known
from tests.paths import ROOT_DIR

sys.path.insert(0, str(ROOT_DIR / "tools"))

import fit_sizes
import model_counts
from model_counts import Row, weigh

if TYPE_CHECKING:
    from pathlib import Path

    from fit_sizes import Count, File

COUNTS = tuple(fit_sizes.counts())
FILES = tuple(fit_sizes.files())


@pytest.mark.parametrize("count", COUNTS, ids=[count.model for count in COUNTS])
def test_known_models_have_the_published_parameters(count: Count) -> None:
    """Every known model has the parameters that its publisher counts."""
    assert abs(count.error) <= (0.02 if count.source == "model card" else 0.01)


def test_known_models_are_mostly_counted() -> None:
    """Few known models are without a published count."""
    assert len(known.configs()) - len({count.model for count in COUNTS}) <= 6


@pytest.mark.parametrize("file", FILES, ids=[f"{file.model}-{file.quantization}" for file in FILES])
def test_gguf_files_have_the_published_size(file: File) -> None:
    """Every GGUF file is as large as the published one."""
    assert abs(file.error) <= 0.04


@pytest.mark.long
def test_list_of_counts_is_met_wherever_it_can_be_weighed() -> None:
    """No row of the list is off, and most of those with a shape are met."""
    found = [weigh(row) for row in model_counts.rows()]
    assert [each.row.name for each in found if each.kind == "off"] == []
    assert sum(each.kind == "within" for each in found) >= 550
    assert all(each.why for each in found if each.kind in {"lacks", "wrong"})


def row(architecture: str, parameters: int, **columns: int) -> Row:
    """A row of a list."""
    usual = {
        "num_hidden_layers": 10, "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
        "vocab_size": 32000, "ffn_width": 1536,
    }  # fmt: skip
    have = {name: value for name, value in {**usual, **columns}.items() if value}
    return Row(name="org/model", architecture=architecture, parameters=parameters, context=1024, columns=have)


LAYER = 2 * 512 * 512 + 2 * 512 * 128  # attention
HEAD = 32000 * 512


@pytest.mark.parametrize(
    ("given", "kind", "why"),
    [
        (row("llama", 2 * HEAD + 10 * (LAYER + 3 * 512 * 1536)), "within", ""),
        (row("qwen3", HEAD + 10 * (LAYER + 3 * 512 * 1536)), "within", "without head"),
        (row("nemotron", 2 * HEAD + 10 * (LAYER + 2 * 512 * 1536)), "within", ""),
        (row("apertus", 2 * HEAD + 10 * (LAYER + 2 * 512 * 1536)), "within", ""),
        (row("llama", 99_000_000), "off", ""),
        (row("llama", HEAD + 10 * (4 * 512 * 512 + 2 * 512 * 1536)), "wrong", "the catalogue's own estimate"),
        (row("llama", 99_000_000, ffn_width=0, vocab_size=0), "lacks", "vocab_size, ffn_width"),
        (row("granitemoehybrid", 99_000_000), "lacks", "num_experts, layer_types, shared_intermediate_size"),
        (row("llava_next", 99_000_000), "lacks", "vision_config"),
        (row("wav2vec2", 99_000_000), "unknown", ""),
    ],
)
def test_row_is_weighed_shown_to_be_wrong_or_said_to_lack_a_key(given: Row, kind: str, why: str) -> None:
    """A row is met, off, wrong or not weighable, and why is said."""
    found = weigh(given)
    assert (found.kind, found.why[: len(why)]) == (kind, why)


def test_row_of_a_known_shape_is_completed_by_it() -> None:
    """What the columns leave out comes from a known model with the same ones."""
    columns = {
        "num_hidden_layers": 44, "hidden_size": 3072, "num_attention_heads": 12, "num_key_value_heads": 2,
        "head_dim": 128, "vocab_size": 130048, "ffn_width": 12288,
    }  # fmt: skip
    found = weigh(row("falcon_h1", 7_585_000_000, **columns))
    assert (found.kind, found.like) == ("within", "tiiuae/Falcon-H1-7B-Instruct")
    assert abs(found.error) < 0.001


def test_program_fails_where_a_row_is_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program prints what is off, and fails then."""
    header = model_counts.LIST.read_text(encoding="utf-8").splitlines()[0]
    shape = "10\t512\t8\t2\t64\t32000\t\t\t1536\t\t\t1024"
    path = tmp_path / "list.tsv"
    path.write_text(f"{header}\norg/right\t62914560\t\tllama\t{shape}\n", encoding="utf-8")
    assert model_counts.main([str(path)]) == 0
    path.write_text(f"{header}\norg/other\t99000000\t\tllama\t{shape}\n", encoding="utf-8")
    assert model_counts.main([str(path)]) == 1
    assert "off: llama org/other" in capsys.readouterr().out
