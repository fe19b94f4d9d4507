"""The members are there together, and work with each other's arrays."""

import glob
import importlib.util
import os
import re
import sys

import numpy

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

print("torch", torch.__version__, "torchvision", torchvision.__version__, "torchaudio", torchaudio.__version__)
print("cv2", cv2.__version__, "numpy", numpy.__version__)

picture = cv2.resize(numpy.full((8, 8, 3), 127, numpy.uint8), (16, 16))
tensor = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
assert torchvision.transforms.functional.hflip(tensor).shape == (3, 16, 16)
assert abs(float(tensor.mean()) - 127 / 255) < 1e-3

if torch.version.cuda is not None:
    assert importlib.util.find_spec("pycuda") is not None, "no module pycuda"
    if glob.glob("/usr/lib/*-linux-gnu/libnvinfer.so.*"):
        assert importlib.util.find_spec("tensorrt") is not None, "no module tensorrt"
