"""TensorRT's libraries load, trtexec starts, and the Python module is the version of the library.

Exit status 77: a part needs a GPU or the host's libraries.
"""

import ctypes
import glob
import importlib.util
import os
import shutil
import subprocess
import sys

NEEDS_GPU = 77


def has_gpu():
    return any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu"))


def library():
    found = sorted(glob.glob("/usr/lib/*-linux-gnu/libnvinfer.so.[0-9]*"), key=len)
    if not found:
        assert os.environ["CUDA_COMES_FROM"] == "host", "no libnvinfer in this image"
        print("needs a GPU: on JetPack 4 TensorRT comes from the host, with --runtime nvidia")
        sys.exit(NEEDS_GPU)
    return found[0]


def missing(path):
    shown = subprocess.check_output(["ldd", path], universal_newlines=True)
    return [line.split()[0] for line in shown.splitlines() if "not found" in line]


def main():
    path = library()
    print(path, "->", os.path.realpath(path))
    assert shutil.which("trtexec"), "no trtexec on PATH"
    assert importlib.util.find_spec("tensorrt") is not None, "no Python module tensorrt"
    absent = missing(path)
    if absent:
        # On integrated GPUs up to JetPack 6 it is linked to the DLA compiler, which is part of the host's L4T.
        host = [name for name in absent if name.startswith(("libnvdla", "libcuda.so", "libnvrm", "libnvmedia"))]
        assert host == absent, absent
        print("needs a GPU: from the host come", ", ".join(absent))
        return NEEDS_GPU
    version = ctypes.CDLL(path).getInferLibVersion()
    print("TensorRT", version)

    import tensorrt

    print("tensorrt", tensorrt.__version__, "of Python", sys.version.split()[0])
    numbers = [int(part) for part in tensorrt.__version__.split(".")[:3]]
    if numbers[0] >= 10:
        assert version == numbers[0] * 10000 + numbers[1] * 100 + numbers[2], (version, numbers)
    if not has_gpu():
        print("needs a GPU: making a builder")
        return NEEDS_GPU
    assert tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.WARNING)) is not None
    return 0


if __name__ == "__main__":
    sys.exit(main())
