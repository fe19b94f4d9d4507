"""PyCUDA is there, compiled; with a GPU, a kernel is compiled and doubles an array. Exit status 77: a part needs a GPU."""

import os
import sys

NEEDS_GPU = 77


def main():
    if not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu")):
        import importlib.util

        spec = importlib.util.find_spec("pycuda")
        assert spec is not None, "no module pycuda"
        folder = spec.submodule_search_locations[0]
        assert [name for name in os.listdir(folder) if name.startswith("_driver")], "pycuda has no compiled driver module"
        print(folder)
        print("needs a GPU: importing pycuda.driver asks for libcuda.so.1, which the driver brings")
        return NEEDS_GPU
    import numpy
    import pycuda
    import pycuda.autoinit
    import pycuda.driver as driver
    from pycuda.compiler import SourceModule

    print("pycuda", pycuda.VERSION_TEXT, driver.Device(0).name(), driver.Device(0).compute_capability())
    double = SourceModule("__global__ void twice(float *x) { x[threadIdx.x] *= 2; }").get_function("twice")
    values = numpy.arange(32, dtype=numpy.float32)
    expected = values * 2
    double(driver.InOut(values), block=(32, 1, 1), grid=(1, 1))
    assert (values == expected).all(), values
    return 0


if __name__ == "__main__":
    sys.exit(main())
