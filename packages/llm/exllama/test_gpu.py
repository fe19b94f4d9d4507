"""The package imports beside PyTorch with a GPU that is new enough. Exit status 77: there is none here."""

import importlib
import importlib.util
import sys

import torch

if not torch.cuda.is_available():
    print("needs a GPU: PyTorch finds none in this container")
    sys.exit(77)

assert torch.cuda.get_device_capability() >= (8, 0), torch.cuda.get_device_capability()
name = next(name for name in ("exllamav3", "exllamav2") if importlib.util.find_spec(name))
print(importlib.import_module(name), torch.cuda.get_device_name())
