"""A 4-bit layer computes on the GPU; LLM.int8 does where the GPU is new enough. Exit status 77: there is none here."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

import bitsandbytes  # noqa: E402

torch.manual_seed(0)
plain = torch.nn.Linear(128, 64, bias=False)
x = torch.randn(4, 128, dtype=torch.float16, device="cuda")
expected = x.float() @ plain.weight.detach().T.cuda()

layer = bitsandbytes.nn.Linear4bit(128, 64, bias=False, quant_type="nf4", compute_dtype=torch.float16)
layer.load_state_dict(plain.state_dict())
difference = (layer.cuda()(x).float() - expected).abs().mean() / expected.abs().mean()
print("nf4: relative difference %.3f" % difference)
assert difference < 0.2

if torch.cuda.get_device_capability() < (7, 5):
    print("LLM.int8 is left out: it needs compute capability 7.5")
    sys.exit(0)
layer = bitsandbytes.nn.Linear8bitLt(128, 64, bias=False, has_fp16_weights=False)
layer.load_state_dict(plain.half().state_dict())
difference = (layer.cuda()(x).float() - expected).abs().mean() / expected.abs().mean()
print("int8: relative difference %.3f" % difference)
assert difference < 0.1
