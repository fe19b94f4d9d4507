"""The GPU multiplies matrices as the CPU does, with code for its architecture. Exit status 77: there is none here."""

import ctypes
import sys

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

import torch

if torch.version.cuda is None:
    print("a CPU build: there is nothing to ask a GPU")
    sys.exit(0)
if not torch.cuda.is_available():
    print("needs a GPU: torch finds none in this container")
    sys.exit(77)

print(torch.cuda.get_device_name(0), "built for", torch.cuda.get_arch_list(), "cuDNN", torch.backends.cudnn.version())
a = torch.randn(256, 256)
assert torch.allclose((a.cuda() @ a.cuda()).cpu(), a @ a, rtol=1e-2, atol=1e-2)
image = torch.randn(1, 3, 32, 32)
convolution = torch.nn.Conv2d(3, 8, 3)
assert torch.allclose(convolution.cuda()(image.cuda()).cpu(), convolution.cpu()(image), rtol=1e-2, atol=1e-2)
