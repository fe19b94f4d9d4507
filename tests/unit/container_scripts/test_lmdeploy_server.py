"""The server of LMDeploy's TurboMind, with a stand-in for the engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.server_examples import USER, options
from tests.unit.driver_images import BadRequest, Images

if TYPE_CHECKING:
    from collections.abc import Iterator


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
