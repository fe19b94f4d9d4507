"""Quantize a checkpoint with GPTQ or AWQ: GPTQModel, or AutoGPTQ (no AWQ) where the image has only that."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import calibration, checkpoint, gptq_workers
else:
    import calibration
    import checkpoint
    import gptq_workers


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, calibrate, quantize, save, check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkpoint.add_arguments(parser)
    parser.add_argument("--library", choices=("gptqmodel", "auto_gptq"), default="gptqmodel")
    parser.add_argument("--method", choices=("gptq", "awq"), default="gptq")
    parser.add_argument("--bits", type=int, choices=(2, 3, 4, 8), default=4)
    parser.add_argument("--group-size", type=int, default=128, help="weights that share a scale (default: 128)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    calibration.add_arguments(parser)
    options = parser.parse_args(argv)
    if options.method == "awq" and (options.library == "auto_gptq" or options.bits != 4):
        parser.error("AWQ has 4 bits, and AutoGPTQ makes none")

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.source, trust_remote_code=options.trust_remote_code)
    rows = calibration.rows(tokenizer, options.calibration, options.samples, options.length)
    if options.library == "auto_gptq":
        with_auto_gptq(options, rows)
    else:
        with_gptqmodel(options, rows)
    checkpoint.complete(options.source, options.output)
    checkpoint.verify(options.output, options.method)
    return 0


def with_gptqmodel(options: argparse.Namespace, rows: list[list[int]]) -> None:
    """About one layer is in memory at a time; the others wait on the disk of the output."""
    gptq_workers.enough()
    from gptqmodel import BACKEND, AWQConfig, GPTQModel, QuantizeConfig

    parent = Path(options.output).resolve().parent
    with tempfile.TemporaryDirectory(prefix=".gptq-", dir=str(parent)) as spare:
        words = {"bits": options.bits, "group_size": options.group_size, "offload_to_disk_path": spare}
        config = AWQConfig(**words) if options.method == "awq" else QuantizeConfig(desc_act=False, **words)
        device = "cuda:0" if options.device == "cuda" else "cpu"
        model = GPTQModel.load(options.source, config, device=device, trust_remote_code=options.trust_remote_code)
        # For AWQ it takes a kernel that needs CUDA even where it was told to stay on the CPU.
        kernel = {"backend": BACKEND.AWQ_TORCH} if (options.method, options.device) == ("awq", "cpu") else {}
        examples = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in rows]
        model.quantize(examples, batch_size=1, **kernel)
        model.save(options.output)


def with_auto_gptq(options: argparse.Namespace, rows: list[list[int]]) -> None:
    """The whole model is in memory in 16 bits; the samples stay in the host's."""
    import torch
    from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig

    config = BaseQuantizeConfig(bits=options.bits, group_size=options.group_size, desc_act=False)
    model = AutoGPTQForCausalLM.from_pretrained(
        options.source, config, trust_remote_code=options.trust_remote_code, torch_dtype=torch.float16
    )
    examples = [
        {"input_ids": torch.tensor([row]), "attention_mask": torch.ones(1, len(row), dtype=torch.long)} for row in rows
    ]
    model.quantize(examples, batch_size=1, use_triton=False, cache_examples_on_gpu=False)
    model.save_quantized(options.output, use_safetensors=True)


if __name__ == "__main__":
    sys.exit(main())
