"""Quantize a checkpoint to 4 bits with llm-compressor (0.13 and newer): AWQ or GPTQ, saved as compressed tensors."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import calibration, checkpoint
else:
    import calibration
    import checkpoint

_KEPT = ["lm_head"]  # stays in 16 bits: it costs little and its errors show


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, calibrate, quantize, save, check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkpoint.add_arguments(parser)
    parser.add_argument("--method", choices=("awq", "gptq"), default="awq")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    calibration.add_arguments(parser)
    options = parser.parse_args(argv)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the library takes a GPU whenever it sees one

    from datasets import Dataset
    from llmcompressor import oneshot
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pin_only_for_a_device()
    tokenizer = AutoTokenizer.from_pretrained(options.source, trust_remote_code=options.trust_remote_code)
    rows = calibration.rows(tokenizer, options.calibration, options.samples, options.length)
    data = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    # On the CPU; with a GPU the library brings one layer at a time there.
    model = AutoModelForCausalLM.from_pretrained(
        options.source, dtype="auto", trust_remote_code=options.trust_remote_code
    )
    oneshot(
        model=model,
        tokenizer=tokenizer,
        dataset=data,
        recipe=recipe(options.method),
        max_seq_length=options.length,
        num_calibration_samples=options.samples,
    )
    model.save_pretrained(options.output, save_compressed=True)
    checkpoint.complete(options.source, options.output)
    checkpoint.verify(options.output, "compressed-tensors")
    return 0


def pin_only_for_a_device() -> None:
    """Without a GPU, keep AWQ from pinning memory for one: 0.13 does so wherever it runs, and torch refuses."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.cuda.is_available() and hasattr(IntermediatesCache, "pin_memory"):
        IntermediatesCache.pin_memory = lambda *_, **__: None


def recipe(method: str) -> list[Any]:
    """The modifiers: AWQ only scales, so what quantizes comes after it (one modifier did both before 0.13)."""
    if method == "gptq":
        from llmcompressor.modifiers.quantization import GPTQModifier

        return [GPTQModifier(targets="Linear", scheme="W4A16", ignore=_KEPT)]
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    return [
        AWQModifier(duo_scaling="both"),
        QuantizationModifier(scheme="W4A16_ASYM", targets=["Linear"], ignore=_KEPT),
    ]


if __name__ == "__main__":
    sys.exit(main())
