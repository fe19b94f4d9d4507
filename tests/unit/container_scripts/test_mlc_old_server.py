"""The server for the old MLC."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.openai_examples import WORDS

if TYPE_CHECKING:
    from pathlib import Path


class ChatModule:
    """mlc_chat's, as far as the driver uses it: says the words, remembers what it was told."""

    made: list[ChatModule] = []  # noqa: RUF012

    def __init__(self, model: str, model_lib_path: str) -> None:
        self.paths = (model, model_lib_path)
        self.calls: list[Any] = []
        self.said = 0
        ChatModule.made.append(self)

    def reset_chat(self) -> None:
        self.calls.append("reset")

    def _reset_runtime_stats(self) -> None:
        self.said = 0

    def _prefill(self, given: Any, generation_config: Any, place_in_prompt: Any = "all") -> None:
        told = given if isinstance(given, str) else [(message.role, message.content) for message in given]
        self.calls.append((told, place_in_prompt))
        self.limit = generation_config.max_gen_len or 6
        self.said = 1

    def _decode(self, generation_config: Any) -> None:
        self.said += 1

    def _stopped(self) -> bool:
        return self.said >= min(self.limit, 6)

    def _get_message(self) -> str:
        return " ".join(WORDS.split()[: self.said]) + ("\ufffd" if self.said == 2 else "")

    def stats(self, *, verbose: bool) -> str:
        return "--- prefill ---\nthroughput: 9 tok/s\ntotal tokens: 21 tok\n--- decode ---\ntotal tokens: 3 tok\n"


@pytest.fixture
def old(drivers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The driver of mlc_chat, beside a build as `mlc_llm.build` leaves it and stand-ins for what the image has."""
    seeds: list[int] = []
    chat: Any = ModuleType("mlc_chat")
    chat.ChatModule, chat.GenerationConfig = ChatModule, SimpleNamespace
    inner: Any = ModuleType("mlc_chat.chat_module")
    inner.PlaceInPrompt = SimpleNamespace(Middle="middle")
    tvm: Any = ModuleType("tvm")
    tvm.get_global_func = lambda name, _missing: seeds.append if name == "mlc.random.set_seed" else None
    tokenizers: Any = ModuleType("tokenizers")
    encode = SimpleNamespace(encode=lambda text, add_special_tokens: SimpleNamespace(ids=text.split()))
    tokenizers.Tokenizer = SimpleNamespace(from_file=lambda _path: encode)
    for module in (chat, inner, tvm, tokenizers):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    params = tmp_path / "M-q4f16_ft" / "params"
    params.mkdir(parents=True)
    (params / "mlc-chat-config.json").write_text('{"max_window_size": 8}', encoding="utf-8")
    (params / "ndarray-cache.json").touch()
    (params / "tokenizer.json").touch()
    (params.parent / "M-q4f16_ft-cuda.so").touch()
    return SimpleNamespace(driver=importlib.import_module("mlc_old_server"), folder=params.parent, seeds=seeds)


def test_mlc_old_server_answers_through_the_chat_module(old: Any) -> None:
    """The old MLC answers through its chat module."""
    backend = old.driver.ChatModuleBackend(str(old.folder), model_id="M")
    backend.load()
    module = ChatModule.made[-1]
    assert module.paths == (str(old.folder / "params"), str(old.folder / "M-q4f16_ft-cuda.so"))
    options = old.driver.openai_server.GenerationOptions(max_tokens=3, seed=5)
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert list(backend.generate(messages, options)) == ["one", " two", " three"]
    assert module.calls == ["reset", ([("user", "be brief\n\na"), ("assistant", "b"), ("user", "c")], "all")]
    report = options.report
    assert (report.prompt_tokens, report.completion_tokens, report.finish_reason) == (21, 3, "length")
    assert old.seeds == [5]
    free = old.driver.openai_server.GenerationOptions()
    assert "".join(backend.generate([{"role": "user", "content": "hi"}], free)) == WORDS
    assert module.calls[-1] == ("hi", "all")
    assert free.report.finish_reason == "stop"
    list(backend.generate("continue", free))
    assert module.calls[-1] == ("continue", "middle")


def test_mlc_old_server_refuses_a_prompt_that_does_not_fit(old: Any) -> None:
    """The old MLC refuses what does not fit into its context."""
    backend = old.driver.ChatModuleBackend(str(old.folder))
    backend.load()
    assert backend.model_id == "M-q4f16_ft"
    refused = old.driver.openai_server.BadRequest
    with pytest.raises(refused, match="9 tokens, and the model was compiled for 8"):
        next(backend.generate("a " * 9, old.driver.openai_server.GenerationOptions()))
    with pytest.raises(refused, match="the user's"):
        next(backend.generate([{"role": "assistant", "content": "x"}], old.driver.openai_server.GenerationOptions()))


def test_mlc_old_server_names_what_is_missing(old: Any, tmp_path: Path) -> None:
    """The old MLC says what is missing."""
    (old.folder / "second.so").touch()
    with pytest.raises(SystemExit, match="2 compiled libraries"):
        old.driver.ChatModuleBackend(str(old.folder))
    (old.folder / "params" / "ndarray-cache.json").rename(old.folder / "params" / "tensor-cache.json")
    old.driver.ChatModuleBackend(str(old.folder), "lib.so")
    (old.folder / "params" / "tensor-cache.json").unlink()
    with pytest.raises(SystemExit, match="no weights"):
        old.driver.ChatModuleBackend(str(old.folder), "lib.so")
    with pytest.raises(SystemExit, match=r"no mlc-chat-config\.json"):
        old.driver.ChatModuleBackend(str(tmp_path))
