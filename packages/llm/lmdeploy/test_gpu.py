"""The engine is loaded beside PyTorch with a GPU. Exit status 77: there is none here."""

import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

from lmdeploy import turbomind  # noqa: E402

print(turbomind.TurboMind, torch.cuda.get_device_name(), torch.cuda.get_device_capability())
