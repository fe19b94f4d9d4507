"""The server of transformers, with a stand-in for the library."""

from __future__ import annotations

import argparse
import contextlib
import queue
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.server_examples import SYSTEM, USER, options
from tests.unit.driver_images import BadRequest, Images, Recorder, Tokenizer, save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Streamer:
    """transformers' TextIteratorStreamer: a queue with an end."""

    def __init__(self, *_: object, **__: object) -> None:
        self.text_queue: queue.Queue[str | None] = queue.Queue()
        self.stop_signal = None

    def __iter__(self) -> Iterator[str]:
        while (piece := self.text_queue.get(timeout=120)) is not None:
            yield piece


class Row(list):  # type: ignore[type-arg]
    def tolist(self) -> list[int]:
        return list(self)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Row(found) if isinstance(key, slice) else found


class Model:
    """Says words until it is stopped or has said as many as it may; then ends with the end token or without."""

    config = SimpleNamespace(max_position_embeddings=64)
    device = "cpu"

    def __init__(self, words: list[str], ends: bool = True) -> None:
        self.words, self.ends = words, ends
        self.generation_config = SimpleNamespace(eos_token_id=7, prefill_chunk_size=None)
        self.given: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.stopped = False

    def eval(self) -> None:
        pass

    def generate(self, **given: Any) -> list[Row]:
        self.given = given
        if self.failure:
            raise self.failure
        said = []
        for word in self.words[: given["max_new_tokens"]]:
            given["streamer"].text_queue.put(word)
            said.append(9)
            ids = SimpleNamespace(shape=(1, 1), device="cpu")
            self.stopped = any(criterion(ids, None) for criterion in given["stopping_criteria"])
            if self.stopped:
                break
        if self.ends and not self.stopped and len(said) < given["max_new_tokens"]:
            said.append(7)
        return [Row(given["input_ids"][0] + said)]


def transformers_backend(image: Images, made: Model, *words: str) -> Any:
    seeds: list[int] = []
    image.holds(
        "torch", tensor=lambda rows, **_: rows, ones_like=lambda rows: rows, full=lambda _, value, **__: value,
        inference_mode=contextlib.nullcontext, manual_seed=seeds.append, set_num_threads=seeds.append, bfloat16="bf16",
    )  # fmt: skip
    loaded: dict[str, Any] = {}
    auto = SimpleNamespace(from_pretrained=lambda path, **given: loaded.update(given) or made)
    image.holds(
        "transformers", AutoTokenizer=Tokenizer, AutoModelForCausalLM=auto, TextIteratorStreamer=Streamer,
        StoppingCriteria=object, StoppingCriteriaList=list, __version__="5.13.1",
    )  # fmt: skip
    driver = image.driver("transformers_server")
    assert driver.main(["/m", "--model-id", "m", "--device", "cpu", "--context", "20", *words]) == 0
    backend = image.served[-1][0]
    backend.load()
    backend.seeds, backend.loaded = seeds, loaded
    return backend


def test_transformers_streams_pieces_and_counts_tokens(image: Images) -> None:
    """Transformers answers in pieces and counts the tokens."""
    backend = transformers_backend(image, Model(["a ", "b ", "c"]), "--dtype", "bf16", "--prefill-chunk", "8")
    asked = options(temperature=0.5, top_p=0.9, seed=3)
    assert list(backend.generate([USER], asked)) == ["a ", "b ", "c"]
    assert vars(asked.report) == {"prompt_tokens": 2, "completion_tokens": 4, "finish_reason": "stop"}
    given = backend.model.given
    assert (given["temperature"], given["top_p"], given["do_sample"]) == (0.5, 0.9, True)
    assert (given["max_new_tokens"], given["prefill_chunk_size"], given["pad_token_id"]) == (18, 8, 7)
    assert backend.seeds == [3]
    assert backend.loaded == {"device_map": {"": "cpu"}, "dtype": "bf16", "trust_remote_code": False}
    assert backend.count("three words here") == 3


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"temperature": 0}, {"do_sample": False}),
        ({"temperature": 0, "top_p": 0.5}, {"do_sample": False}),
        ({}, {}),
        ({"top_p": 0.5}, {"do_sample": True, "top_p": 0.5}),
    ],
)
def test_transformers_leaves_unset_options_to_the_checkpoint(
    image: Images, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    """What a request leaves open is the checkpoint's own choice."""
    backend = transformers_backend(image, Model([]))
    made = backend.arguments(options(**asked), 4)
    assert {key: made[key] for key in ("do_sample", "top_p", "temperature") if key in made} == expected


def test_transformers_says_that_an_answer_is_cut_off(image: Images) -> None:
    """An answer that is cut off says so."""
    backend = transformers_backend(image, Model(["a", "b", "c"]))
    asked = options(max_tokens=2)
    assert list(backend.generate("x", asked)) == ["a", "b"]
    assert asked.report.finish_reason == "length"


def test_transformers_ends_the_generation_when_the_client_leaves(image: Images) -> None:
    """A client that leaves ends the generation."""
    backend = transformers_backend(image, Model(["word"] * 1000))
    answer = backend.generate("x", options())
    assert next(answer) == "word"
    answer.close()
    told = options()
    told.cancelled.set()
    assert len(list(backend.generate("x", told))) == 1
    assert backend.model.stopped


def test_transformers_reports_a_failure_while_generating(image: Images) -> None:
    """A failure while generating reaches the client."""
    backend = transformers_backend(image, Model([]))
    backend.model.failure = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        list(backend.generate("x", options()))


def test_transformers_refuses_a_prompt_longer_than_the_context(image: Images) -> None:
    """A prompt longer than the context is refused before anything starts."""
    backend = transformers_backend(image, Model([]))
    assert backend.context == 20
    with pytest.raises(BadRequest, match="21 tokens, the context is 20") as refused:
        next(backend.generate("word " * 21, options()))
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(BadRequest, match="no tokens"):
        next(backend.generate("", options()))


def test_transformers_refuses_messages_that_the_template_refuses(image: Images) -> None:
    """Messages that the template refuses are the client's mistake."""
    backend = transformers_backend(image, Model([]))
    assert len(backend.encode([SYSTEM, USER])) == 4
    with pytest.raises(BadRequest, match="System role not supported"):
        backend.encode([SYSTEM])
    backend.tokenizer.chat_template = None
    assert len(backend.encode([USER])) == 3


@pytest.mark.parametrize(
    ("method", "library", "loader", "words"),
    [
        ("gptq", "auto", "gptqmodel", {"device": "cuda:0", "trust_remote_code": False}),
        ("awq", "auto", "gptqmodel", {"device": "cuda:0", "trust_remote_code": False}),
        ("gptq", "auto_gptq", "auto_gptq", {"device": "cuda:0", "use_safetensors": True, "trust_remote_code": False}),
        ("awq", "auto_awq", "awq", {"fuse_layers": False, "max_seq_len": 99, "trust_remote_code": False}),
    ],
)
def test_transformers_loads_a_quantized_checkpoint_with_its_library(
    image: Images, tmp_path: Path, method: str, library: str, loader: str, words: dict[str, Any]
) -> None:
    """A quantized checkpoint is loaded by the library that reads it."""
    save(str(tmp_path / "m"), method)
    driver = image.driver("transformers_server")
    image.monkeypatch.setattr(driver, "installed", lambda *names: names[0])
    used = Recorder(method)
    for name, kind in (("gptqmodel", "GPTQModel"), ("auto_gptq", "AutoGPTQForCausalLM"), ("awq", "AutoAWQForCausalLM")):
        call = used.takes(name)
        image.holds(name, **{kind: SimpleNamespace(load=call, from_quantized=call)})
    used.model = "the model inside"  # type: ignore[attr-defined]
    given = argparse.Namespace(
        model=str(tmp_path / "m"), library=library, device="cuda", context=99, dtype="auto", trust_remote_code=False
    )
    assert driver.load_model(given) == "the model inside"
    assert used.calls == {loader: ((str(tmp_path / "m"),), words)}


def test_transformers_names_the_missing_libraries(image: Images) -> None:
    """An image without such a library says which is missing."""
    with pytest.raises(ImportError, match="needs one of no_such_library, nor_this"):
        image.driver("transformers_server").installed("no_such_library", "nor_this")
