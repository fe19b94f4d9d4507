"""A kernel runs on the GPU. Exit status 77: there is none here."""

import ctypes
import sys

import numpy as np
from numba import cuda  # it loads without a GPU too

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

if not cuda.is_available():
    print("needs a GPU: numba finds none in this container")
    sys.exit(77)


@cuda.jit
def add_one(a):
    i = cuda.grid(1)
    if i < a.size:
        a[i] += 1


cuda.detect()
a = cuda.to_device(np.arange(1000, dtype=np.float32))
add_one[8, 128](a)
assert np.array_equal(a.copy_to_host(), np.arange(1000, dtype=np.float32) + 1)
