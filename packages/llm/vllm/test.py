"""vLLM is compiled for the GPUs of the platform and its command line answers.

Exit status 77: without the GPU driver the compiled part cannot be loaded.
"""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

print("vllm", importlib.metadata.version("vllm"), "with torch", importlib.metadata.version("torch"))
package = Path(importlib.util.find_spec("vllm").origin).parent
compiled = sorted(package.glob("_C*.so"))
assert compiled, "no compiled extension in %s" % package

from vllm import LLM, SamplingParams  # noqa: E402  # all that it is made of, but for what is compiled

assert callable(LLM.generate)
assert SamplingParams(max_tokens=4).max_tokens == 4

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

# vLLM itself only warns when one of them does not load; which of them there are changes between releases
for file in compiled:
    print(importlib.import_module("vllm." + file.name.split(".")[0]))

if not any(Path("/dev", name).exists() for name in ("nvidiactl", "nvhost-gpu", "nvgpu")):
    print("needs a GPU: there is none in this container, and the command line looks for one before it answers")
    sys.exit(77)
subprocess.run(["vllm", "--version"], check=True)
assert "serve" in subprocess.check_output(["vllm", "--help"], universal_newlines=True)
