"""LLM Compressor makes checkpoints."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.unit.container_scripts.quantize_examples import torch
from tests.unit.driver_images import Images, Recorder, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("method", "modifiers"), [("awq", ["AWQ", "Quantization"]), ("gptq", ["GPTQ"])])
def test_llm_compressor_gets_the_modifiers_of_0_13(
    image: Images, model: Path, tmp_path: Path, method: str, modifiers: list[str]
) -> None:
    """LLM Compressor gets the modifiers of version 0.13."""
    library = Recorder("compressed-tensors")
    torch(image, cuda=SimpleNamespace(is_available=lambda: False))
    cache = SimpleNamespace(pin_memory="fails without a GPU")
    image.monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    auto = SimpleNamespace(from_pretrained=library.takes("from_pretrained"))
    image.holds("transformers", AutoTokenizer=Tokenizer, AutoModelForCausalLM=auto)
    image.holds("datasets", Dataset=SimpleNamespace(from_dict=dict))
    image.holds("llmcompressor", oneshot=library.quantize)
    image.holds("llmcompressor.pipelines.cache", IntermediatesCache=cache)
    image.holds(
        "llmcompressor.modifiers.quantization",
        GPTQModifier=lambda **words: ("GPTQ", words),
        QuantizationModifier=lambda **words: ("Quantization", words),
    )
    image.holds("llmcompressor.modifiers.transform.awq", AWQModifier=lambda **words: ("AWQ", words))
    argv = [str(model), str(tmp_path / "out"), "--method", method, "--device", "cpu", "--samples", "2", "--length", "8"]
    assert image.driver("llmcompressor_quantize").main(argv) == 0
    words = library.calls["quantize"][1]
    assert [name for name, _ in words["recipe"]] == modifiers
    assert all(made["ignore"] == ["lm_head"] for name, made in words["recipe"] if name != "AWQ")
    assert [len(row) for row in words["dataset"]["input_ids"]] == [8, 8]
    assert (words["max_seq_length"], words["num_calibration_samples"]) == (8, 2)
    assert library.calls["save"][1] == {"save_compressed": True}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert cache.pin_memory("anything", batch_index=1) is None  # type: ignore[operator]
