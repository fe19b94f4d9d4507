"""Triton imports with the platform's assembler; with a GPU, a kernel is compiled and run (importing alone proves little).

Exit status 77: a part needs a GPU.
"""

import os
import subprocess
import sys

import torch
import triton
import triton.language as tl

NEEDS_GPU = 77


@triton.jit
def add_one(source, target, count, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < count
    tl.store(target + offsets, tl.load(source + offsets, mask=inside) + 1, mask=inside)


def main():
    print("triton", triton.__version__, "torch", torch.__version__)
    for name in ("TRITON_PTXAS_PATH", "TRITON_CUOBJDUMP_PATH", "TRITON_NVDISASM_PATH"):
        shown = subprocess.check_output([os.environ[name], "--version"], universal_newlines=True)
        print(os.environ[name], shown.strip().splitlines()[-1])
    subprocess.check_call(["gcc", "--version"], stdout=subprocess.DEVNULL)

    if not torch.cuda.is_available():
        print("needs a GPU: compiling and running a kernel")
        return NEEDS_GPU
    values = torch.arange(1000, device="cuda", dtype=torch.float32)
    result = torch.empty_like(values)
    add_one[(triton.cdiv(1000, 256),)](values, result, 1000, BLOCK=256)
    assert torch.equal(result, values + 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
