"""PyTorch finds the GPU, which GPTQModel's kernels need from compute capability 7.5 on. Exit status 77: there is none."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

from gptqmodel import BACKEND  # noqa: E402

assert torch.cuda.get_device_capability() >= (7, 5), torch.cuda.get_device_capability()
print(torch.cuda.get_device_name(), [backend.name for backend in BACKEND])
