"""GPTQModel imports and knows its quantization methods. No GPU needed."""

import gptqmodel
from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
from transformers.utils import is_gptqmodel_available, is_optimum_available

print("gptqmodel", gptqmodel.__version__, "with", len(list(BACKEND)), "kernels")
config = QuantizeConfig(bits=4, group_size=128)
assert (config.bits, config.group_size) == (4, 128)
assert callable(GPTQModel.load)
assert is_gptqmodel_available()
assert is_optimum_available()  # else transformers refuses to load what GPTQModel made
