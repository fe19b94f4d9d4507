"""Quantize a checkpoint with bitsandbytes while it loads, and save it: NF4, FP4, or LLM.int8. No calibration."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import checkpoint
else:
    import checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, load quantized, save, check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkpoint.add_arguments(parser)
    parser.add_argument("--type", choices=("nf4", "fp4", "int8"), default="nf4")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args(argv)

    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    # LLM.int8 multiplies in half precision only; on the CPU the 4-bit kernels are fastest with bfloat16.
    compute = torch.bfloat16 if options.device == "cpu" and options.type != "int8" else torch.float16
    model = AutoModelForCausalLM.from_pretrained(
        options.source,
        quantization_config=BitsAndBytesConfig(**arguments(options.type, compute)),
        device_map={"": 0 if options.device == "cuda" else "cpu"},
        **checkpoint.loaded_as(compute),
        trust_remote_code=options.trust_remote_code,
    )
    model.save_pretrained(options.output)
    checkpoint.complete(options.source, options.output)
    checkpoint.verify(options.output, "bitsandbytes")
    return 0


def arguments(kind: str, compute: Any) -> dict[str, Any]:
    """What BitsAndBytesConfig gets. The scales are quantized as well: 4.13 bits per weight instead of 4.5."""
    if kind == "int8":
        return {"load_in_8bit": True}
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": kind,
        "bnb_4bit_compute_dtype": compute,
        "bnb_4bit_use_double_quant": True,
    }


if __name__ == "__main__":
    sys.exit(main())
