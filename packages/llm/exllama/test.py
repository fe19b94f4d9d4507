"""The package is there with its compiled extension. Exit status 77: loading it needs the GPU driver."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path

name = next(name for name in ("exllamav3", "exllamav2") if importlib.util.find_spec(name))
print(name, importlib.metadata.version(name))
print(Path("/opt/sources/exllama").read_text().strip())
assert importlib.util.find_spec(name + "_ext"), "no compiled extension"
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

import torch  # noqa: E402,F401

importlib.import_module(name + "_ext")
