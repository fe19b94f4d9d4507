"""The bindings import under the names of their release and know the toolkit; with a GPU, the driver answers.

Exit status 77: a part needs a GPU.
"""

import os
import sys

NEEDS_GPU = 77


def modules():
    """The driver and NVRTC modules: `cuda.bindings` from 12.8 on, `cuda` before and until 13 removed it."""
    try:
        from cuda.bindings import driver, nvrtc
    except ImportError:
        from cuda import cuda as driver
        from cuda import nvrtc
    return driver, nvrtc


def main():
    driver, nvrtc = modules()
    print(driver.__name__, "made for CUDA", driver.CUDA_VERSION)
    status, major, minor = nvrtc.nvrtcVersion()
    assert int(status) == 0, status
    print("NVRTC %d.%d" % (major, minor))
    assert driver.CUDA_VERSION // 1000 == major, "the bindings are of another CUDA major release than the libraries"

    if not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu")):
        print("needs a GPU: asking the driver for a device")
        return NEEDS_GPU
    assert int(driver.cuInit(0)[0]) == 0
    status, device = driver.cuDeviceGet(0)
    assert int(status) == 0, status
    print(driver.cuDeviceGetName(64, device)[1].split(b"\0")[0].decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
