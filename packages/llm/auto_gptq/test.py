"""AutoGPTQ imports, and its kernels were compiled for this platform. No GPU needed."""

import importlib.metadata
import importlib.util

print("auto-gptq", importlib.metadata.version("auto-gptq"))
for kernel in ("autogptq_cuda_64", "autogptq_cuda_256"):
    assert importlib.util.find_spec(kernel), "no kernel %s" % kernel

from auto_gptq import AutoGPTQForCausalLM, BaseQuantizeConfig  # noqa: E402

assert BaseQuantizeConfig(bits=4, group_size=128, desc_act=False).bits == 4
assert callable(AutoGPTQForCausalLM.from_pretrained)
