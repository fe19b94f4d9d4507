"""A session really runs on the GPU. Exit status 77: there is none here."""

import ctypes
import os
import sys

if os.environ["ONNXRUNTIME_PROVIDER"] == "CPUExecutionProvider":
    print("a CPU build: there is nothing to ask a GPU")
    sys.exit(0)
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test import run  # the file beside this one

providers = run(["CUDAExecutionProvider", "CPUExecutionProvider"])
assert providers[0] == "CUDAExecutionProvider", providers
