"""Measurements: kept, shown in place of an estimate, handed on, and checked where they come in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.measured import Measurement, Measurements, as_measured, read, write
from jetson_containers.llm.fit.predict import predict
from tests.unit.llm.fit.helpers import board, model


def row(**given: object) -> Measurement:
    values = {
        "board": "orin-nano-8gb", "model": "Qwen/Qwen3-4B", "runtime": "llama_cpp", "quantization": "Q4_K_M",
        "decode_tokens_per_s": 21.5,
    }  # fmt: skip
    return Measurement(**{**values, **given})  # type: ignore[arg-type]


def test_measured_speed_takes_the_place_of_the_estimate(tmp_path: Path) -> None:
    """A prediction of the same combination has the measured speed, and says so beside the estimate."""
    kept = Measurements(tmp_path / "state" / "measured.json")
    kept.add([row(when="2026-11-29", prefill_tokens_per_s=400.0)])
    fit = predict(model("Qwen3-4B"), runtime="llama_cpp", board=board("orin-nano-8gb"))
    found = kept.of(fit, "Qwen3-4B")
    assert found is not None
    shown = as_measured(fit, found)
    assert (shown.decode_tokens_per_s, shown.prefill_tokens_per_s, shown.measured) == (21.5, 400.0, True)
    assert f"measured on 2026-11-29: 21.5 tokens/s; the estimate is {fit.decode_tokens_per_s:.1f}" in shown.notes
    assert shown.to_json()["measured"] is True


@pytest.mark.parametrize(
    "other",
    [{"board": "orin-nx-8gb"}, {"model": "Qwen3-8B"}, {"runtime": "mlc"}, {"quantization": "Q8_0"}, {"mode": "15W"}],
)
def test_measured_speed_of_something_else_is_not_shown(tmp_path: Path, other: dict[str, str]) -> None:
    """Another board, model, runtime, quantization or power mode is another measurement."""
    kept = Measurements(tmp_path / "measured.json")
    kept.add([row(**other)])
    fit = predict(model("Qwen3-4B"), runtime="llama_cpp", board=board("orin-nano-8gb"))
    assert kept.of(fit, "Qwen/Qwen3-4B") is None


def test_measured_twice_the_newer_counts(tmp_path: Path) -> None:
    """A second measurement of the same replaces the first; others stay."""
    kept = Measurements(tmp_path / "measured.json")
    kept.add([row(), row(quantization="Q8_0")])
    kept.add([row(model="qwen3-4b", decode_tokens_per_s=22.0)])
    assert [one.decode_tokens_per_s for one in kept.rows()] == [22.0, 21.5]


def test_measured_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    """What is exported is what is imported."""
    rows = (row(source="a lab", memory_bytes=1 << 33), row(board="agx-thor"))
    write(tmp_path / "shared.json", rows)
    assert set(read(tmp_path / "shared.json")) == set(rows)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot read"),
        ("[]", "holds no measurements"),
        ('{"measured": [1]}', "row 1 is not a measurement"),
        ('{"measured": [{"board": "x"}]}', "lacks `model`"),
        ('{"measured": [{"speed": 1}]}', "unknown key `speed`"),
        ('{"measured": [{"decode_tokens_per_s": -1}]}', "is not a number between"),
        ('{"measured": [{"decode_tokens_per_s": "nan"}]}', "is not a number between"),
        ('{"measured": [{"decode_tokens_per_s": 1e99}]}', "is not a number between"),
        ('{"measured": [{"board": "a\\u001b[31m"}]}', "is not a short text"),
    ],
)
def test_measured_file_with_anything_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Files from others are checked: types, bounds, keys."""
    path = tmp_path / "shared.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        read(path)
    assert json.dumps(text)


def test_measured_facts_are_valid() -> None:
    """The shipped measurements are read like a user's."""
    fit = predict(model("Qwen3-4B"), runtime="llama_cpp", board=board("orin-nano-8gb"))
    assert Measurements(Path("/nonexistent")).of(fit, "Qwen3-4B") is None
