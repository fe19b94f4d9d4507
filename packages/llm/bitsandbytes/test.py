"""bitsandbytes imports and its library loads; where it computes on the CPU, 4-bit weights come back close to what they were.

Exit status 77: loading the library needs the GPU driver.
"""

import ctypes
import importlib.metadata
import sys
from pathlib import Path

import torch

print("bitsandbytes", importlib.metadata.version("bitsandbytes"), "with torch", torch.__version__)
import bitsandbytes  # noqa: E402
import bitsandbytes.functional as functional  # noqa: E402

libraries = {path.name: path for path in Path(bitsandbytes.__file__).parent.glob("libbitsandbytes*.so")}
print(*sorted(libraries))
assert libraries

if torch.version.cuda:
    compiled = Path("/opt/sources/bitsandbytes")
    print(compiled.read_text().strip() if compiled.exists() else "from the wheel of the Python index")
    wanted = "libbitsandbytes_cuda%s.so" % torch.version.cuda.replace(".", "")
    assert wanted in libraries, "torch will ask for %s" % wanted
    try:
        # the package itself only warns when this fails, and raises when a model is loaded
        ctypes.CDLL(str(libraries[wanted]))
    except OSError as error:
        if "libcuda.so" not in str(error):
            raise
        print("needs a GPU: there is no driver (libcuda.so.1) in this container")
        sys.exit(77)
    sys.exit(0)

torch.manual_seed(0)
weight = torch.randn(64, 64)
for kind in ("nf4", "fp4"):
    quantized, state = functional.quantize_4bit(weight, quant_type=kind)
    error = (functional.dequantize_4bit(quantized, state) - weight).abs().mean().item()
    print(kind, quantized.numel(), "bytes for", weight.numel(), "weights, mean error %.3f" % error)
    assert quantized.numel() * 2 == weight.numel()
    assert error < 0.15
