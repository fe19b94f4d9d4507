"""AutoAWQ imports. Exit status 77: importing Triton's kernels needs the GPU driver."""

import ctypes
import importlib.metadata
import sys

print("autoawq", importlib.metadata.version("autoawq"), "with transformers", importlib.metadata.version("transformers"))
try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

from awq import AutoAWQForCausalLM  # noqa: E402

assert callable(AutoAWQForCausalLM.from_quantized)
