"""FlashInfer imports and knows the platform's GPUs; with a GPU, a decode kernel is compiled and agrees with torch.

Exit status 77: a part needs a GPU.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys

import torch

NEEDS_GPU = 77


def main():
    modules = ["flashinfer", "triton", "cuda.bindings", "cutlass"]
    if any(need.startswith("cuda-tile") for need in importlib.metadata.requires("flashinfer-python") or []):
        modules.append("cuda.tile")
    for module in modules:
        assert importlib.util.find_spec(module) is not None, "no module " + module
    print("flashinfer", importlib.metadata.version("flashinfer-python"), "for", os.environ["FLASHINFER_CUDA_ARCH_LIST"])
    for tool in ("nvcc", "g++", "ninja"):
        assert shutil.which(tool), tool + " compiles the kernels, and is not there"
    if not torch.cuda.is_available():
        print("needs a GPU: compiling and running a kernel")
        return NEEDS_GPU
    import flashinfer

    query = torch.randn(8, 64, device="cuda", dtype=torch.float16)
    keys, values = (torch.randn(128, 8, 64, device="cuda", dtype=torch.float16) for _ in range(2))
    ours = flashinfer.single_decode_with_kv_cache(query, keys, values)
    theirs = torch.nn.functional.scaled_dot_product_attention(
        query[:, None], keys.transpose(0, 1), values.transpose(0, 1)
    )[:, 0]
    assert torch.allclose(ours, theirs, atol=2e-3, rtol=1e-2), (ours - theirs).abs().max()
    return 0


if __name__ == "__main__":
    sys.exit(main())
