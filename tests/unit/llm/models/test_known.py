"""Models that were released since 2025 on boards: whether they fit, what they keep, what is said of them.

Each is another one than those whose wrong answers were reported, of the same kind of fault.
"""

from __future__ import annotations

from typing import Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import FitVerdict, predict
from jetson_containers.llm.fit.weights import active_weights, parameters
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import ModelConfig, from_hf

FITS, NO, TIGHT = FitVerdict.FITS, FitVerdict.NO, FitVerdict.TIGHT


def shape(name: str) -> ModelConfig:
    """A known model."""
    config = known.config(name)
    assert config is not None, name
    return config


@pytest.mark.parametrize(
    ("name", "runtime", "board", "verdict"),
    [
        ("gemma-4-E4B-it", "llama_cpp", "orin-nano-8gb", NO),  # embeddings of its layers
        ("gemma-4-E2B-it", "llama_cpp", "orin-nano-8gb", FITS),
        ("gemma-3n-E2B-it", "vllm", "orin-nx-16gb", NO),  # with its encoders
        ("NVIDIA-Nemotron-Nano-9B-v2", "llama_cpp", "orin-nx-16gb", FITS),  # one block in each layer
        ("NVIDIA-Nemotron-3-Super-120B-A12B-BF16", "llama_cpp", "agx-thor", FITS),
        ("Ring-mini-2.0", "llama_cpp", "orin-nx-16gb", FITS),
        ("Ring-mini-2.0", "vllm", "orin-nx-16gb", NO),  # all experts are held
        ("Qwen3-VL-4B-Instruct", "llama_cpp", "orin-nano-8gb", FITS),  # an inner type that no list has
        ("Qwen3.5-4B", "llama_cpp", "orin-nano-8gb", FITS),
        ("Kimi-VL-A3B-Thinking", "llama_cpp", "orin-nx-16gb", FITS),
        ("granite-4.0-h-tiny", "llama_cpp", "orin-nx-16gb", FITS),
        ("gpt-oss-120b", "vllm", "agx-thor", FITS),
        ("gpt-oss-120b", "llama_cpp", "agx-orin-64gb", NO),
    ],
)
def test_fit_of_a_model_of_today_is_right(name: str, runtime: str, board: str, verdict: FitVerdict) -> None:
    """What fits is said to, and what does not fit is not."""
    told = predict(shape(name), runtime=runtime, board=board_named(board), context=4096)
    assert told.verdict in ({FITS, TIGHT} if verdict is FITS else {NO, FitVerdict.SWAP}), told.reason


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen3-30B-A3B-Instruct-2507", 3.3),
        ("Qwen3.5-122B-A10B", 10.0),
        ("gpt-oss-120b", 5.1),
        ("LFM2.5-8B-A1B", 1.5),
        ("granite-4.0-h-small", 9.0),
        ("Ring-mini-2.0", 1.4),
        ("Trinity-Mini", 3.0),
        ("Kimi-Linear-48B-A3B-Base", 3.0),
        ("NVIDIA-Nemotron-3-Super-120B-A12B-BF16", 12.0),
    ],
)
def test_fit_counts_the_experts_that_take_part(name: str, billions: float) -> None:
    """A token goes through about as many weights as the publisher says, embeddings or not."""
    config = shape(name)
    active = active_weights(config) / 1e9
    head = config.vocab * config.hidden / 1e9
    assert active * 0.88 <= billions <= (active + 2 * head) * 1.12


@pytest.mark.parametrize(
    ("name", "tokens", "elements"),
    [
        ("Qwen3.5-4B", 8192, 8 * 2 * 4 * 256 * 8192),  # a fourth of the layers
        ("NVIDIA-Nemotron-Nano-9B-v2", 4096, 4 * 2 * 8 * 128 * 4096),
        ("Moonlight-16B-A3B", 4096, 27 * (512 + 64) * 4096),  # compressed
        ("gemma-3-1b-it", 32768, (4 * 32768 + 22 * (512 + 256)) * 2 * 256),  # a window in most layers
        ("granite-4.0-h-small", 4096, 4 * 2 * 8 * 128 * 4096),
        ("LFM2.5-230M", 4096, 6 * 2 * 8 * 64 * 4096),
    ],
)
def test_fit_keeps_of_a_context_what_the_layers_keep(name: str, tokens: int, elements: int) -> None:
    """The cache is that of the layers that keep tokens, as far back as they look."""
    config = shape(name)
    states = sum(block.state * len(block.at) for block in config.blocks) * 4
    kept = memory.kv_cache(config, constants.runtime("vllm"), "f16", tokens) - states
    assert kept == pytest.approx(2 * elements, rel=0.01)


@pytest.mark.parametrize(
    ("stated", "board", "gib"),
    [
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "agx-thor", 6.0),
        ({"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {
            "num_bits": 4, "type": "float", "group_size": 16}}}}, "agx-thor", 6.0),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "agx-thor", 8.8),
    ],
)  # fmt: skip
def test_fit_reads_how_a_checkpoint_of_today_is_quantized(stated: dict[str, Any], board: str, gib: float) -> None:
    """A quantized checkpoint is as large as its format makes it, and vLLM serves it where the chip can."""
    plain = {**known.configs()["Qwen/Qwen3-8B"], "quantization_config": stated}
    told = predict(from_hf(plain), runtime="vllm", board=board_named(board), context=4096)
    assert told.fits
    assert told.weights_bytes / GIB == pytest.approx(gib, rel=0.08)


def test_fit_reads_an_exl3_checkpoint_of_mixed_widths() -> None:
    """Widths of an average that is no whole number are not rounded."""
    plain = known.configs()["Qwen/Qwen3-14B"]
    made = {"quant_method": "exl3", "bits": 3.5, "head_bits": 6}
    told = predict(
        from_hf({**plain, "quantization_config": made}), runtime="exllama", board=board_named("orin-nx-16gb")
    )
    config = from_hf(plain)
    body = parameters(config) - 2 * config.vocab * config.hidden
    assert told.weights_bytes == pytest.approx(body * 3.5 / 8 + config.vocab * config.hidden * (2 + 6 / 8), rel=0.01)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": "DORA", "base_model_name_or_path": "Qwen/Qwen3-4B"}, "adapter of Qwen/Qwen3-4B"),
        ({"architectures": ["LlamaForCausalLMEagle3"], "model_type": "llama", "draft_vocab_size": 32000,
          "hidden_size": 4096,
          "num_hidden_layers": 1, "num_attention_heads": 32, "intermediate_size": 14336, "vocab_size": 128256},
         "drafts tokens for another model"),
    ],
)  # fmt: skip
def test_fit_says_what_a_checkpoint_is_that_answers_nobody(config: dict[str, Any], said: str) -> None:
    """Adapters and heads that draft for a model are named for what they are."""
    with pytest.raises(UsageError, match=said):
        from_hf(config)
