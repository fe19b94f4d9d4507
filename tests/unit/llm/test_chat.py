"""Conversations: questions from a prompt, a pipe or a terminal, and what becomes of them."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm import chat, prepare, session
from jetson_containers.llm.client import OpenAIClient, RefusedError, Turn
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Service
from tests.unit.llm.fakes import Answers, Server, Terminal, converse, delta, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.llm.containers import Containers
    from jetson_containers.llm.context import LlmContext


def output(context: LlmContext) -> str:
    assert isinstance(context.console.out, io.StringIO)
    return context.console.out.getvalue()


def test_chat_dry_run_prints_the_commands_and_asks_nobody(context: LlmContext) -> None:
    """A dry run prints the commands and asks nobody."""
    assert (
        chat.chat(LlmRequest(model="tiny", quantization="Q8_0"), chat.ChatOptions(prompt="hi"), context, dry_run=True)
        is None
    )
    assert [line.split()[0] for line in output(context).splitlines()] == [
        "make-tiny-model", "convert_hf_to_gguf.py", "llama-quantize", "llama-server",
    ]  # fmt: skip
    assert "-c 512" in output(context)


@pytest.fixture
def talk(client: OpenAIClient, tmp_path: Path, context: LlmContext) -> Any:
    opened = session.Session(
        client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )

    def start(**options: Any) -> chat.Conversation:
        return chat.Conversation(session=opened, options=chat.ChatOptions(**options), console=context.console)

    return start


def test_chat_answer_begins_with_its_first_word(talk: Any, context: LlmContext) -> None:
    """An answer begins with its first word, without the space before it."""
    Server.answers = [delta(" Hello"), delta(" you")]
    talk(prompt="hi", system="be brief").run()
    assert output(context) == "Hello you\n"
    assert Server.asked[0]["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]


def test_chat_takes_a_pipe_as_one_question(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is one question."""
    monkeypatch.setattr("sys.stdin", io.StringIO("line 1\nline 2\n"))
    Server.answers = [delta("yes")]
    talk(prompt=chat.piped()).run()
    assert Server.asked[0]["messages"] == [{"role": "user", "content": "line 1\nline 2"}]


def test_chat_conversation_remembers_and_forgets(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation remembers, and forgets after /reset."""
    lines = iter(["one", "", "two", "/stats", "/reset", "three", "/help", "/exit"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    Server.answers = [delta("ok")]
    talk().run()
    said = [[message["content"] for message in asked["messages"]] for asked in Server.asked]
    assert said == [["one"], ["one", "ok", "two"], ["three"]]


def test_chat_conversation_ends_with_the_input(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """End of input ends a conversation."""

    def end(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", end)
    assert talk().run() is None


def test_chat_answer_json_keeps_the_old_name_of_the_decode_speed() -> None:
    """The JSON of an answer keeps the name that the decode speed had before."""
    answer = chat.ChatAnswer(
        model="m",
        runtime="llama_cpp",
        quantization="Q4_K_M",
        image="i",
        artefact="/data/m",
        answer="hi",
        prompt_tokens=1,
        completion_tokens=2,
        prefill_tokens_per_s=3.0,
        decode_tokens_per_s=4.0,
    )
    shown = answer.to_json()
    assert shown["tokens_per_s"] == shown["decode_tokens_per_s"] == 4.0
    assert shown["answer"] == "hi"


def test_chat_refused_question_does_not_end_the_conversation(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question the server refuses does not end the conversation."""
    client = Answers(RefusedError("the server refused: context is full"), Turn(text="ok"))
    turn = converse(client, context, tmp_path, monkeypatch, "too long", "short", "/exit")
    assert turn == Turn(text="ok")
    assert client.asked == [["too long"], ["short"]]
    assert "context is full" in context.console.err.getvalue()  # type: ignore[union-attr]


def test_chat_question_stopped_before_the_first_word_leaves_no_trace(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question stopped before the first word leaves no trace."""
    client = Answers(Turn(text="", interrupted=True), Turn(text="half", interrupted=True), Turn(text="ok"))
    converse(client, context, tmp_path, monkeypatch, "one", "two", "three", "/exit")
    assert client.asked == [["one"], ["two"], ["two", "half", "three"]]


@pytest.mark.parametrize("stdin", [None, io.StringIO(""), io.StringIO(" \n")])
def test_chat_without_a_question_prepares_nothing(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    """No model is loaded for no question."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("prepared"))
    monkeypatch.setattr(prepare, "make", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(UsageError, match="no prompt given"):
        chat.chat(LlmRequest(model="tiny"), chat.ChatOptions(), context)


def test_chat_only_answer_stopped_by_ctrl_c_is_not_a_success(
    context: LlmContext, containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only answer, stopped by Ctrl-C, is not a success."""

    @contextlib.contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[session.Session]:
        client: Any = Answers(Turn(text="half an", interrupted=True))
        yield session.Session(
            client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
        )

    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: prepared(containers))
    monkeypatch.setattr(chat, "open_session", opened)
    with pytest.raises(KeyboardInterrupt):
        chat.chat(LlmRequest(model="x"), chat.ChatOptions(prompt="hi"), context)


def test_chat_prompt_goes_to_stderr(context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`llm chat --json >FILE` on a terminal: the file holds one JSON value and nothing else."""
    asked: list[str] = []
    converse(Answers(), context, tmp_path, monkeypatch, "/exit")
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "/exit")
    opened = session.Session(
        client=Answers(), log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    chat.Conversation(session=opened, options=chat.ChatOptions(), console=context.console).run()
    assert asked == [""]
    assert ">>> " in context.console.err.getvalue()  # type: ignore[union-attr]
    assert context.console.out.getvalue() == ""  # type: ignore[union-attr]
