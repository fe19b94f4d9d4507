"""What a model's name means."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers import modelconfig
from jetson_containers.errors import NotReadyError, UsageError
from jetson_containers.llm import source

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512,
}  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class File:
    name: str
    size: int = 10


@dataclass(frozen=True)
class Info:
    """As hub.ModelInfo."""

    id: str
    files: tuple[File, ...]
    config: dict[str, Any] | None = None
    is_gguf: bool = False
    commit: str = COMMIT


@dataclass
class FakeHub:
    data: Path
    infos: dict[str, Info]
    fetched: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def describe(self, reference: str) -> Any:
        return self.infos["/".join(reference.partition("@")[0].split("/")[:2])]

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        self.fetched.append((reference, ignore))
        repository, _, rest = reference.partition("@")
        place = self.data / f"models/huggingface/models--{repository.replace('/', '--')}/snapshots/{COMMIT}"
        file = rest.partition("/")[2]
        return place / file if file else place


FULL = Info(
    "org/Model-7B",
    tuple(
        File(name)
        for name in ("config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "onnx/m.onnx")
    ),
    LLAMA,
)
GGUF = Info(
    "org/Model-GGUF", tuple(File(f"model-{kind}.gguf") for kind in ("Q4_K_M", "Q4_K_S", "Q8_0")), None, is_gguf=True
)
MLC = Info("mlc-ai/Model-q4f16_1-MLC", (File("mlc-chat-config.json"), File("params_shard_0.bin")))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    model = tmp_path / "data" / "models" / "mine"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(LLAMA))
    (model.parent / "ready.gguf").write_bytes(b"GGUF")
    (model.parent / "empty").mkdir()
    return tmp_path / "data"


@pytest.fixture
def hub(data: Path) -> FakeHub:
    return FakeHub(data, {info.id: info for info in (FULL, GGUF, MLC)})


def test_tiny_is_made_on_the_spot_in_an_image_that_can(data: Path, hub: FakeHub) -> None:
    model = source.find("tiny", data, hub)
    assert model.first is not None
    assert (model.first.argv, model.first.packages) == (("make-tiny-model", "{output}"), ("llama_cpp",))
    assert model.max_context == 512


@pytest.mark.parametrize("spelling", ["{data}/models/mine", "{data}/models/mine/", "/data/models/mine"])
def test_a_directory_below_data_is_used_where_it_is(data: Path, hub: FakeHub, spelling: str) -> None:
    model = source.find(spelling.format(data=data), data, hub)
    assert (model.path, model.name, model.first) == ("/data/models/mine", "mine", None)
    assert model.config is not None
    assert model.config.layers == 2


def test_a_local_checkpoint_that_changed_is_another_one(data: Path, hub: FakeHub) -> None:
    before = source.find("/data/models/mine", data, hub).identity
    assert source.find("/data/models/mine", data, hub).identity == before
    (data / "models/mine/model.safetensors").write_text("new")
    assert source.find("/data/models/mine", data, hub).identity != before


def test_a_snapshot_of_the_hubs_cache_is_called_by_its_models_name(data: Path, hub: FakeHub) -> None:
    snapshot = data / f"models/huggingface/models--org--Model-7B/snapshots/{COMMIT}"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    assert source.find(str(snapshot), data, hub).name == "Model-7B"


def test_a_hub_name_is_downloaded_without_what_nobody_reads(data: Path, hub: FakeHub) -> None:
    model = source.find("org/Model-7B", data, hub)
    assert model.path == f"/data/models/huggingface/models--org--Model-7B/snapshots/{COMMIT}"
    assert model.download == 30  # config, safetensors, tokenizer
    assert model.host is not None
    assert not model.host.is_done()
    model.host.run()
    ((reference, ignored),) = hub.fetched
    assert reference == f"org/Model-7B@{COMMIT}"
    assert {"*.bin", "onnx/*", "*.gguf"} <= set(ignored)


def test_a_download_is_done_when_every_wanted_file_has_its_size(data: Path, hub: FakeHub) -> None:
    model = source.find("org/Model-7B", data, hub)
    place = data / model.path.removeprefix("/data/")
    place.mkdir(parents=True)
    assert model.host is not None
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert not model.host.is_done()
        (place / name).write_bytes(b"0123456789")
    assert model.host.is_done()
    (place / "model.safetensors").write_bytes(b"short")
    assert not model.host.is_done()


def test_a_revision_counts_only_where_it_was_asked_for(data: Path, hub: FakeHub) -> None:
    assert source.find("org/Model-7B", data, hub).identity == "hub:org/Model-7B"
    assert source.find("org/Model-7B@v1.0", data, hub).identity == f"hub:org/Model-7B@{COMMIT}"


@pytest.mark.parametrize(
    ("asked", "quantization", "file"),
    [
        ("org/Model-GGUF", "", "model-Q4_K_M.gguf"),
        ("org/Model-GGUF", "q8_0", "model-Q8_0.gguf"),
        ("org/Model-GGUF/model-Q4_K_S.gguf", "", "model-Q4_K_S.gguf"),
        ("org/Model-GGUF@main/model-Q4_K_S.gguf", "", "model-Q4_K_S.gguf"),
    ],
)
def test_of_a_repository_of_gguf_files_one_is_taken(
    data: Path, hub: FakeHub, asked: str, quantization: str, file: str
) -> None:
    model = source.find(asked, data, hub, quantization)
    assert model.path.endswith("/" + file)
    assert model.prepared == "llama_cpp"
    assert model.download == 10


def test_a_quantization_the_repository_lacks_lists_its_files(data: Path, hub: FakeHub) -> None:
    with pytest.raises(UsageError, match="no GGUF file with Q2_K") as caught:
        source.find("org/Model-GGUF", data, hub, "Q2_K")
    assert "org/Model-GGUF/model-Q8_0.gguf" in (caught.value.hint or "")


def test_what_others_prepared_with_mlc_is_known_by_its_files(data: Path, hub: FakeHub) -> None:
    assert source.find("mlc-ai/Model-q4f16_1-MLC", data, hub).prepared == "mlc"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/etc", "outside the data directory"),
        ("{data}/models/empty", "no config.json"),
        ("nonsense", "no model `nonsense`"),
        ("", "no model ``"),
        ("../../../no/such", "there is no ../../../no/such"),
        ("./none.gguf", "there is no ./none.gguf"),
        ("org/Model-7B/no-such-file.gguf", "has no file"),
    ],
)
def test_what_is_no_model_is_said(data: Path, hub: FakeHub, model: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        source.find(model.format(data=data), data, hub)


def test_a_dry_run_without_network_knows_the_shape_of_well_known_models(data: Path, hub: FakeHub) -> None:
    def unreachable(_reference: str) -> Any:
        raise NotReadyError("the hub cannot be reached")

    hub.describe = unreachable  # type: ignore[method-assign]
    with pytest.raises(NotReadyError):
        source.find("org/Model-7B", data, hub)
    model = source.find("org/Model-7B", data, hub, known=lambda _name: modelconfig.from_hf(LLAMA))
    assert (model.name, model.identity) == ("Model-7B", "hub:org/Model-7B")
    assert model.config is not None
