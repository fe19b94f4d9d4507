"""GPTQModel imports and knows its quantization methods. No GPU needed."""

import gptqmodel
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig

print("gptqmodel", gptqmodel.__version__, "with", len(list(BACKEND)), "kernels")
config = QuantizeConfig(bits=4, group_size=128)
assert (config.bits, config.group_size) == (4, 128)
assert callable(GPTQModel.load)
