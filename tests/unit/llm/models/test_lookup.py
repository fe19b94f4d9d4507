"""What a model's name means."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.llm.models import config, lookup, repository
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep
from tests.unit.llm.fakes import File

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512,
}  # fmt: skip
COMMIT = "0123456789abcdef0123456789abcdef01234567"


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


def test_lookup_of_tiny_makes_it_in_an_image_that_can(data: Path, hub: FakeHub) -> None:
    """`tiny` is made on the spot, in an image that can."""
    model = lookup.find("tiny", data, hub)
    assert isinstance(model.first, CommandStep)
    assert (model.first.argv, model.first.packages) == (("make-tiny-model", "{output}"), ("llama_cpp",))
    assert model.max_context == 512


@pytest.mark.parametrize("spelling", ["{data}/models/mine", "{data}/models/mine/", "/data/models/mine"])
def test_lookup_uses_a_directory_below_data_where_it_is(data: Path, hub: FakeHub, spelling: str) -> None:
    """A directory below data is used where it is."""
    model = lookup.find(spelling.format(data=data), data, hub)
    assert (model.path, model.name, model.first) == ("/data/models/mine", "mine", None)
    assert model.config is not None
    assert model.config.layers == 2


def test_lookup_identity_changes_with_a_local_checkpoint(data: Path, hub: FakeHub) -> None:
    """A local checkpoint that changed is another one."""
    before = lookup.find("/data/models/mine", data, hub).identity
    assert lookup.find("/data/models/mine", data, hub).identity == before
    (data / "models/mine/model.safetensors").write_text("new")
    assert lookup.find("/data/models/mine", data, hub).identity != before


def test_lookup_of_a_cached_snapshot_has_the_name_of_its_model(data: Path, hub: FakeHub) -> None:
    """A snapshot in the hub's cache has the name of its model."""
    snapshot = data / f"models/huggingface/models--org--Model-7B/snapshots/{COMMIT}"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps(LLAMA))
    assert lookup.find(str(snapshot), data, hub).name == "Model-7B"
    # What is made of it is what is made of the name: nothing is done twice.
    assert lookup.find(str(snapshot), data, hub).identity == lookup.find(f"org/Model-7B@{COMMIT}", data, hub).identity
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text(COMMIT)
    assert lookup.find(str(snapshot), data, hub).identity == lookup.find("org/Model-7B", data, hub).identity


def test_lookup_of_a_hub_name_leaves_out_files_that_nobody_reads(data: Path, hub: FakeHub) -> None:
    """A hub name is downloaded without the files that nobody reads."""
    model = lookup.find("org/Model-7B", data, hub)
    assert model.path == f"/data/models/huggingface/models--org--Model-7B/snapshots/{COMMIT}"
    assert isinstance(model.first, DownloadStep)
    assert model.first.size == 30  # config, safetensors, tokenizer
    assert not model.first.is_done()
    model.first.fetch()
    ((reference, ignored),) = hub.fetched
    assert reference == f"org/Model-7B@{COMMIT}"
    assert {"*.bin", "onnx/*", "*.gguf"} <= set(ignored)


def test_lookup_download_is_done_when_every_file_has_its_size(data: Path, hub: FakeHub) -> None:
    """A download is done when every wanted file has its size."""
    model = lookup.find("org/Model-7B", data, hub)
    place = data / model.path.removeprefix("/data/")
    place.mkdir(parents=True)
    assert isinstance(model.first, DownloadStep)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert not model.first.is_done()
        (place / name).write_bytes(b"0123456789")
    assert model.first.is_done()
    (place / "model.safetensors").write_bytes(b"short")
    assert not model.first.is_done()


def test_lookup_revision_counts_only_where_it_was_asked_for(data: Path, hub: FakeHub) -> None:
    """A revision counts only where it was asked for."""
    assert lookup.find("org/Model-7B", data, hub).identity == "hub:org/Model-7B"
    assert lookup.find("org/Model-7B@v1.0", data, hub).identity == f"hub:org/Model-7B@{COMMIT}"


@pytest.mark.parametrize(
    ("asked", "quantization", "file"),
    [
        ("org/Model-GGUF", "", "model-Q4_K_M.gguf"),
        ("org/Model-GGUF", "q8_0", "model-Q8_0.gguf"),
        ("org/Model-GGUF/model-Q4_K_S.gguf", "", "model-Q4_K_S.gguf"),
        ("org/Model-GGUF@main/model-Q4_K_S.gguf", "", "model-Q4_K_S.gguf"),
    ],
)
def test_lookup_takes_one_file_of_a_gguf_repository(
    data: Path, hub: FakeHub, asked: str, quantization: str, file: str
) -> None:
    """Of a repository of GGUF files one is taken."""
    model = lookup.find(asked, data, hub, quantization)
    assert model.path.endswith("/" + file)
    assert model.prepared == "llama_cpp"
    assert isinstance(model.first, DownloadStep)
    assert model.first.size == 10


def test_lookup_of_a_quantization_the_repository_lacks_lists_its_files(data: Path, hub: FakeHub) -> None:
    """A quantization the repository lacks lists its files."""
    with pytest.raises(UsageError, match="no GGUF file with Q2_K") as caught:
        lookup.find("org/Model-GGUF", data, hub, "Q2_K")
    assert "org/Model-GGUF/model-Q8_0.gguf" in (caught.value.hint or "")


def test_lookup_knows_an_mlc_repository_by_its_files(data: Path, hub: FakeHub) -> None:
    """What others prepared with MLC is known by its files."""
    assert lookup.find("mlc-ai/Model-q4f16_1-MLC", data, hub).prepared == "mlc"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/etc", "outside the data directory"),
        ("{data}/models/empty", "no config.json"),
        ("nonsense", "no model `nonsense`"),
        ("", "no model ``"),
        ("../../../no/such", "../../../no/such does not exist"),
        ("./none.gguf", "./none.gguf does not exist"),
        ("org/Model-7B/no-such-file.gguf", "has no file"),
    ],
)
def test_lookup_refuses_what_is_not_a_model(data: Path, hub: FakeHub, model: str, words: str) -> None:
    """What is not a model is refused."""
    with pytest.raises(UsageError, match=words):
        lookup.find(model.format(data=data), data, hub)


def test_lookup_of_a_well_known_name_needs_no_organization(data: Path, hub: FakeHub) -> None:
    """A well-known name needs no organization."""
    hub.infos["Qwen/Qwen2.5-1.5B-Instruct"] = Info("Qwen/Qwen2.5-1.5B-Instruct", FULL.files, LLAMA)
    assert lookup.find("qwen2.5-1.5b-instruct", data, hub).identity == "hub:Qwen/Qwen2.5-1.5B-Instruct"
    with pytest.raises(UsageError, match="no model"):
        lookup.find("Qwen9-1.5B", data, hub)


def test_lookup_without_network_knows_the_shape_of_well_known_models(data: Path, hub: FakeHub) -> None:
    """A dry run without network knows the shape of well-known models."""

    def unreachable(_reference: str) -> Any:
        raise NotReadyError("the hub cannot be reached")

    hub.describe = unreachable  # type: ignore[method-assign]
    with pytest.raises(NotReadyError):
        lookup.find("org/Model-7B", data, hub)
    model = lookup.find("org/Model-7B", data, hub, known=lambda _name: config.from_hf(LLAMA))
    assert (model.name, model.identity) == ("Model-7B", "hub:org/Model-7B")
    assert model.config is not None


def quantized(data: Path, name: str, **method: Any) -> Path:
    """A checkpoint with a quantized config.json, as a quantizer leaves it."""
    path = data / "models" / name
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({**LLAMA, "quantization_config": method}))
    return path


def test_lookup_names_the_runtime_that_quantized_here(data: Path, hub: FakeHub) -> None:
    """What was quantized here is known by the runtime that did it."""
    path = quantized(data, "awq/m-int4", quant_method="compressed-tensors")
    assert lookup.find(str(path), data, hub).maker == ""
    record = {"schema": 2, "step": "quantize", "key": "k", "files": {"config.json": {"size": 1, "sha256": "0"}}}
    path.with_name(path.name + ".manifest.json").write_text(json.dumps({**record, "runtime": "awq"}))
    assert lookup.find(str(path), data, hub).maker == "awq"


def test_lookup_of_a_plain_checkpoint_names_no_maker(data: Path, hub: FakeHub) -> None:
    """Who asked for a plain checkpoint is not its maker."""
    path = data / "models" / "plain"
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(LLAMA))
    record = {"schema": 2, "step": "make", "key": "k", "files": {"config.json": {"size": 1, "sha256": "0"}}}
    path.with_name(path.name + ".manifest.json").write_text(json.dumps({**record, "runtime": "awq"}))
    assert lookup.find(str(path), data, hub).maker == ""


SPLIT = Info(
    "org/Big-GGUF",
    tuple(
        File(f"{folder}{name}-0000{part}-of-00002.gguf")
        for folder, name in (("q4/", "big-Q4_K_M"), ("", "big-Q8_0"))
        for part in (2, 1)
    ),
    None,
    is_gguf=True,
)


@pytest.mark.parametrize("asked", ["org/Big-GGUF", "org/Big-GGUF/q4/big-Q4_K_M-00002-of-00002.gguf"])
def test_lookup_downloads_all_files_of_a_split_model(data: Path, hub: FakeHub, asked: str) -> None:
    """A model in several files is downloaded completely."""
    hub.infos[SPLIT.id] = SPLIT
    model = lookup.find(asked, data, hub)
    assert isinstance(model.first, DownloadStep)
    assert (model.name, model.prepared, model.first.size) == ("big-Q4_K_M", "llama_cpp", 20)
    assert model.path.endswith("/q4/big-Q4_K_M-00001-of-00002.gguf")  # llama.cpp finds the others from the first
    assert isinstance(model.first, DownloadStep)
    model.first.fetch()
    ((reference, ignored),) = hub.fetched
    assert reference == f"org/Big-GGUF@{COMMIT}"
    assert set(ignored) == {"big-Q8_0-00001-of-00002.gguf", "big-Q8_0-00002-of-00002.gguf"}
    for part in (1, 2):
        assert not model.first.is_done()
        place = data / f"models/huggingface/models--org--Big-GGUF/snapshots/{COMMIT}/q4"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"big-Q4_K_M-0000{part}-of-00002.gguf").write_bytes(b"0123456789")
    assert model.first.is_done()


def test_lookup_prefers_the_hub_to_a_folder_of_the_same_name(
    data: Path, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of the organization's code in the current directory, for instance."""
    (tmp_path / "org" / "Model-7B").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert lookup.find("org/Model-7B", data, hub).identity == "hub:org/Model-7B"
    with pytest.raises(UsageError, match="outside the data directory"):
        lookup.find("./org/Model-7B", data, hub)
    monkeypatch.chdir(data.parent)
    assert lookup.find("data/models/mine", data, hub).path == "/data/models/mine"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/m", ("org/m", None, None)),
        ("org/m@v1.0/a.gguf", ("org/m", "v1.0", "a.gguf")),
        ("org/m@refs/pr/1", ("org/m", "refs/pr/1", None)),
        ("org/m/q4/a.gguf", ("org/m", None, "q4/a.gguf")),
        ("https://huggingface.co/org/m", ("org/m", None, None)),
        ("Org.Name/M_1.5-Instruct", ("Org.Name/M_1.5-Instruct", None, None)),
        ("/home/me/m", None),
        ("./org/m", None),
        ("~/org/m", None),
        ("gpt2", None),
    ],
)
def test_lookup_reads_hub_names_as_the_download_does(text: str, expected: tuple[Any, ...] | None) -> None:
    """Names of the hub are read as the download reads them."""
    found = lookup.reference_of(text)
    assert (found and (found.repo, found.revision, found.file)) == expected


def test_lookup_without_the_hub_leaves_the_download_to_the_hub(data: Path, hub: FakeHub) -> None:
    """Where the hub answers later, what was not looked up is downloaded without other formats."""

    def unreachable(_reference: str) -> Any:
        raise NotReadyError("the hub cannot be reached")

    hub.describe = unreachable  # type: ignore[method-assign]
    first = lookup.find("org/Model-7B", data, hub, known=lambda _name: None).first
    assert isinstance(first, DownloadStep)
    assert not first.is_done()
    first.fetch()
    assert hub.fetched == [("org/Model-7B", repository.NOT_WEIGHTS)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("someone/Llama-1B-GGUF:Q8_0", ("someone/Llama-1B-GGUF", "Q8_0")),
        ("hf.co/someone/Llama-1B-GGUF:Q4_K_M", ("hf.co/someone/Llama-1B-GGUF", "Q4_K_M")),
        ("hf://someone/Llama-1B-GGUF:iq4_xs", ("hf://someone/Llama-1B-GGUF", "IQ4_XS")),
        ("someone/Llama-1B-GGUF:UD-Q4_K_XL", ("someone/Llama-1B-GGUF", "UD-Q4_K_XL")),
        ("hf://someone/Llama-1B-GGUF", ("hf://someone/Llama-1B-GGUF", "")),
        ("llama3.2:1b", ("llama3.2:1b", "")),
        ("hf.co/someone/model:latest", ("hf.co/someone/model", "")),
        ("someone/model:latest", ("someone/model:latest", "")),
        ("someone/Llama-1B", ("someone/Llama-1B", "")),
    ],
)
def test_split_quantization_takes_it_off_a_name_of_the_hub(model: str, expected: tuple[str, str]) -> None:
    """`org/model:QUANT` is the form of other programs; what is no quantization stays in the name."""
    assert lookup.split_quantization(model) == expected


def test_split_quantization_refuses_two_that_differ() -> None:
    """The one in the name and the one of the option are one and the same, or it is said."""
    assert lookup.split_quantization("a/b:Q8_0", "q8_0") == ("a/b", "Q8_0")
    assert lookup.split_quantization("a/b", "Q4_0") == ("a/b", "Q4_0")
    with pytest.raises(UsageError, match="names Q8_0, and `--quantization` Q4_0"):
        lookup.split_quantization("a/b:Q8_0", "Q4_0")
