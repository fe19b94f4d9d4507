"""Layers of different kinds: published parameter counts, what is kept of a token, and what is said of unknown keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import FitVerdict, predict, size_notes
from jetson_containers.llm.fit.weights import active_weights, linear_weights, parameters, stored_bytes, weights
from jetson_containers.llm.models.config import from_hf
from tests.paths import UNIT_DIR

# Shapes as their authors' config.json has them, and the parameters the hub counts in the files (MIT).
SHAPES: list[dict[str, Any]] = json.loads((UNIT_DIR / "modelshapes.json").read_text(encoding="utf-8"))
BY_NAME: dict[str, dict[str, Any]] = {row["name"]: row["config"] for row in SHAPES}
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
    "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
GEMMA3N = {
    "model_type": "gemma3n",
    "text_config": {
        "model_type": "gemma3n_text", "hidden_size": 2048, "hidden_size_per_layer_input": 256,
        "intermediate_size": [16384] * 35, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
        "num_hidden_layers": 35, "num_kv_shared_layers": 15, "vocab_size": 262400, "laurel_rank": 64,
        "vocab_size_per_layer_input": 262144, "sliding_window": 512, "altup_num_inputs": 4,
    },
}  # fmt: skip


def test_layers_are_tested_with_many_shapes_of_all_kinds() -> None:
    """There are many shapes of all kinds."""
    assert len(SHAPES) >= 35
    assert sum(1 for row in SHAPES if "active" in row) >= 12


@pytest.mark.parametrize("row", SHAPES, ids=[row["name"] for row in SHAPES])
def test_layers_have_the_published_parameters(row: dict[str, Any]) -> None:
    """Every shape has its published parameters."""
    read = from_hf(row["config"])
    assert parameters(read) == pytest.approx(row["parameters"], rel=row.get("tolerance", 0.007)), row.get("why", "")
    assert read.unread == ()


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("nvidia/Nemotron-Cascade-2-30B-A3B", 3.23),
        ("google/gemma-4-26B-A4B-it", 3.82),
        ("meta-llama/Llama-4-Scout-17B-16E", 17.2),
        ("zai-org/GLM-4.5-Air", 12.8),
        ("ai21labs/AI21-Jamba-Mini-1.5", 12.1),
    ],
)
def test_layers_count_the_published_active_parameters(name: str, billions: float) -> None:
    """A token goes through as many experts as published."""
    read = from_hf(BY_NAME[name])
    head = read.vocab * read.hidden
    assert (active_weights(read) + head * (1 if read.tied else 2)) / 1e9 == pytest.approx(billions, rel=0.13)


def test_layers_of_a_shared_block_hold_it_once_and_use_it_often() -> None:
    """Blocks that layers share are in the file once; a token goes through one at each of these layers, which cache."""
    config = BY_NAME["Zyphra/Zamba2-7B-Instruct"]
    read, places = from_hf(config), len(config["hybrid_layer_ids"])
    block = 3 * 7168 * 7168 + 7168 * 3584 + 3 * 3584 * 14336
    assert active_weights(read) - linear_weights(read) == (places - 2) * block
    assert kept(config, 4096) == places * 2 * 7168 * 4096
    alike = {**config, "hybrid_layer_ids": [1, 2], "num_hidden_layers": 3}
    assert linear_weights(from_hf(alike)) == active_weights(from_hf(alike))


def test_layers_count_their_own_embeddings_and_widths() -> None:
    """Embeddings of each layer and widths as a list are counted."""
    read = from_hf(GEMMA3N)
    assert parameters(read) / 1e9 == pytest.approx(6.87, rel=0.005)
    assert read.tables == 262144 * 256 * 35
    narrow = {**GEMMA3N["text_config"], "intermediate_size": [8192] * 5 + [16384] * 30}  # type: ignore[dict-item]
    less = from_hf({**GEMMA3N, "text_config": narrow})
    assert linear_weights(read) - linear_weights(less) == 5 * 3 * 2048 * 8192


def kept(config: dict[str, Any], tokens: int, runtime: str = "vllm") -> int:
    """Elements that are kept of a context, states of layers without attention left out."""
    read = from_hf(config)
    states = sum(block.state * len(block.at) for block in read.blocks) * 4
    return round((memory.kv_cache(read, constants.runtime(runtime), "f16", tokens) - states) / 2)


def test_layers_without_attention_keep_no_tokens() -> None:
    """Only layers with attention keep tokens."""
    assert kept(BY_NAME["nvidia/Nemotron-Cascade-2-30B-A3B"], 4096) == 6 * 2 * 2 * 128 * 4096
    assert kept(BY_NAME["Qwen/Qwen3.5-9B"], 4096) == 8 * 2 * 4 * 256 * 4096
    assert kept(BY_NAME["LiquidAI/LFM2-1.2B"], 1000) == 6 * 2 * 8 * 64 * 1000
    assert kept(BY_NAME["tiiuae/falcon-mamba-7b"], 4096) == 0
    read = from_hf(BY_NAME["tiiuae/falcon-mamba-7b"])
    assert memory.kv_cache(read, constants.runtime("vllm"), "f16", 4096) == 64 * 8192 * 16 * 4


def test_layers_with_a_window_keep_it_only_where_the_runtime_uses_it() -> None:
    """A window limits only its own layers, and only where the runtime uses it."""
    config = BY_NAME["openai/gpt-oss-20b"]
    assert kept(config, 32768) == 12 * 2 * 8 * 64 * (32768 + 128 + 256)
    assert kept(config, 32768, "exllama") == 24 * 2 * 8 * 64 * 32768
    assert kept(config, 64) == 24 * 2 * 8 * 64 * 64


def test_layers_that_share_keys_and_values_keep_nothing() -> None:
    """Layers that share keys and values keep nothing of their own."""
    read = from_hf(GEMMA3N)
    assert sum(len(block.at) for block in read.blocks if block.cache) == 20


def test_layers_keep_compressed_keys_where_the_runtime_does() -> None:
    """Compressed keys are kept compressed where the runtime does that."""
    config = BY_NAME["zai-org/GLM-4.7-Flash"]
    assert kept(config, 4096) == 47 * (512 + 64) * 4096
    assert kept(config, 4096, "transformers") == 47 * 20 * (192 + 64 + 256) * 4096


def test_layers_with_a_uniform_window_are_counted_in_full() -> None:
    """A window of all layers is not counted on."""
    config = {**LLAMA, "model_type": "mistral", "sliding_window": 4096}
    assert kept(config, 32768) == 16 * 2 * 8 * 64 * 32768


@pytest.mark.parametrize(
    ("given", "sparse"),
    [
        ({"num_experts": 8, "first_k_dense_replace": 3}, [*range(3, 16)]),
        ({"num_local_experts": 8, "interleave_moe_layer_step": 2}, [*range(1, 16, 2)]),
        ({"num_experts": 8, "decoder_sparse_step": 2, "mlp_only_layers": [1, 3]}, [*range(5, 16, 2)]),
        ({"moe_num_experts": 8, "moe_layer_start_index": 2, "moe_layer_end_index": 4}, [2, 3, 4]),
        ({"n_routed_experts": 8, "moe_layer_freq": [0] * 12 + [1] * 4}, [12, 13, 14, 15]),
        ({"num_experts": 8, "mlp_layer_types": ["dense"] * 15 + ["sparse"]}, [15]),
        ({"num_experts": 8, "moe_layers": [0, 7]}, [0, 7]),
        ({"num_experts": 8, "moe_layers_enum": "4,5"}, [4, 5]),
        ({"num_experts": 8, "expert_layer_period": 4, "expert_layer_offset": 3}, [3, 7, 11, 15]),
    ],
)
def test_layers_with_experts_are_found_in_every_spelling(given: dict[str, Any], sparse: list[int]) -> None:
    """Which layers have experts is read in every spelling."""
    read = from_hf({**LLAMA, "moe_intermediate_size": 512, "num_experts_per_tok": 2, **given})
    found = [
        layer
        for block in read.blocks
        for layer in block.at
        if any(matrix.role == "expert" for matrix in block.matrices)
    ]
    assert sorted(found) == sparse
    assert (read.experts, read.experts_used, read.dense_layers) == (8, 2, 16 - len(sparse))
    assert read.unread == ()


@pytest.mark.parametrize("used", ["num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts", "experts_per_token"])
@pytest.mark.parametrize("count", ["num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts"])
@pytest.mark.parametrize("shared", ["n_shared_experts", "num_shared_experts", "moe_num_shared_experts"])
def test_layers_count_experts_by_any_published_name(count: str, used: str, shared: str) -> None:
    """Experts are counted by any published name."""
    read = from_hf({**LLAMA, count: 16, used: 4, shared: 2, "moe_intermediate_size": 256})
    assert (read.experts, read.experts_used, read.shared_intermediate) == (16, 4, 512)


def test_layers_count_experts_for_text_and_pictures_apart() -> None:
    """Experts for text and for pictures are two groups."""
    two = {**LLAMA, "moe_num_experts": [64, 32], "moe_k": 6, "moe_intermediate_size": [512, 128]}
    read = from_hf(two)
    experts = 16 * 3 * 2048 * (64 * 512 + 32 * 128)
    one = from_hf({**two, "moe_num_experts": 2, "moe_intermediate_size": 1})
    rest = linear_weights(one) - 16 * (3 * 2048 * 2 + 2048 * 2)
    assert linear_weights(read) == rest + experts + 16 * 2048 * 96
    assert read.unread == ()


@pytest.mark.parametrize(
    "key",
    [{"foo_num_experts": 64}, {"x_layer_types": ["a", "b"]}, {"ngram_vocab_size": 1000}, {"layer_types": ["odd"] * 16},
     {"hybrid_override_pattern": "MX"}, {"block_configs": [{"a": 1}]}, {"attn_type_list": [0, 1]}],
    ids=str,
)  # fmt: skip
def test_layers_report_an_unknown_key_that_changes_the_size(key: dict[str, Any]) -> None:
    """A key that changes the size and is not understood is reported."""
    (name,) = key
    read = from_hf({**LLAMA, **key})
    assert read.unread == (name,)
    told = predict(read, runtime="llama_cpp", board=board_named("agx-orin-64gb"))
    assert any(f"`{name}`" in note and "unknown keys" in note for note in told.notes)


@pytest.mark.parametrize(
    "key",
    [{"num_experts": 1, "moe_intermediate_size": 64}, {"num_experts": None, "moe_dim": 3}, {"use_moe": True},
     {"router_aux_loss_coef": 0.1, "moe_loss_coef": 1}, {"pretraining_tp": 2}, {"rope_scaling": {"factor": 8}}],
    ids=str,
)  # fmt: skip
def test_layers_do_not_report_keys_without_weights(key: dict[str, Any]) -> None:
    """A key that has no weights is not reported."""
    read = from_hf({**LLAMA, **key})
    assert (read.unread, linear_weights(read)) == ((), linear_weights(from_hf(LLAMA)))


# The outer type decides what loads, the inner one what it weighs ------------------------------------------------------


def nested(outer: str, inner: str, where: str = "text_config") -> dict[str, Any]:
    text = {name: value for name, value in LLAMA.items() if name != "architectures"}
    return {"model_type": outer, where: {**text, "model_type": inner}, "vision_config": {"depth": 2, "hidden_size": 64}}


@pytest.mark.parametrize("where", ["text_config", "llm_config", "language_config", "llm_cfg", "something_else"])
def test_layers_of_the_language_model_are_found_wherever_it_is(where: str) -> None:
    """The language model is found wherever it is."""
    read = from_hf(nested("outer", "qwen2", where))
    assert (read.model_type, read.text_type, read.layers, read.hidden) == ("outer", "qwen2", 16, 2048)


def test_layers_of_a_language_model_two_levels_down_are_found() -> None:
    """Two levels down it is found too."""
    config = {"model_type": "omni", "thinker_config": nested("omni_thinker", "qwen2")}
    read = from_hf(config)
    assert (read.model_type, read.text_type, read.layers) == ("omni", "qwen2", 16)


@pytest.mark.parametrize(
    ("outer", "inner", "runtime", "verdict"),
    [
        ("qwen3_vl", "qwen3_vl_text", "llama_cpp", FitVerdict.FITS),
        ("qwen3_vl", "qwen3_vl_text", "vllm", FitVerdict.FITS),
        ("llama4", "llama4_text", "llama_cpp", FitVerdict.FITS),
        ("gemma3n", "gemma3n_text", "llama_cpp", FitVerdict.FITS),
        ("qwen3_5_moe", "qwen3_5_moe_text", "vllm", FitVerdict.FITS),
        ("glm4v", "glm4v_text", "llama_cpp", FitVerdict.FITS),
        ("x_robotics", "qwen3", "mlc", FitVerdict.IMPOSSIBLE),
        ("x_robotics", "qwen3", "llama_cpp", FitVerdict.UNKNOWN),
        ("x_robotics", "qwen3", "vllm", FitVerdict.UNKNOWN),
        ("x_robotics", "qwen3", "bitsandbytes", FitVerdict.UNKNOWN),
    ],
)
def test_config_outer_type_decides_what_loads(outer: str, inner: str, runtime: str, verdict: FitVerdict) -> None:
    """The outer type decides what loads."""
    read = from_hf(nested(outer, inner))
    told = predict(read, runtime=runtime, board=board_named("agx-orin-64gb"), context=2048)
    assert (told.verdict, told.fits) == (verdict, verdict is FitVerdict.FITS)
    assert verdict is FitVerdict.FITS or f"`{outer}`" in told.reason


@pytest.mark.parametrize("family", ["qwen3_vl_text", "qwen2_5_vl_text", "llama4_text"])
def test_config_of_a_text_part_alone_loads_as_the_complete_model(family: str) -> None:
    """A text part saved on its own loads as the complete model does."""
    read = from_hf({**LLAMA, "model_type": family})
    assert predict(read, runtime="llama_cpp", board=board_named("orin-nx-16gb")).verdict is FitVerdict.FITS


def test_layers_of_encoders_count_where_they_are_loaded() -> None:
    """Encoders count where they are loaded."""
    vision = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096}
    config = nested("qwen3_vl", "qwen3_vl_text")
    with_it = from_hf({**config, "vision_config": vision})
    without = from_hf({key: value for key, value in config.items() if key != "vision_config"})
    merger = 4096 * 4096 + 4096 * 2048
    size = 24 * (4 * 1024**2 + 2 * 1024 * 4096) + merger
    assert with_it.towers == pytest.approx(size, rel=0.03)
    machine = board_named("agx-orin-64gb")
    for runtime, bytes_more in (("vllm", 2 * with_it.towers), ("llama_cpp", 0)):
        heavy, light = (predict(each, runtime=runtime, board=machine).weights_bytes for each in (with_it, without))
        assert heavy - light == pytest.approx(bytes_more, abs=2), runtime


def test_config_of_an_adapter_is_refused() -> None:
    """An adapter is not a model."""
    with pytest.raises(UsageError, match="LoRA adapter of org/base, not a model") as error:
        from_hf({"peft_type": "LORA", "base_model_name_or_path": "org/base"})
    assert "merge" in (error.value.hint or "")


def test_fit_of_new_models_on_small_boards_is_right() -> None:
    """A model that does not fit is not said to, and one that fits is."""
    nx, orin = board_named("orin-nx-16gb"), board_named("agx-orin-64gb")
    full = predict(from_hf(GEMMA3N), runtime="vllm", board=nx)
    assert (full.verdict, full.weights_bytes / GIB) == (FitVerdict.NO, pytest.approx(12.8, abs=0.2))
    nemotron = from_hf(BY_NAME["nvidia/Nemotron-Cascade-2-30B-A3B"])
    assert predict(nemotron, runtime="llama_cpp", board=orin).verdict is FitVerdict.FITS
    ernie = from_hf(BY_NAME["baidu/ERNIE-4.5-21B-A3B-PT"])
    assert predict(ernie, runtime="vllm", board=nx).weights_bytes / GIB == pytest.approx(40.7, abs=0.3)


def test_layers_take_what_their_class_assumes_where_nothing_is_stated() -> None:
    """What a configuration leaves out is what its class assumes, and what it states counts, an empty value too."""
    lean = {
        "model_type": "qwen3_next", "hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 8,
        "vocab_size": 9000, "intermediate_size": 3000,
    }  # fmt: skip
    full = {
        **lean, "num_key_value_heads": 2, "head_dim": 256, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "linear_key_head_dim": 128, "linear_value_head_dim": 128, "num_experts": 512, "num_experts_per_tok": 10,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
    }  # fmt: skip
    assert from_hf(lean) == from_hf(full)
    latent = {**BY_NAME["moonshotai/Moonlight-16B-A3B"]}
    without = {key: value for key, value in latent.items() if key != "q_lora_rank"}
    assert linear_weights(from_hf(without)) != linear_weights(from_hf(latent))  # the class compresses the queries
    assert from_hf({**lean, "num_experts": 0}).experts == 0
    with pytest.raises(UsageError, match="no usable `hidden_size`"):
        from_hf({"model_type": "qwen3_next"})


def test_layers_of_an_inner_model_take_what_its_class_assumes() -> None:
    """An inner model and an encoder that state little are those that the classes assume."""
    inner = {"hidden_size": 2560, "intermediate_size": 9216, "num_key_value_heads": 4}
    read = from_hf({"model_type": "qwen3_5", "text_config": inner, "vision_config": {}})
    assert (read.layers, read.heads, read.head_dim, read.vocab) == (32, 16, 256, 248320)
    assert (read.model_type, read.family) == ("qwen3_5", "qwen3_5_text")
    assert sum(len(block.at) for block in read.blocks if block.cache) == 8
    assert read.towers == pytest.approx(27 * (4 * 1152**2 + 2 * 1152 * 4304) + 4608 * (4608 + 2560), rel=0.02)
    assert read.unread == ()


def test_layers_that_predict_further_tokens_are_in_the_files_only() -> None:
    """Layers for further tokens count in the files, and in no runtime's memory."""
    plain = {**LLAMA, "model_type": "mimo", "tie_word_embeddings": False}
    more, less = from_hf({**plain, "num_nextn_predict_layers": 2}), from_hf(plain)
    layer = 2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192
    assert parameters(more) - parameters(less) == 2 * (layer + 2 * 2048 * 2048)
    assert weights(more, "Q4_K_M") == weights(less, "Q4_K_M")
    assert stored_bytes(more) - stored_bytes(less) == 2 * (parameters(more) - parameters(less))


def test_layers_of_encoders_of_other_kinds_are_counted() -> None:
    """Conformers, named convolutional encoders and GLM's encoder have sizes of their own."""
    config = nested("gemma3n", "gemma3n_text")
    sound = from_hf({**config, "vision_config": {}, "audio_config": {"hidden_size": 256, "conf_num_hidden_layers": 3}})
    assert sound.towers == 300_000_000 + 3 * 24 * 256 * 256
    glm = {"model_type": "glm4v", "depth": 2, "hidden_size": 64, "out_hidden_size": 2048, "intermediate_size": 4096,
           "patch_size": 2, "image_size": 8}  # fmt: skip
    towers = from_hf({**nested("glm4v", "glm4v_text"), "vision_config": glm}).towers
    blocks = 2 * (4 * 64 * 64 + 3 * 64 * 2048) + 2048 * 2048 + 3 * 2048 * 4096 + 4 * 64 * 2048
    assert towers == blocks + 64 * (2 * 2 * 3 * 2 + 16)


def test_layers_of_experts_are_quantized_as_their_part_of_the_block_is() -> None:
    """The last matrix of an expert is stored with more bits where that of a dense block is."""
    sparse = from_hf({**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2})
    more = weights(sparse, "Q4_K_M").total - weights(sparse, "Q4_K_S").total
    dense = from_hf(LLAMA)
    assert more > 3.5 * (weights(dense, "Q4_K_M").total - weights(dense, "Q4_K_S").total)


def test_config_of_a_bert_is_an_encoder() -> None:
    """A BERT has blocks without a gate, positions of its own and no head."""
    read = from_hf(
        {"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
         "vocab_size": 30522, "intermediate_size": 1536, "max_position_embeddings": 512}
    )  # fmt: skip
    assert parameters(read) == 6 * (4 * 384**2 + 2 * 384 * 1536) + (30522 + 512) * 384 + 384**2


def test_layers_have_what_is_stated_of_each() -> None:
    """Widths of heads that are stated of single layers, or of a kind of them, count there; a class assumes some."""
    text = {
        "model_type": "gemma4_text", "hidden_size": 1024, "intermediate_size": 2048, "num_attention_heads": 4,
        "head_dim": 256, "num_hidden_layers": 12, "num_key_value_heads": 2, "vocab_size": 5000,
        "hidden_size_per_layer_input": 0,
    }  # fmt: skip
    plain = from_hf({"model_type": "gemma4", "text_config": text})
    wide = {"head_dim": 512, "num_key_value_heads": 1}
    for every in ({"5": wide, "11": wide}, {"full_attention": wide}):
        read = from_hf({"model_type": "gemma4", "text_config": {**text, "per_layer_config": every}})
        assert read.unread == ()
        assert linear_weights(plain) - linear_weights(read) == 2 * 2 * 1024 * 512  # one key head less in two layers
        assert [block.cache for block in read.blocks] == [2 * 2 * 256, 2 * 512]
    assert [block.cache for block in plain.blocks] == [2 * 2 * 256, 2 * 2 * 512]


SMALL = {
    "model_type": "llama", "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 32000, "tie_word_embeddings": True,
}  # fmt: skip
EAR = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "num_attention_heads": 6}


@pytest.mark.parametrize(
    "key", ["audio_config", "speech_config", "audio_encoder_config", "encoder", "vision_model_config", "qformer_config"]
)
def test_encoders_count_under_whatever_name_they_stand(key: str) -> None:
    """A part with the shape of a transformer that is not the language model weighs what its shape says."""
    alone = from_hf({"model_type": "outer", "text_config": SMALL})
    both = from_hf({"model_type": "outer", "text_config": SMALL, key: EAR})
    assert both.towers - alone.towers >= 6 * (4 * 384 * 384 + 2 * 384 * 1536)
    assert parameters(both) - parameters(alone) == both.towers - alone.towers


@pytest.mark.parametrize("key", ["audio_processor", "image_transform", "speech_tokens"])
def test_parts_without_layers_are_no_encoders(key: str) -> None:
    """A part of a similar name that has no layers weighs nothing."""
    assert from_hf({"model_type": "outer", "text_config": SMALL, key: {"size": 384, "mean": [0.5]}}).towers == 0


def test_parts_that_speak_are_named_as_not_understood() -> None:
    """What makes speech of the answer is in the files and in no prediction, which is said."""
    talking = {"model_type": "outer", "thinker_config": {"text_config": SMALL}, "talker_config": EAR}
    read = from_hf(talking)
    assert "talker_config" in read.unread
    assert read.towers == 0
    assert any("`talker_config`" in note for note in size_notes(read))
