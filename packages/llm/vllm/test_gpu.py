"""A compiled kernel of vLLM computes on the GPU what PyTorch does. Exit status 77: there is no GPU here."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

from vllm import _custom_ops  # noqa: E402

x = torch.randn(4, 256, device="cuda", dtype=torch.float16)
weight = torch.ones(256, device="cuda", dtype=torch.float16)
result = torch.empty_like(x)
_custom_ops.rms_norm(result, x, weight, 1e-6)
wide = x.float()
expected = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
assert torch.allclose(result.float(), expected, atol=2e-2), (result.float() - expected).abs().max()
print("rms_norm is right on", torch.cuda.get_device_name())
