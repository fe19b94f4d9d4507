"""Functions are compiled, give what Python gives, run in parallel, and numba accepts the NumPy of the image."""

import llvmlite
import numba
import numpy as np

print("numba", numba.__version__, "llvmlite", llvmlite.__version__, "numpy", np.__version__)


@numba.njit
def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@numba.njit(parallel=True)
def squares(a):
    out = np.empty_like(a)
    for i in numba.prange(a.size):
        out[i] = a[i] * a[i]
    return out


@numba.vectorize(["float64(float64, float64)"])
def hypotenuse(a, b):
    return (a * a + b * b) ** 0.5


assert collatz(27) == collatz.py_func(27) == 111
assert collatz.signatures, "nothing was compiled"
a = np.arange(1000.0)
assert np.array_equal(squares(a), a * a)
assert hypotenuse(3.0, 4.0) == 5.0
print("threading layer:", numba.threading_layer())
assert numba.threading_layer() == "omp", "the one for OpenMP is not loaded"
