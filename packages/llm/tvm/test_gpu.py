"""With CUDA built in: TVM finds the GPU. Exit status 77: there is none here, or this build is for the CPU."""

import ctypes
import sys
from pathlib import Path

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

if not any(Path("/dev", name).exists() for name in ("nvidiactl", "nvhost-gpu", "nvgpu")):
    print("needs a GPU: there is none in this container")
    sys.exit(77)

import tvm

device = tvm.cuda(0) if hasattr(tvm, "cuda") else tvm.device("cuda", 0)
if not device.exist and not Path("/opt/tvm").exists():
    print("needs a GPU: TVM finds none, or this build of TVM has no CUDA runtime for the CUDA of this image")
    sys.exit(77)
assert device.exist, "this TVM was compiled with CUDA and finds no GPU"
print("compute capability", device.compute_version)
