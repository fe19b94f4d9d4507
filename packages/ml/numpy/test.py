"""NumPy computes what it should through BLAS and LAPACK, and keeps quiet about the processor."""

import os
import subprocess
import sys

import numpy as np

print("numpy", np.__version__)
a = np.arange(64 * 64, dtype=np.float64).reshape(64, 64) % 7 + np.eye(64) * 9
b = np.ones(64)
x = np.linalg.solve(a, b)
assert np.allclose(a @ x, b)
assert np.allclose(np.dot(np.eye(3), np.eye(3)).trace(), 3)
assert np.random.RandomState(0).randint(0, 100, 3).tolist() == [44, 47, 64]

# an empty one makes OpenBLAS on Arm take its slowest kernels
assert os.environ.get("OPENBLAS_CORETYPE", "unset") != "", "OPENBLAS_CORETYPE is empty"

said = subprocess.run(
    [sys.executable, "-c", "import numpy; numpy.ones((8, 8)) @ numpy.ones((8, 8))"],
    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, check=True,
)
assert said.stdout == "", said.stdout
