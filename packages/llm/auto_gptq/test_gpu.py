"""The kernels load beside PyTorch with a GPU. Exit status 77: there is none here."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

import autogptq_cuda_64  # noqa: E402
import autogptq_cuda_256  # noqa: E402,F401

print(autogptq_cuda_64, torch.cuda.get_device_name())
