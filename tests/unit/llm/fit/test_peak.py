"""Peak memory of the steps that make an artifact."""

from __future__ import annotations

import pytest

from jetson_containers.llm.fit.predict import predict
from tests.unit.llm.fit.helpers import RUNTIMES, board, model
from tools.fit_published import Peak, peaks


@pytest.mark.parametrize("row", peaks(), ids=lambda row: f"{row.step}-{row.config.vocab}-{row.context}")
def test_peak_is_as_measured(row: Peak) -> None:
    """Peaks are as measured."""
    assert row.predicted == pytest.approx(row.measured, rel=0.16 if row.context == 2048 else 0.05)


def test_peak_of_a_four_bit_model_fits_16_gb_where_tensors_are_streamed() -> None:
    """Making a four-bit model on 16 GB is possible where tensors are streamed."""
    config, nx = model("Llama-2-7b-chat-hf"), board("orin-nx-16gb")
    possible = {name: predict(config, runtime=name, board=nx).makes_here for name in RUNTIMES}
    assert [name for name in ("mlc", "llama_cpp", "bitsandbytes", "gptq") if not possible[name]] == []
    assert (possible["lmdeploy"], possible["awq"]) == (False, False)


def test_peak_is_the_highest_of_the_named_steps() -> None:
    """The steps are named, and the highest is the peak."""
    predicted = predict(model("Llama-2-7b-chat-hf"), runtime="llama_cpp", board=board("orin-nx-16gb"))
    assert [name for name, _ in predicted.steps] == ["convert", "quantize"]
    assert predicted.peak_bytes == max(predicted.total_bytes, *(size for _, size in predicted.steps))
