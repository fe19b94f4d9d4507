"""A small model is quantized to 4 bits without calibration data, on the CPU, and written as compressed tensors."""

import json
import tempfile
from pathlib import Path

import llmcompressor
import torch
from llmcompressor import oneshot
from llmcompressor.modifiers.quantization import GPTQModifier, QuantizationModifier
from transformers import LlamaConfig, LlamaForCausalLM

print("llmcompressor", llmcompressor.__version__, "with torch", torch.__version__)
assert GPTQModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"]).scheme == "W4A16"

torch.manual_seed(0)
sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}
model = LlamaForCausalLM(LlamaConfig(**sizes))
oneshot(model=model, recipe=QuantizationModifier(targets="Linear", scheme="W4A16", ignore=["lm_head"]))
with tempfile.TemporaryDirectory() as directory:
    model.save_pretrained(directory, save_compressed=True)
    config = json.loads(Path(directory, "config.json").read_text())["quantization_config"]
assert config["quant_method"] == "compressed-tensors", config
print("one layer was quantized to", config["format"])
