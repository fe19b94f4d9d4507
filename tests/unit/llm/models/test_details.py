"""What a model says of itself: of files here and at the hub, without weights."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.main import main
from tests.paths import UNIT_DIR
from tests.unit.llm.models.test_gguf import SHAPE, header, number, tensor, text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hubserver import HubServer

GGUF = (UNIT_DIR / "gguf" / "by-gguf-py.gguf").read_bytes()
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 32,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16",
}  # fmt: skip
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
CARD = b"---\nlicense: other\nlicense_name: llama3.2\n---\n# A model\n"


def word(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def safetensors(**types: tuple[str, int]) -> bytes:
    """A file of tensors of one row each: type and elements of two bytes."""
    place, said = 0, {}
    for name, (kind, count) in types.items():
        said[name] = {"dtype": kind, "shape": [1, count], "data_offsets": [place, place + 2 * count]}
        place += 2 * count
    head = json.dumps(said).encode()
    return struct.pack("<Q", len(head)) + head + bytes(place)


CHECKPOINT = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer_config.json": json.dumps({"tokenizer_class": "LlamaTokenizer", "chat_template": TEMPLATE}).encode(),
    "README.md": CARD,
    "model-00001-of-00002.safetensors": safetensors(a=("BF16", 100), b=("F32", 30)),
    "model-00002-of-00002.safetensors": safetensors(c=("BF16", 60)),
}


def show(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["llm", "show", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_details_of_a_gguf_file_count_its_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file here: shape, the types with their bytes, template, tokenizer and license."""
    values = [*SHAPE, number("llama.context_length", 4096), number("general.file_type", 15)]
    values += [
        word("tokenizer.ggml.model", "gpt2"),
        word("tokenizer.ggml.pre", "qwen2"),
        word("general.license", "mit"),
    ]
    values += [word("tokenizer.chat_template", TEMPLATE), word("general.name", "A model")]
    tensors = [tensor("blk.0.attn_q.weight", (256, 2), 12), tensor("blk.0.attn_k.weight", (256, 1), 12)]
    path = tmp_path / "model-Q4_K_M.gguf"
    path.write_bytes(header(values, [*tensors, tensor("output_norm.weight", (64,), 0)]))
    found = show(capsys, str(path))
    assert found["types"] == [
        {"type": "Q4_K", "tensors": 2, "elements": 768, "bytes": 3 * 144},
        {"type": "F32", "tensors": 1, "elements": 64, "bytes": 256},
    ]
    assert (found["parameters"], found["weights_bytes"]) == (832, 688)
    assert (found["architecture"], found["layers"], found["context"], found["vocabulary"]) == ("llama", 2, 4096, 32)
    assert (found["quantization"], found["tokenizer"], found["license"]) == ("Q4_K_M", "gpt2 qwen2", "mit")
    assert (found["chat_template"], found["title"], found["missing"]) == (TEMPLATE, "A model", [])
    assert found["files"] == [{"name": path.name, "bytes": path.stat().st_size}]
    assert main(["llm", "show", str(path), "--template"]) == 0
    assert capsys.readouterr().out == TEMPLATE + "\n"


def test_details_of_a_file_of_another_kind_show_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture encoder has no layers of a language model; its metadata and types are shown, and what is missing."""
    path = tmp_path / "mmproj.gguf"
    path.write_bytes(header([word("general.architecture", "clip")], [tensor("v.patch", (8, 8), 1)]))
    found = show(capsys, str(path))
    assert (found["architecture"], found["layers"], found["types"][0]["type"]) == ("clip", None, "F16")
    assert "an encoder of pictures (clip)" in found["missing"][0]
    assert main(["llm", "show", str(path), "--metadata"]) == 0
    shown = capsys.readouterr()
    assert "general.architecture  clip" in shown.out
    assert "warning: " in shown.err


def test_details_of_a_name_read_no_weights(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a checkpoint at the hub: configuration, template, license of the card, and types over all its files."""
    hub.add("org/model", {**CHECKPOINT, "training_args.bin": b"x" * 9})
    found = show(capsys, "org/model")
    assert (found["name"], found["origin"], found["format"]) == ("org/model", "the hub", "safetensors")
    assert [(each["type"], each["tensors"], each["elements"], each["bytes"]) for each in found["types"]] == [
        ("BF16", 2, 160, 320),
        ("F32", 1, 30, 60),
    ]
    assert (found["model_class"], found["kv_heads"], found["context"]) == ("LlamaForCausalLM", 2, 512)
    assert (found["license"], found["tokenizer"], found["chat_template"]) == ("llama3.2", "LlamaTokenizer", TEMPLATE)
    assert (found["quantization"], found["metadata"], found["missing"]) == ("bfloat16", None, [])
    assert len(found["files"]) == 6
    here = {path.name for path in (tmp_path / "data").rglob("*") if "snapshots" in path.parts and path.is_file()}
    assert here == {"config.json", "tokenizer_config.json", "README.md"}


def test_details_of_a_folder_are_those_of_the_name(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same files here say the same."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in CHECKPOINT.items():
        (folder / name).write_bytes(data)
    hub.add("org/model", CHECKPOINT)
    here, there = show(capsys, str(folder)), show(capsys, "org/model")
    for key in ("name", "origin", "commit"):
        here.pop(key), there.pop(key)
    assert here == there


def test_details_of_a_large_gguf_file_at_the_hub_read_its_beginning(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a file of a repository only the beginning is read, and nothing of it is kept; the license is the card's."""
    hub.add("org/files", {"m-Q4_K_M.gguf": GGUF + bytes(9 << 20), "m-Q8_0.gguf": GGUF, "README.md": CARD})
    found = show(capsys, "org/files:Q4_K_M")
    assert (found["layers"], found["license"], found["format"]) == (2, "llama3.2", "gguf")
    assert [file["name"] for file in found["files"]] == ["m-Q4_K_M.gguf"]
    assert not list((tmp_path / "data").rglob("*.gguf"))
    assert "m-Q4_K_M.gguf" in show(capsys, "org/files/other.gguf", code=2)["error"]["hint"]


def test_details_of_a_split_gguf_model_count_all_parts(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tensors of a model in several files are those of all of them."""
    parts = [header(SHAPE, [tensor("token_embd.weight", (64, 32), 1)]), header([], [tensor("output.weight", (64,), 0)])]
    names = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    hub.add("org/split", dict(zip(names, parts, strict=True)))
    found = show(capsys, "org/split")
    assert {each["type"]: each["bytes"] for each in found["types"]} == {"F16": 4096, "F32": 256}
    assert [file["name"] for file in found["files"]] == names


def test_details_of_weights_that_are_damaged_say_so(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    """What the configuration says is shown even where the weights cannot be read."""
    hub.add("org/model", {**CHECKPOINT, "model-00002-of-00002.safetensors": b"version https://git-lfs.example\n"})
    found = show(capsys, "org/model")
    assert (found["layers"], found["types"]) == (2, [])
    assert "not a safetensors file" in found["missing"][0]


@pytest.mark.parametrize("content", [b"no card", b"---\nlicense: [mit, 'x'\n---\n", b"---\n- 1\n---\n", b"\xff\xfe---"])
def test_details_survive_a_card_that_says_nothing(
    content: bytes, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A README.md without a head, or with a broken one, names no license."""
    hub.add("org/model", {**CHECKPOINT, "README.md": content})
    assert show(capsys, "org/model")["license"] == ""


def test_details_of_what_is_not_a_model_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of another kind, an empty folder, and a name that is none are errors of the user."""
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "notes.txt", tmp_path / "empty", "nope", "nope.gguf", "tiny"):
        assert show(capsys, str(name), code=2)["error"]["message"]
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a.gguf", "b.gguf"):
        (two / name).write_bytes(GGUF)
    assert "2 .gguf files" in show(capsys, str(two), code=2)["error"]["message"]
