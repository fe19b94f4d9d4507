"""Quantize a checkpoint to 4 bits with AutoAWQ, which is archived: for images that hold nothing newer."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import calibration, checkpoint
else:
    import calibration
    import checkpoint

_AT_ONCE = 8  # samples that go through a layer together; all at once is the library's default


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, calibrate, quantize, save, check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    checkpoint.add_arguments(parser)
    parser.add_argument("--group-size", type=int, default=128, help="weights that share a scale (default: 128)")
    calibration.add_arguments(parser)
    options = parser.parse_args(argv)

    from awq import AutoAWQForCausalLM
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.source, trust_remote_code=options.trust_remote_code)
    rows = calibration.rows(tokenizer, options.calibration, options.samples, options.length)
    model = AutoAWQForCausalLM.from_pretrained(options.source, trust_remote_code=options.trust_remote_code)
    config = {"zero_point": True, "q_group_size": options.group_size, "w_bit": 4, "version": "GEMM"}
    model.quantize(
        tokenizer,
        quant_config=config,
        calib_data=rows,
        max_calib_samples=options.samples,
        max_calib_seq_len=options.length,
        n_parallel_calib_samples=_AT_ONCE,
    )
    model.save_quantized(options.output)
    checkpoint.complete(options.source, options.output)
    checkpoint.verify(options.output, "awq")
    return 0


if __name__ == "__main__":
    sys.exit(main())
