"""The compiled module is made for the GPUs of the platform; with a GPU, it agrees with torch's own attention.

Exit status 77: a part needs a GPU.
"""

import sys

import torch

NEEDS_GPU = 77


def main():
    if not torch.cuda.is_available():
        import importlib.util

        assert importlib.util.find_spec("flash_attn") is not None
        module = importlib.util.find_spec("flash_attn_2_cuda")
        assert module is not None, "no compiled module flash_attn_2_cuda"
        print(module.origin)
        print("needs a GPU: running the kernels")
        return NEEDS_GPU
    import flash_attn
    from flash_attn import flash_attn_func

    print("flash_attn", flash_attn.__version__, "torch", torch.__version__)
    q, k, v = (torch.randn(1, 64, 4, 64, device="cuda", dtype=torch.float16) for _ in range(3))
    ours = flash_attn_func(q, k, v, causal=True)
    heads = [x.transpose(1, 2) for x in (q, k, v)]
    theirs = torch.nn.functional.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2)
    assert torch.allclose(ours, theirs, atol=2e-3, rtol=1e-2), (ours - theirs).abs().max()
    return 0


if __name__ == "__main__":
    sys.exit(main())
