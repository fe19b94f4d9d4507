"""Repositories and folders that hold no language model: named for what they are, by `fit` and by `chat`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.models import lookup, other_kinds, shape
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.other_kinds import OtherKindError

if TYPE_CHECKING:
    from pathlib import Path

PLAIN = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}


def folder(place: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        (place / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return place


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "wav2vec2", "vocab_size": 32, **PLAIN}, r"a speech recognition model \(wav2vec2\)"),
        ({"model_type": "moonshine", "vocab_size": 32768, **PLAIN}, "a speech recognition model"),
        ({"model_type": "vits", "vocab_size": 38, **PLAIN}, "a speech or music synthesis model"),
        ({"model_type": "siglip2", "text_config": {**PLAIN, "vocab_size": 256000}}, "an encoder of pictures"),
        ({"model_type": "rt_detr_v2", "d_model": 256}, "a detector of objects"),
        ({"model_type": "timesfm", **PLAIN}, "a model of time series"),
        ({"_class_name": "AutoencoderKL", "_diffusers_version": "0.30"}, "a part of a diffusion pipeline"),
        ({"type": "act", "n_obs_steps": 1}, "a robot policy"),
        ({"pretrained_config": {}, "build_config": {}}, "a TensorRT-LLM checkpoint or engine"),
    ],
)
def test_configuration_of_another_kind_is_named(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    """`fit` and `chat` say what it is, although some of them have every key that a shape is read from."""
    place = folder(tmp_path, {"config.json": config, "model.safetensors": ""})
    with pytest.raises(OtherKindError, match=f"config.json is that of {words}.*, not of a language model"):
        shape.of_path(place)
    with pytest.raises(OtherKindError, match=words):
        lookup.read_config(place / "config.json")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("pytorch_lora_weights.safetensors", "README.md"), "a LoRA of a diffusion pipeline"),
        (("parakeet-tdt.nemo",), "a NeMo archive"),
        (("yolo11n.pt",), "a checkpoint in another format"),
        (("model.tflite",), "a conversion for phones"),
        (("openvino_model.xml", "openvino_model.bin"), "an OpenVINO conversion"),
        (("rank0.engine",), "a TensorRT-LLM checkpoint or engine"),
        (("decoder.onnx", "encoder.onnx"), "an ONNX conversion"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    """Without a configuration the files say what a folder holds."""
    place = folder(tmp_path, dict.fromkeys(names, ""))
    with pytest.raises(OtherKindError, match=f"holds {words} .*not a language model"):
        shape.of_path(place)
    with pytest.raises(OtherKindError, match=words):
        other_kinds.refuse_files([f"data/{name}" for name in names], "org/m")


def test_folder_without_anything_known_is_not_named(tmp_path: Path) -> None:
    """A folder of which nothing says what it is gets no name of a kind."""
    with pytest.raises(UsageError, match=r"no config\.json, so it is not a known kind of model"):
        shape.of_path(folder(tmp_path, {"notes.txt": ""}))


def test_kinds_name_no_type_that_is_a_language_model() -> None:
    """No type of another kind is in llama.cpp's list or MLC's, and each kind is recognized by something."""
    kinds = load_facts("other_kinds")["kinds"]
    types = [name for row in kinds.values() for name in row.get("types", ())]
    assert len(types) == len(set(types))
    loads = {*load_facts("architectures")["llama_cpp"]["gguf"], *load_facts("architectures")["lmdeploy"]["new"]}
    assert loads & set(types) == set()
    assert all(row.get("types") or row.get("keys") or row.get("files") for row in kinds.values())
    answer = {**PLAIN, "model_type": "bert", "vocab_size": 30522}
    assert from_hf(answer).model_type == "bert"


def test_mlx_conversion_is_read_as_quantized() -> None:
    """MLX states its quantization under a name of its own: packed weights are not taken for 16-bit ones."""
    config = {**PLAIN, "model_type": "llama", "vocab_size": 32000, "quantization": {"group_size": 64, "bits": 4}}
    found = from_hf(config).quantized
    assert found is not None
    assert (found.method, found.stored) == ("mlx", 4.5)
    assert from_hf({**config, "quantization": "none"}).quantized is None


@pytest.mark.parametrize(
    ("architecture", "model_type", "kind"),
    [
        ("LlavaLlamaModel", "llava_llama", ""),  # VILA: its name ends like that of Llama's inner model
        ("LlavaQwen2Model", "llava_qwen2", ""),
        ("InternVLChatModel", "internvl_chat", ""),
        ("ChatGLMModel", "chatglm", ""),
        ("Qwen2Model", "qwen2", "an embedding model"),
        ("GPTNeoXModel", "gpt_neox", "an embedding model"),
        ("ColPaliForRetrieval", "colpali", "an embedding model"),
        ("BertLMHeadModel", "bert", ""),
        ("RobertaForCausalLM", "roberta", ""),
        ("CamembertModel", "camembert", "an embedding model"),
        ("MobileBertForNextSentencePrediction", "mobilebert", "a reranker or classifier"),
        ("LongformerModel", "longformer", "an embedding model"),
        ("EsmModel", "esm", "an embedding model"),
    ],
)
def test_silent_goes_by_whole_names_of_classes(architecture: str, model_type: str, kind: str) -> None:
    """A class that generates is not silent by its type, nor one whose name only ends as an inner model's."""
    assert other_kinds.silent(architecture, model_type) == kind


@pytest.mark.parametrize(
    ("model_type", "words"),
    [
        ("parakeet_tdt", "speech recognition"),
        ("pocket_tts", "synthesis"),
        ("xcodec2", "audio codec"),
        ("rf_detr", "detector"),
        ("sam3_video", "segmentation"),
        ("timesfm2_5", "time series"),
        ("superpoint", "reads pictures"),
        ("vjepa2", "videos"),
        ("clap", "sounds"),
        ("xclip", "pictures"),
        ("decision_transformer", "robot policy"),
    ],
)
def test_types_of_the_newest_transformers_are_known(model_type: str, words: str) -> None:
    """Types of transformers 5.24 whose classes write no text."""
    with pytest.raises(OtherKindError, match=words):
        other_kinds.refuse_config({**PLAIN, "model_type": model_type}, "config.json")
