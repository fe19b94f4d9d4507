"""The members are there together, agree about NumPy, and the notebook server starts."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy
import onnx
import onnxruntime

try:
    import torch
except (ImportError, OSError) as error:
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and re.match("lib(cu|nv|npp)", str(error))
    if not from_host or os.path.exists("/dev/nvhost-gpu"):
        raise
    print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia:", error)
    sys.exit(77)
import cv2
import torchaudio
import torchvision

for module in (numpy, torch, torchvision, torchaudio, cv2, onnx, onnxruntime):
    print(module.__name__, module.__version__)

values = numpy.arange(10, dtype=numpy.float64)
assert float(torch.from_numpy(values).sum()) == 45
assert cv2.resize(values.reshape(2, 5), (10, 4)).shape == (4, 10)

if torch.version.cuda is not None:
    names = ["cupy", "pycuda"]
    if int(torch.version.cuda.split(".")[0]) >= 12:
        names.append("cuda.bindings")
    for name in names:
        assert importlib.util.find_spec(name) is not None, "no module " + name

if sys.version_info < (3, 7):
    print("JetPack 4 has no Numba and no JupyterLab")
    sys.exit(0)

import numba

assert numba.njit(lambda x: x.sum())(values) == 45
print("numba", numba.__version__)
print("jupyter lab", subprocess.check_output(["jupyter", "lab", "--version"], universal_newlines=True).strip())
