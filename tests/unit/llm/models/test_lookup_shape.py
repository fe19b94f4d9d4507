"""The shape of a model by its name, for predictions: well-known models, files, directories and the hub."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit.weights import parameters
from jetson_containers.llm.models import known, lookup
from jetson_containers.llm.models.config import from_hf
from tests.paths import ROOT_DIR, UNIT_DIR

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.models.config import ModelConfig

GGUF = UNIT_DIR / "gguf" / "by-gguf-py.gguf"
LLAMA = known.configs()["meta-llama/Llama-2-7b-chat-hf"]


def no_hub(reference: str) -> ModelConfig:
    raise AssertionError(f"{reference}: the hub was asked")


@pytest.mark.parametrize(
    ("called", "model_type", "layers"),
    [("InternLM-7B", "internlm", 32), ("internlm2-20b", "internlm2", 48), ("InternLM2-1.8B", "internlm2", 24)],
)
def test_find_shape_knows_what_the_post_calls_its_models(called: str, model_type: str, layers: int) -> None:
    """The names in the table of the post on LMDeploy stand for the chat models that it measured."""
    found = lookup.find_shape(called, no_hub)
    assert found.config.model_type == model_type
    assert found.config.layers == layers
    assert "chat" in found.name


def test_known_names_of_documents_are_of_models_that_the_table_has() -> None:
    """Each name of a document is of one model in the table, and none of the table's own names."""
    names = load_facts("model_names")
    assert set(names.values()) <= known.configs().keys()
    assert not {name.lower() for name in names} & {model.lower().rpartition("/")[2] for model in known.configs()}


@pytest.mark.parametrize("name", ["meta-llama/Llama-2-7b-chat-hf", "Llama-2-7b-chat-hf", "llama-2-7B-chat-HF"])
def test_find_shape_of_a_well_known_name_needs_no_network(name: str) -> None:
    """A well-known name needs no network."""
    source = lookup.find_shape(name, no_hub)
    assert (source.name, source.config.layers) == ("meta-llama/Llama-2-7b-chat-hf", 32)


def test_find_shape_asks_the_hub_for_another_name() -> None:
    """Another hub name is asked for."""
    asked: list[str] = []

    def hub(reference: str) -> ModelConfig:
        asked.append(reference)
        return from_hf(LLAMA)

    for name in ("org/model", "meta-llama/Llama-2-7b-chat-hf@refs/pr/1"):
        assert lookup.find_shape(name, hub).config.hidden == 4096
    assert asked == ["org/model", "meta-llama/Llama-2-7b-chat-hf@refs/pr/1"]


def test_find_shape_reads_a_directory_a_config_and_a_gguf_file(tmp_path: Path) -> None:
    """A directory, a config.json and a GGUF file are read."""
    model = tmp_path / "mine"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(LLAMA))
    for path in (model, model / "config.json"):
        assert lookup.find_shape(str(path), no_hub).config.hidden == 4096
    source = lookup.find_shape(str(GGUF), no_hub)
    assert (source.quantization, source.runtimes, source.config.layers) == ("Q8_0", ("llama_cpp",), 2)
    folder = tmp_path / "gguf"
    folder.mkdir()
    shutil.copy(GGUF, folder / "only.gguf")
    assert lookup.find_shape(str(folder), no_hub).name == "only"
    shutil.copy(GGUF, folder / "second.gguf")
    with pytest.raises(UsageError, match=r"2 \.gguf files"):
        lookup.find_shape(str(folder), no_hub)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "cannot be read"), ("[1]", "not a JSON object"), ("{}", "no usable `hidden_size`")],
)
def test_find_shape_names_a_broken_config(tmp_path: Path, content: str, words: str) -> None:
    """A broken config.json is named."""
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UsageError, match=words) as error:
        lookup.find_shape(str(tmp_path), no_hub)
    assert str(tmp_path) in error.value.message


@pytest.mark.parametrize("name", ["nonsense", "./nonsense/model", "/nonsense/model", "org/model.gguf"])
def test_find_shape_refuses_what_is_not_a_model(name: str) -> None:
    """What is not a model is refused."""
    with pytest.raises(UsageError, match="no model"):
        lookup.find_shape(name, no_hub)


def test_find_shape_suggests_a_close_name() -> None:
    """A name that is nearly known is suggested; without one the answer stays short."""
    with pytest.raises(UsageError) as error:
        lookup.find_shape("Llama-3.1-8B-Instruct", no_hub)
    assert "`Meta-Llama-3.1-8B-Instruct`" in (error.value.hint or "")
    with pytest.raises(UsageError) as error:
        lookup.find_shape("nothing-like-it", no_hub)
    assert len(error.value.hint or "") < 250


def test_find_shape_of_tiny_is_what_its_script_makes() -> None:
    """The shape of the tiny model agrees with the script that makes it, by the elements of its matrices."""
    script = (ROOT_DIR / "packages/llm/llama_cpp/make_tiny_model.py").read_text(encoding="utf-8")
    names, values = re.search(r"^(HIDDEN, .*) = (.*)$", script, re.MULTILINE).groups()  # type: ignore[union-attr]
    made = dict(zip(names.split(", "), map(int, values.split(", ")), strict=True))
    config = lookup.find_shape("tiny", no_hub).config
    hidden, layers = made["HIDDEN"], made["LAYERS"]
    block = 4 * hidden * hidden + 3 * hidden * 2 * hidden
    assert parameters(config) == 2 * made["VOCABULARY"] * hidden + layers * block


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("org/model-GGUF/part/m-Q4_0.gguf", "org/model-GGUF"),
        ("hf://org/model@v2/model.safetensors", "org/model@v2"),
        ("huggingface://org/model/m.gguf", "org/model"),
        ("https://huggingface.co/org/model/blob/main/a%20b.gguf", "org/model@main"),
    ],
)
def test_find_shape_of_a_file_at_the_hub_is_that_of_its_repository(name: str, asked: str) -> None:
    """A file that is named as `download` and `chat` take it, or by its page, is looked up in its repository."""
    heard: list[str] = []

    def load(reference: str) -> ModelConfig:
        heard.append(reference)
        return from_hf(LLAMA, reference)

    assert lookup.find_shape(name, load).name == asked
    (told,) = heard
    assert told == asked or told.startswith(f"{asked}/")  # which of the GGUF files is meant is decided by the listing


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("qwen2.5 7b", "Qwen2.5-7B-Instruct"),
        ("Phi4 Mini", "Phi-4-mini-instruct"),
        ("mistral_7b", "Mistral-7B-Instruct-v0.2"),
        ("gpt_oss-120b", "gpt-oss-120b"),
    ],
)
def test_find_shape_knows_a_model_by_its_words(name: str, meant: str) -> None:
    """Other programs write the same letters and numbers with other signs between them."""
    with pytest.raises(UsageError) as error:
        lookup.find_shape(name, no_hub)
    assert f"did you mean `{meant}`" in (error.value.hint or "")


def test_find_shape_refuses_an_empty_directory(tmp_path: Path) -> None:
    """An empty directory is not a model."""
    with pytest.raises(UsageError, match=r"holds no config\.json"):
        lookup.find_shape(str(tmp_path), no_hub)
