"""Remove the libraries for other GPUs and other releases of CUDA than torch's: nothing in the image could load them."""

import importlib.util
import os
import sys

import torch


def main():
    folder = os.path.dirname(importlib.util.find_spec("bitsandbytes").origin)
    wanted = "libbitsandbytes_cuda" + (torch.version.cuda or "").replace(".", "") + ".so"
    libraries = [name for name in os.listdir(folder) if name.startswith("libbitsandbytes_") and name.endswith(".so")]
    if wanted not in libraries:
        print("the wheel has no", wanted, "but:", " ".join(sorted(libraries)), file=sys.stderr)
        return 1
    for name in libraries:
        if name not in (wanted, "libbitsandbytes_cpu.so"):
            os.unlink(os.path.join(folder, name))
    print("kept", wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
