"""CuPy is there with what it was compiled for; with a GPU, it sums and multiplies. Exit status 77: a part needs a GPU."""

import os
import sys

NEEDS_GPU = 77


def main():
    if not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu")):
        import importlib.util

        spec = importlib.util.find_spec("cupy")
        assert spec is not None, "no module cupy"
        folder = spec.submodule_search_locations[0]
        core = [name for name in os.listdir(os.path.join(folder, "_core")) if name.endswith(".so")]
        assert core, "cupy has no compiled core"
        print(folder, len(core), "compiled modules")
        print("needs a GPU: importing CuPy asks for libcuda.so.1, which the driver brings")
        return NEEDS_GPU
    import cupy

    cupy.show_config()
    assert int(cupy.arange(10).sum()) == 45
    a = cupy.eye(64, dtype=cupy.float32) * 3
    assert float((a @ a).trace()) == 9 * 64
    kernel = cupy.ElementwiseKernel("float32 x", "float32 y", "y = x + 1", "add_one")
    assert float(kernel(cupy.zeros(4, cupy.float32)).sum()) == 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
