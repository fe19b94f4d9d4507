"""The server of ExLlamaV2 and V3, with a stand-in for the library."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.server_examples import USER, options
from tests.unit.driver_images import BadRequest, Images, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path


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
