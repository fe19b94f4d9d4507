"""Widths of quantized checkpoints: whole and fractional, of every method, and the ones that are not understood."""

from __future__ import annotations

from typing import Any

import pytest

from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import FitVerdict, predict
from jetson_containers.llm.models import quantized
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.platforms import detect

L = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "torch_dtype": "bfloat16",
}  # fmt: skip
GPT_OSS = {
    "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880, "num_attention_heads": 64,
    "num_key_value_heads": 8, "head_dim": 64, "num_hidden_layers": 24, "num_local_experts": 32,
    "num_experts_per_tok": 4, "vocab_size": 201088, "quantization_config": {"quant_method": "mxfp4"},
}  # fmt: skip
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}


@pytest.mark.parametrize(
    ("raw", "label", "stored"),
    [
        ({"quant_method": "exl3", "bits": 3.0, "head_bits": 4}, "exl3-3bit", 3.0),
        ({"quant_method": "exl2", "bits": 2.65, "head_bits": 6}, "exl2-2.65bit", 2.65),
        ({"quant_method": "mxfp4"}, "mxfp4", 4.25),
        (NVFP4, "nvfp4", 4.5),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "modelopt-8bit", 8),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 128}, "modelopt-4bit", 4.125),
        ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 3, "group_size": 64}}}, "hqq-3bit",
         3 + 19 / 64),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only", "group_size": 32}, "torchao-4bit", 4.5),
        ({"quant_method": "torchao", "quant_type": {"default": {"_type": "Float8WeightOnlyConfig"}}}, "torchao-8bit",
         8),
        ({"quant_method": "quanto", "weights": "int2"}, "quanto-2bit", 2.125),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}, "quark-4bit", 4.125),
        ({"quant_method": "fbgemm_fp8"}, "fp8-8bit", 8),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes-8bit", 8),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, "auto-round-4bit", 4.125),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}}}, "nvfp4", 4.5),
        ({"quant_method": "compressed-tensors", "config_groups": {
            "a": {"weights": {"num_bits": 4, "group_size": 128}}, "b": {"weights": {"num_bits": 8}}}},
         "compressed-tensors-8bit", 8),
        ({"quant_method": "vptq", "codebooks": 2}, "vptq of unknown width", 0),
        ({"quant_method": "gptq", "bits": "four"}, "gptq of unknown width", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_quantized_bits_are_what_the_method_stores(raw: dict[str, Any], label: str, stored: float) -> None:
    """The bits are what the method stores."""
    read = quantized.read_quantized(raw)
    assert read is not None
    assert (read.label, read.stored) == (label, pytest.approx(stored))


def test_quantized_reads_the_file_of_nvidia_beside_the_configuration() -> None:
    """NVIDIA's file beside the configuration counts."""
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}
    read = from_hf(L, beside=beside)
    assert read.quantized is not None
    assert (read.quantized.method, read.quantized.label) == ("modelopt", "nvfp4")
    assert from_hf(L, beside={"quantization": {"kv_cache_quant_algo": "FP8"}}).quantized is None
    assert from_hf(L, beside={}).quantized is None


@pytest.mark.parametrize(
    ("config", "gib"),
    [
        (GPT_OSS, 12.8),
        ({**L, "quantization_config": NVFP4}, 5.6),
        ({**L, "quantization_config": {"quant_method": "exl3", "bits": 3.0, "head_bits": 4}}, 3.7),
    ],
    ids=["gpt-oss", "nvfp4", "exl3"],
)
def test_quantized_checkpoint_is_as_large_as_its_files(config: dict[str, Any], gib: float) -> None:
    """A quantized checkpoint is as large as its files."""
    read = from_hf(config)
    runtime = "exllama" if read.quantized and read.quantized.method == "exl3" else "vllm"
    told = predict(read, runtime=runtime, board=board_named("agx-thor"))
    assert (told.verdict, told.weights_bytes / GIB) == (FitVerdict.FITS, pytest.approx(gib, abs=0.15))


def test_quantized_bits_that_are_unknown_count_in_full_with_a_note() -> None:
    """Bits that are not understood are reported and counted as 16."""
    read = from_hf({**L, "quantization_config": {"quant_method": "vptq"}})
    told = predict(read, runtime="vllm", board=board_named("agx-thor"))
    assert told.verdict is FitVerdict.UNKNOWN
    assert told.weights_bytes / GIB == pytest.approx(14.96, abs=0.05)
    assert any("the number of bits that vptq stores is unknown" in note for note in told.notes)


@pytest.mark.parametrize(
    ("raw", "runtime", "board", "verdict"),
    [
        (NVFP4, "vllm", "agx-thor", FitVerdict.FITS),
        (NVFP4, "vllm", "agx-orin-64gb", FitVerdict.UNKNOWN),
        (NVFP4, "llama_cpp", "agx-orin-64gb", FitVerdict.FITS),
        (NVFP4, "mlc", "agx-thor", FitVerdict.IMPOSSIBLE),
        ({"quant_method": "mxfp4"}, "vllm", "agx-orin-64gb", FitVerdict.FITS),
        ({"quant_method": "fp8"}, "vllm", "agx-orin-64gb", FitVerdict.IMPOSSIBLE),
        ({"quant_method": "exl3", "bits": 4.0}, "vllm", "agx-thor", FitVerdict.IMPOSSIBLE),
        ({"quant_method": "something", "bits": 4}, "vllm", "agx-thor", FitVerdict.UNKNOWN),
        ({"quant_method": "something", "bits": 4}, "exllama", "agx-thor", FitVerdict.IMPOSSIBLE),
    ],
)
def test_quantized_checkpoint_is_read_not_read_or_unknown(
    raw: dict[str, Any], runtime: str, board: str, verdict: FitVerdict
) -> None:
    """Who reads it is yes, no or not known."""
    told = predict(from_hf({**L, "quantization_config": raw}), runtime=runtime, board=board_named(board))
    assert told.verdict is verdict, told.reason
    assert "original" not in told.reason or raw["quant_method"] not in {"mxfp4", "fp8"}


@pytest.mark.parametrize(
    ("raw", "target", "ok", "doubts"),
    [
        (NVFP4, "agx-thor,r38.4.0", True, 0),
        (NVFP4, "agx-orin-64gb,r36.4.3", True, 1),
        ({"quant_method": "mxfp4"}, "agx-thor,r38.4.0", True, 0),
        ({"quant_method": "exl2", "bits": 2.65}, "agx-thor,r38.4.0", False, 0),
        ({"quant_method": "something", "bits": 4}, "agx-thor,r38.4.0", True, 1),
    ],
)
def test_quantized_checkpoint_gets_the_same_verdict_from_chat_and_fit(
    raw: dict[str, Any], target: str, ok: bool, doubts: int
) -> None:
    """Chat judges as fit does."""
    config = from_hf({**L, "quantization_config": raw})
    job = Job(
        source="/data/m",
        name="m",
        config=config,
        quantization="",
        target=Target(platform=detect.parse_target(target)),
        context=2048,
    )
    assert support_table.verdict("vllm", job).ok is ok
    assert len(support_table.unknowns("vllm", job)) == (doubts if ok else 0)


FOUR = {"num_bits": 4, "type": "float", "group_size": 16}
LAYERS = {
    "model.layers.0.mlp.down_proj": {"quant_algo": "NVFP4", "group_size": 16},
    "model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
}


@pytest.mark.parametrize(
    ("raw", "label", "stored"),
    [
        ({"group_size": 64, "bits": 4, "mode": "affine"}, "mlx-4bit", 4.5),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, "mxfp4", 4.25),
        ({"load_in_8bit": True, "llm_int8_threshold": 6.0}, "bitsandbytes-8bit", 8),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "fp4"}, "bitsandbytes-4bit", 4.5),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True}, "bitsandbytes-4bit",
         4.125),
        ({"quant_method": "aqlm", "in_group_size": 8, "nbits_per_codebook": 16, "num_codebooks": 2}, "aqlm-4bit", 4),
        ({"quant_method": "aqlm", "in_group_size": 8, "nbits_per_codebook": 16}, "aqlm of unknown width", 0),
        ({"quant_method": "auto-round", "bits": 4, "data_type": "mx_fp4e2m1", "group_size": 32}, "mxfp4", 4.25),
        ({"quant_method": "auto-round", "bits": 4, "data_type": "nv_fp4", "group_size": 16}, "nvfp4", 4.5),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4", "group_size": 32}}}, "mxfp4",
         4.25),
        ({"quant_method": "fp_quant", "forward_dtype": "nvfp4"}, "nvfp4", 4.5),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": LAYERS}, "modelopt-8bit", 8),
        ({"quant_method": "hqq", "quant_config": {
            "self_attn.q_proj": {"weight_quant_params": {"nbits": 4, "group_size": 64}},
            "mlp.down_proj": {"weight_quant_params": {"nbits": 2, "group_size": 16}},
        }}, "hqq-4bit", 4.3125),
        ({"quant_method": "gptq", "bits": "4", "group_size": 128}, "gptq-4bit", 4.15625),
        ({"quant_method": "gptq", "bits": "four", "group_size": 128}, "gptq of unknown width", 0),
        ({"quant_method": "bitnet", "linear_class": "autobitlinear"}, "bitnet-2bit", 2),
    ],
)  # fmt: skip
def test_quantized_widths_of_further_methods(raw: dict[str, Any], label: str, stored: float) -> None:
    """Methods that state their width in other words, deeper, or for single layers; the largest where several are."""
    found = quantized.read_quantized(raw)
    assert found is not None
    assert (found.label, found.stored) == (label, pytest.approx(stored))
