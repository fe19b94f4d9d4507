"""The servers of runtimes that have none, and chat templates; with stand-ins for the libraries only images hold."""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.driver_images import BadRequest, Images, Recorder, Tokenizer, images, save

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    yield from images(monkeypatch)


# Chat templates -----------------------------------------------------------------------------------------------------

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hi"}


def test_chat_text_without_a_template_is_a_plain_dialogue(image: Images) -> None:
    """A model without a template gets a plain dialogue."""
    assert image.driver("chat_text").plain([SYSTEM, USER]) == "Be brief.\nUser: Hi\nAssistant:"


def test_chat_text_joins_a_refused_system_message_to_the_first_of_the_user(image: Images) -> None:
    """A template that refuses a system message gets it with the user's first."""
    chat_text = image.driver("chat_text")
    apply = Tokenizer().apply_chat_template
    assert chat_text.apply(apply, [SYSTEM, USER]) == "Be brief.\n\nHi <assistant>"
    with pytest.raises(ValueError, match="refused"):
        chat_text.apply(lambda _: (_ for _ in ()).throw(ValueError("refused")), [USER])


def test_chat_text_finds_the_template_in_either_file(image: Images, tmp_path: Path) -> None:
    """A template is found in either file and rendered."""
    chat_text = image.driver("chat_text")
    assert chat_text.template_of(str(tmp_path)) == ""
    several = {"chat_template": [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(several))
    assert chat_text.template_of(str(tmp_path)) == "D"
    (tmp_path / "chat_template.jinja").write_text("file")
    assert chat_text.template_of(str(tmp_path)) == "file"
    template = "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | tojson }}{% endfor %}"
    assert chat_text.render(template, [USER], bos_token="<s>") == '<s>[user]"Hi"'
    with pytest.raises(ValueError, match="no"):
        chat_text.render("{{ raise_exception('no') }}", [USER])


# Servers ------------------------------------------------------------------------------------------------------------


def options(**words: Any) -> SimpleNamespace:
    report = SimpleNamespace(prompt_tokens=None, completion_tokens=None, finish_reason=None)
    made = {"max_tokens": 0, "temperature": None, "top_p": None, "seed": None, "stop": (), "report": report}
    return SimpleNamespace(cancelled=threading.Event(), **{**made, **words})


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


class Ids:
    def __init__(self, count: int) -> None:
        self.shape = (1, count)


class Generator:
    """ExLlama's: jobs in a queue, results from iterations."""

    def __init__(self, *args: Any, **words: Any) -> None:
        self.made = (args, words)
        self.jobs: list[Any] = []
        self.cancelled: list[Any] = []
        self.left = 0

    def enqueue(self, job: Any) -> None:
        self.jobs.append(job)
        self.left = 3

    def num_remaining_jobs(self) -> int:
        return self.left

    def iterate(self) -> list[dict[str, Any]]:
        self.left -= 1
        if self.left:
            return [{"stage": "streaming", "text": f"{self.left} ", "eos": False}]
        return [{"stage": "streaming", "text": "", "eos": True, "eos_reason": "max_new_tokens", "new_tokens": 2}]

    def cancel(self, job: Any) -> None:
        self.cancelled.append(job)


class ExllamaTokenizer(Tokenizer):
    @classmethod
    def from_config(cls, _: object) -> ExllamaTokenizer:
        return cls()

    def encode(self, text: str, **given: Any) -> Ids:
        self.last = (text, given)
        return Ids(len(text.split()))


def exllama_backend(image: Images, tmp_path: Path, *words: str) -> Any:
    (tmp_path / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    build = SimpleNamespace(from_directory=lambda _: "config", from_config=lambda _: SimpleNamespace(load=lambda: None))
    image.holds(
        "exllamav3", Config=build, Model=build, Tokenizer=ExllamaTokenizer, Generator=Generator, Job=SimpleNamespace,
        Cache=lambda _, **given: given, TopPSampler=lambda **given: given,
    )  # fmt: skip
    settings = lambda **given: given  # noqa: E731
    settings.greedy = lambda: "greedy"  # type: ignore[attr-defined]
    image.holds(
        "exllamav2", ExLlamaV2Config=lambda _: SimpleNamespace(), ExLlamaV2Cache=lambda _, **given: given,
        ExLlamaV2=lambda _: SimpleNamespace(load_autosplit=lambda _: None),
        ExLlamaV2Tokenizer=ExllamaTokenizer.from_config,
    )  # fmt: skip
    image.holds(
        "exllamav2.generator", ExLlamaV2DynamicGenerator=Generator, ExLlamaV2DynamicJob=SimpleNamespace,
        ExLlamaV2Sampler=SimpleNamespace(Settings=settings),
    )  # fmt: skip
    (tmp_path / "config.json").write_text('{"eos_token_id": 7}')
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [11, 7]}')
    given = [str(tmp_path), "--model-id", "m", "--context", "300", "--prefill-chunk", "512", *words]
    assert image.driver("exllama_server").main(given) == 0
    backend = image.served[-1][0]
    backend.load()
    return backend


def test_exllamav3_gets_a_cache_of_whole_pages_for_each_sequence(image: Images, tmp_path: Path) -> None:
    """ExLlamaV3 gets a cache of whole pages for each sequence."""
    backend = exllama_backend(image, tmp_path, "--max-batch", "2")
    (_, cache, _), words = backend.generator.made
    assert cache == {"max_num_tokens": 1024}
    assert words == {"max_batch_size": 2, "max_chunk_size": 512}
    asked = options(temperature=0, seed=1, stop=("x",), max_tokens=2)
    assert list(backend.generate([USER], asked)) == ["2 ", "1 "]
    (job,) = backend.generator.jobs
    assert (job.max_new_tokens, job.seed, job.stop_conditions, job.sampler["temperature"]) == (2, 1, [11, 7, "x"], 0)
    assert vars(asked.report) == {"prompt_tokens": 1, "completion_tokens": 2, "finish_reason": "length"}
    assert backend.tokenizer.last == ("<s>Hi", {"add_bos": False, "encode_special_tokens": True})


def test_exllamav2_runs_without_pages(image: Images, tmp_path: Path) -> None:
    """ExLlamaV2 runs without pages."""
    backend = exllama_backend(image, tmp_path, "--generation", "2")
    assert backend.generator.made[1]["paged"] is False
    assert backend.generator.made[1]["cache"] == {"max_seq_len": 512, "lazy": True}
    assert list(backend.generate("a b", options(temperature=0)))
    assert backend.generator.jobs[0].gen_settings == "greedy"
    assert backend.generator.jobs[0].max_new_tokens == 298
    list(backend.generate("a b", options(temperature=0.3)))
    assert backend.generator.jobs[1].gen_settings["temperature"] == 0.3


def test_exllama_cancels_the_job_of_a_client_that_left(image: Images, tmp_path: Path) -> None:
    """A job whose client left is taken back."""
    backend = exllama_backend(image, tmp_path)
    answer = backend.generate("a", options())
    next(answer)
    answer.close()
    assert backend.generator.cancelled == backend.generator.jobs
    with pytest.raises(BadRequest, match="the context is 300"):
        next(backend.generate("a " * 300, options()))


class TurboMind:
    """LMDeploy 0.2's engine: growing lists of tokens, each the length of a word."""

    def __init__(self) -> None:
        self.tokenizer = SimpleNamespace(
            encode=lambda text, **_: [len(word) for word in text.split()],
            decode=lambda ids: "".join(f"{i} " for i in ids),
        )
        self.model = SimpleNamespace(messages2prompt=lambda messages: " ".join(m["content"] for m in messages))
        self.calls: list[Any] = []
        self.finished = False

    def create_instance(self) -> TurboMind:
        return self

    def stream_infer(self, session: int, ids: list[list[int]], **given: Any) -> Iterator[tuple[int, list[int], int]]:
        self.calls.append((session, ids, given))
        for count in range(1, 4):
            yield 0, list(range(count)), count
        self.finished = True

    def cancel(self, session: int) -> None:
        self.calls.append(("cancel", session))


def turbomind_backend(image: Images) -> Any:
    engine = TurboMind()
    loaded: list[Any] = []
    image.holds("lmdeploy", TurbomindEngineConfig=dict, EngineGenerationConfig=lambda **given: given)
    load = lambda path, engine_config: loaded.append((path, engine_config)) or engine  # noqa: E731
    image.holds("lmdeploy.turbomind", TurboMind=SimpleNamespace(from_pretrained=load))
    words = ["/m", "--model-id", "m", "--session-len", "10", "--max-batch-size", "2", "--cache-max-entry-count", "0.4"]
    assert image.driver("lmdeploy_server").main(words) == 0
    backend = image.served[-1][0]
    backend.load()
    assert loaded == [
        ("/m", {"session_len": 10, "max_batch_size": 2, "cache_max_entry_count": 0.4, "max_prefill_token_num": 2048})
    ]
    return backend


def test_turbomind_streams_each_request_as_its_own_session(image: Images) -> None:
    """TurboMind streams each request as a session of its own."""
    backend = turbomind_backend(image)
    asked = options(temperature=0, max_tokens=5, seed=4)
    assert "".join(backend.generate([USER, USER], asked)) == "0 1 2 "
    assert "".join(backend.generate("x", options(temperature=0.5))) == "0 1 2 "
    (one, ids, given), (two, _, sampled) = backend.engine.calls
    assert (one, two, ids) == (1, 2, [[2, 2]])
    assert given["gen_config"] == {
        "max_new_tokens": 5, "top_k": 1, "top_p": 1.0, "temperature": 1.0, "random_seed": 4,
    }  # fmt: skip
    assert (sampled["gen_config"]["top_k"], sampled["gen_config"]["max_new_tokens"]) == (40, 9)
    assert (asked.report.prompt_tokens, asked.report.completion_tokens) == (2, 3)


def test_turbomind_cancels_the_session_of_a_client_that_left(image: Images) -> None:
    """A session whose client left is cancelled and its threads end."""
    backend = turbomind_backend(image)
    answer = backend.generate("x", options())
    next(answer)
    answer.close()
    assert backend.engine.calls[-1] == ("cancel", 1)
    assert backend.engine.finished
    with pytest.raises(BadRequest, match="the session 10"):
        next(backend.generate("x " * 10, options()))


def test_turbomind_gives_a_base_model_a_plain_dialogue(image: Images) -> None:
    """A base model that knows no messages gets a plain dialogue."""
    backend = turbomind_backend(image)
    backend.engine.model.messages2prompt = lambda _: None
    list(backend.generate([USER], options()))
    assert backend.engine.calls[0][1] == [[5, 2, 10]]
