"""Weight files against computed sizes, repositories without a language model, and names that were not looked up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import predict
from jetson_containers.llm.fit.weights import parameters, stored_bytes
from jetson_containers.llm.models import lookup, shape, weight_files
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.other_kinds import OtherKindError
from jetson_containers.llm.pipeline.types import DownloadStep
from tests.unit.llm.fakes import File
from tests.unit.llm.models.test_quantized import NVFP4, L

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.core.settings import Settings
    from jetson_containers.llm.models.types import Model
    from tests.hubserver import HubServer

SMALL = {**L, "hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_key_value_heads": 4,
         "num_hidden_layers": 2, "vocab_size": 1000}  # fmt: skip
SMALL_BYTES = int(stored_bytes(from_hf(SMALL)))
COMMIT = "0" * 40


@pytest.mark.parametrize(
    ("files", "total"),
    [
        ({"model-00001-of-00002.safetensors": 5, "model-00002-of-00002.safetensors": 7, "pytorch_model.bin": 99}, 12),
        ({"model.safetensors": 5, "model.fp16.safetensors": 3, "onnx/model.safetensors": 9}, 5),
        ({"pytorch_model-00001-of-00001.bin": 8, "training_args.bin": 1, "optimizer.bin": 50}, 8),
        ({"weights.safetensors": 6, "adapter_model.safetensors": 50, "consolidated.safetensors": 6}, 6),
        ({"consolidated.00.pth": 6, "config.json": 1}, 0),
    ],
)
def test_weight_files_that_are_loaded_count_once(files: dict[str, int], total: int) -> None:
    """The files that are loaded are counted once."""
    assert weight_files.total(files.items()) == total


def test_weight_files_that_agree_settle_a_doubt() -> None:
    """Files that agree settle what was doubtful."""
    config = from_hf({**L, "foo_num_experts": 64})
    assert config.unread
    near = weight_files.checked(config, int(1.1 * 2 * parameters(config)))
    assert (near.unread, near.scale, near.measured) == ((), 1.0, "")


@pytest.mark.parametrize("factor", [0.3, 0.85, 1.2, 4.0])
def test_weight_files_that_disagree_win_with_a_note(factor: float) -> None:
    """Files that disagree win, with a note."""
    config = from_hf({**L, "foo_num_experts": 64})
    held = int(factor * 2 * parameters(config))
    found = weight_files.checked(config, held)
    board = board_named("agx-thor")
    told = predict(found, runtime="vllm", quantization="bf16", board=board)
    assert told.weights_bytes == pytest.approx(held, rel=0.001)
    assert any("the files count" in note and "`foo_num_experts`" in note for note in told.notes)
    smaller = predict(found, runtime="llama_cpp", board=board)
    plain = predict(config, runtime="llama_cpp", board=board)
    assert smaller.weights_bytes / plain.weights_bytes == pytest.approx(factor, rel=0.001)


def test_weight_files_decide_the_size_of_a_quantized_checkpoint() -> None:
    """A quantized checkpoint is as large as its files."""
    unknown = from_hf({**L, "quantization_config": {"quant_method": "vptq"}})
    told = predict(weight_files.checked(unknown, 3 * GIB), runtime="vllm", board=board_named("agx-thor"))
    assert told.weights_bytes == pytest.approx(3 * GIB, rel=0.001)
    assert any("the number of bits that vptq stores is unknown" in note for note in told.notes)
    # Said to be unquantized, and far too small for it: nobody read the file that says how it is quantized.
    silent = weight_files.checked(from_hf(L), int(5.6 * GIB))
    assert "63% less" in silent.measured


def test_weight_files_without_a_type_may_hold_32_bits() -> None:
    """Without a type the files may hold 32 bits."""
    config = from_hf({key: value for key, value in L.items() if key != "torch_dtype"})
    for width in (2, 4):
        assert weight_files.checked(config, width * parameters(config)).scale == 1
    stated = weight_files.checked(from_hf(L), 4 * parameters(config))
    assert stated.scale == pytest.approx(2)


def test_weight_files_that_are_placeholders_do_not_count() -> None:
    """Placeholders of large files say nothing about the size."""
    assert weight_files.checked(from_hf(L), 134 * 4).measured == ""


def folder(tmp_path: Path, config: dict[str, Any], files: dict[str, bytes]) -> Path:
    place = tmp_path / "data/models/mine"
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(config))
    for name, data in files.items():
        (place / name).write_bytes(data)
    return place


class NoHub:
    def describe(self, reference: str) -> Any:
        raise NotReadyError(f"{reference}: no network")

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        raise AssertionError(reference, ignore)


def test_weight_files_of_a_folder_count_for_fit_and_chat(tmp_path: Path) -> None:
    """Fit and chat both read the files of a folder."""
    place = folder(tmp_path, SMALL, {"model.safetensors": b"\x00" * (2 * SMALL_BYTES)})
    asked = lookup.find_shape(str(place), lambda _name: pytest.fail("the hub was asked"))
    chat = lookup.find(str(place), tmp_path / "data", NoHub())
    assert chat.config == asked.config
    assert asked.config.scale == pytest.approx(2)


def test_weight_files_index_counts_where_only_a_part_is_here(tmp_path: Path) -> None:
    """The index counts where only a part is here."""
    index = json.dumps({"metadata": {"total_size": SMALL_BYTES}}).encode()
    place = folder(tmp_path, SMALL, {"model.safetensors.index.json": index, "model-00001-of-00002.safetensors": b"x"})
    assert shape.of_folder(place).scale == 1


def test_shape_of_a_folder_reads_the_file_of_nvidia(tmp_path: Path) -> None:
    """NVIDIA's file is read beside a local configuration."""
    beside = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}
    place = folder(tmp_path, L, {"hf_quant_config.json": json.dumps(beside).encode()})
    for config in (shape.of_folder(place), lookup.find(str(place), tmp_path / "data", NoHub()).config):
        assert config is not None
        assert config.quantized is not None
        assert config.quantized.label == "nvfp4"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "adapter_config.json",
            {"peft_type": "LORA", "base_model_name_or_path": "org/base"},
            "LoRA adapter of org/base",
        ),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "diffusion pipeline"),
    ],
)
def test_lookup_and_find_shape_refuse_what_is_not_a_language_model(
    tmp_path: Path, name: str, content: dict[str, str], words: str
) -> None:
    """What is not a language model is refused by fit and chat."""
    place = folder(tmp_path, {}, {name: json.dumps(content).encode()})
    (place / "config.json").unlink()
    with pytest.raises(UsageError, match=words):
        lookup.find_shape(str(place), lambda _name: pytest.fail("the hub was asked"))
    with pytest.raises(UsageError, match=words):
        lookup.find(str(place), tmp_path / "data", NoHub())


# The hub -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Info:
    id: str
    files: tuple[File, ...]
    config: dict[str, Any] | None
    is_gguf: bool = False
    commit: str = COMMIT


class Hub(NoHub):
    def __init__(self, config: dict[str, Any] | None, *files: str | File) -> None:
        listed = tuple(file if isinstance(file, File) else File(file) for file in files)
        self.info = Info("org/m", listed, config)

    def describe(self, reference: str) -> Any:
        return self.info


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ("config.json", "consolidated.00.pth", "tokenizer.model"),
            "no weights in a supported format.*consolidated.00.pth",
        ),
        (("config.json", "onnx/model.onnx"), "no weights in a supported format.*onnx/model.onnx"),
        (("config.json", "consolidated.safetensors"), "no weights in a supported format.*consolidated.safetensors"),
        (("config.json", "README.md"), "has no weights"),
        (("model_index.json", "unet/model.safetensors"), "diffusion pipeline"),
        (("README.md", "model.safetensors"), "holds no config.json"),
    ],
)
def test_lookup_refuses_a_repository_that_no_runtime_could_load(
    tmp_path: Path, files: tuple[str, ...], words: str
) -> None:
    """Nothing is downloaded that no runtime could load."""
    config = L if "config.json" in files else None
    with pytest.raises(UsageError, match=words):
        lookup.find("org/m", tmp_path, Hub(config, *files))


def test_lookup_wants_pytorch_files_although_an_adapter_is_beside_them(tmp_path: Path) -> None:
    """PyTorch files are wanted although an adapter is beside them."""
    for other in ("adapter_model.safetensors", "text_encoder/model.safetensors"):
        hub = Hub(L, "config.json", File("pytorch_model.bin", 500), other)
        first = lookup.find("org/m", tmp_path, hub).first
        assert isinstance(first, DownloadStep)
        assert first.size >= 510
        assert "pytorch_model.bin" in lookup.find("org/m", tmp_path, hub).files


def test_lookup_of_a_repository_of_unknown_shape_says_why(tmp_path: Path) -> None:
    """A repository whose shape is unknown says why."""
    orchid = {"model_type": "orchid", "d_model": 1280, "encoder_layers": 32, "vocab_size": 51866}
    model = lookup.find("org/m", tmp_path, Hub(orchid, "config.json", "model.safetensors"))
    assert (model.config, model.kind) == (None, "orchid")
    assert "num_hidden_layers" in model.problem


def test_lookup_of_a_repository_of_another_kind_ends_before_anything_is_fetched(tmp_path: Path) -> None:
    """A repository of speech recognition is refused for what it is, whatever runtime is asked for."""
    whisper = {"model_type": "whisper", "d_model": 1280, "encoder_layers": 32, "vocab_size": 51866}
    with pytest.raises(OtherKindError, match=r"a speech recognition model \(whisper\)") as caught:
        lookup.find("org/m", tmp_path, Hub(whisper, "config.json", "model.safetensors"))
    assert "`faster-whisper`" in (caught.value.hint or "")


def test_lookup_corrects_the_size_by_the_listing_of_the_hub(tmp_path: Path) -> None:
    """The hub's listing corrects the size."""
    hub = Hub(SMALL, "config.json", File("model.safetensors", 3 * SMALL_BYTES))
    config = lookup.find("org/m", tmp_path, hub).config
    assert config is not None
    assert config.scale == pytest.approx(3)


def test_lookup_without_the_hub_says_so_and_converts_nothing_twice(tmp_path: Path) -> None:
    """A name that could not be looked up says so and is not converted twice."""

    def find(name: str) -> Model:
        return lookup.find(name, tmp_path, NoHub(), known=lambda _name: None)

    assert (find("org/gemma-GGUF").prepared, find("org/Llama-q4f16_1-MLC").prepared) == ("llama_cpp", "mlc")
    assert find("org/gemma-GGUF").path.endswith("COMMIT/FILE.gguf")
    assert find("org/plain").prepared == ""
    for name in ("org/gemma-GGUF", "org/Llama-q4f16_1-MLC", "org/plain"):
        (note,) = find(name).notes
        assert "was not looked up on the hub" in note


@pytest.fixture
def at_the_hub(hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "data/models/huggingface"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    return settings.load(root=tmp_path)


def test_shape_from_the_hub_reads_a_real_listing(hub_server: HubServer, at_the_hub: Settings) -> None:
    """Fit asks a real listing."""
    raw = json.dumps(SMALL).encode()
    hub_server.add("org/heavy", {"config.json": raw, "model.safetensors": b"\x01" * (2 * SMALL_BYTES)})
    assert shape.from_hub("org/heavy", at_the_hub, Console()).scale == pytest.approx(2)
    beside = json.dumps({"quantization": {"quant_algo": NVFP4["quant_algo"]}}).encode()
    hub_server.add("org/four", {"config.json": raw, "hf_quant_config.json": beside})
    found = shape.from_hub("org/four", at_the_hub, Console()).quantized
    assert found is not None
    assert found.label == "nvfp4"
    adapter = json.dumps({"peft_type": "LORA", "base_model_name_or_path": "org/base"}).encode()
    hub_server.add("org/lora", {"adapter_config.json": adapter, "adapter_model.safetensors": b"x"})
    with pytest.raises(UsageError, match="adapter of org/base"):
        shape.from_hub("org/lora", at_the_hub, Console())
