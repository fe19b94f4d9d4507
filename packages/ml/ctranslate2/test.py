"""The engine computes on the CPU and knows its types; where it was made for CUDA, that is compiled in."""

import ctypes
import os
import sys

import ctranslate2
import numpy as np

NEEDS_GPU = 77

print("ctranslate2", ctranslate2.__version__, sorted(ctranslate2.get_supported_compute_types("cpu")))
assert {"int8", "float32"} <= ctranslate2.get_supported_compute_types("cpu")
view = ctranslate2.StorageView.from_array(np.arange(6, dtype=np.float32).reshape(2, 3))
assert list(view.shape) == [2, 3] and np.array(view)[1, 2] == 5

if not os.path.isdir("/usr/local/cuda"):
    sys.exit(0)
# a build without CUDA refuses the very word, one with it asks the driver
try:
    ctranslate2.get_supported_compute_types("cuda")
except (ValueError, RuntimeError) as error:
    assert "not compiled with CUDA" not in str(error), error
    print("CUDA is compiled in:", error)
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(NEEDS_GPU)
