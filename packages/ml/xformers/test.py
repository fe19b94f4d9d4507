"""The operators are compiled in (an import works without them); with a GPU, attention agrees with torch's own.

Exit status 77: a part needs a GPU.
"""

import glob
import os
import sys

import torch
import xformers

NEEDS_GPU = 77


def main():
    print("xformers", xformers.__version__, "torch", torch.__version__)
    compiled = glob.glob(os.path.join(os.path.dirname(xformers.__file__), "_C*.so"))
    assert compiled, "xFormers was built without its operators"

    if not torch.cuda.is_available():
        print("needs a GPU: running memory_efficient_attention")
        return NEEDS_GPU
    from xformers.ops import memory_efficient_attention

    q, k, v = (torch.randn(1, 64, 4, 32, device="cuda", dtype=torch.float16) for _ in range(3))
    ours = memory_efficient_attention(q, k, v)
    heads = [x.transpose(1, 2) for x in (q, k, v)]
    theirs = torch.nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=2e-3, rtol=1e-2), (ours - theirs).abs().max()
    return 0


if __name__ == "__main__":
    sys.exit(main())
