"""AutoAWQ imports with this transformers. No GPU needed; exit status 77: PyTorch or Triton do not load without the driver here."""

import importlib.metadata
import sys

print("autoawq", importlib.metadata.version("autoawq"), "with transformers", importlib.metadata.version("transformers"))
try:
    from awq import AutoAWQForCausalLM
    from awq.modules.linear.gemm import WQLinear_GEMM
except (ImportError, OSError) as error:
    if "libcuda.so.1" in str(error):
        print("needs a GPU: there is no driver (libcuda.so.1) in this container")
        sys.exit(77)
    raise

assert callable(AutoAWQForCausalLM.from_quantized)
layer = WQLinear_GEMM(w_bit=4, group_size=128, in_features=256, out_features=128, bias=False, dev="cpu")
assert layer.qweight.shape == (256, 128 // 8), layer.qweight.shape
