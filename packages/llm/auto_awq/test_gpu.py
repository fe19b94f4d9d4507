"""A 4-bit layer of AutoAWQ computes on the GPU. Exit status 77: there is none here."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

from awq.modules.linear.gemm import WQLinear_GEMM  # noqa: E402

layer = WQLinear_GEMM(w_bit=4, group_size=128, in_features=256, out_features=128, bias=False, dev="cuda")
result = layer(torch.ones(2, 256, dtype=torch.float16, device="cuda"))
assert result.shape == (2, 128)
assert torch.count_nonzero(result) == 0  # all weights of a new layer are zero
print("a 4-bit layer computes on", torch.cuda.get_device_name())
