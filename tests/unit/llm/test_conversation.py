"""What is typed in a conversation: questions, commands, files, and what of it reaches the model."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm import conversation, session
from jetson_containers.llm.client import OpenAIClient, RefusedError, Turn
from jetson_containers.llm.runtimes.interface import Service
from tests.unit.llm.fakes import Answers, Server, Terminal, converse, delta, talk

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.conversation import Conversation


def output(context: LlmContext) -> str:
    assert isinstance(context.console.out, io.StringIO)
    return context.console.out.getvalue()


def said(context: LlmContext) -> str:
    assert isinstance(context.console.err, io.StringIO)
    return context.console.err.getvalue()


@pytest.fixture
def chatting(client: OpenAIClient, tmp_path: Path, context: LlmContext) -> Any:
    opened = session.Session(
        client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )

    def start(**options: Any) -> Conversation:
        return talk(opened, context, **options)

    return start


def test_conversation_answer_begins_with_its_first_word(chatting: Any, context: LlmContext) -> None:
    """An answer begins with its first word, without the space before it."""
    Server.answers = [delta(" Hello"), delta(" you")]
    chatting(prompt="hi", system="be brief").run()
    assert output(context) == "Hello you\n"
    assert Server.asked[0]["messages"] == [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]


def test_conversation_remembers_and_forgets(chatting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conversation remembers, and forgets after /reset."""
    lines = iter(["one", "", "two", "/stats", "/reset", "three", "/help", "/exit"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    Server.answers = [delta("ok")]
    chatting().run()
    said = [[message["content"] for message in asked["messages"]] for asked in Server.asked]
    assert said == [["one"], ["one", "ok", "two"], ["three"]]


def test_conversation_ends_with_the_input(chatting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """End of input ends a conversation."""

    def end(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", end)
    assert chatting().run() is None


def test_conversation_refused_question_does_not_end_the_conversation(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question the server refuses does not end the conversation."""
    client = Answers(RefusedError("the server refused: context is full"), Turn(text="ok"))
    turn = converse(client, context, tmp_path, monkeypatch, "too long", "short", "/exit")
    assert turn == Turn(text="ok")
    assert client.asked == [["too long"], ["short"]]
    assert "context is full" in context.console.err.getvalue()  # type: ignore[union-attr]


def test_conversation_question_stopped_before_the_first_word_leaves_no_trace(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question stopped before the first word leaves no trace."""
    client = Answers(Turn(text="", interrupted=True), Turn(text="half", interrupted=True), Turn(text="ok"))
    converse(client, context, tmp_path, monkeypatch, "one", "two", "three", "/exit")
    assert client.asked == [["one"], ["two"], ["two", "half", "three"]]


def test_conversation_prompt_goes_to_stderr(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`llm chat --json >FILE` on a terminal: the file holds one JSON value and nothing else."""
    asked: list[str] = []
    converse(Answers(), context, tmp_path, monkeypatch, "/exit")
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "/exit")
    opened = session.Session(
        client=Answers(), log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    talk(opened, context).run()
    assert asked == [""]
    assert ">>> " in context.console.err.getvalue()  # type: ignore[union-attr]
    assert context.console.out.getvalue() == ""  # type: ignore[union-attr]


def test_conversation_says_that_a_command_is_unknown(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that does not exist is said to be unknown, with the one that was meant, and reaches no model."""
    client = Answers(Turn(text="ok"))
    converse(client, context, tmp_path, monkeypatch, "/fil x", "/home", "//home/x is what?", "/exit")
    assert "unknown command `/fil`; did you mean `/file`?" in said(context)
    assert "unknown command `/home`" in said(context)
    assert client.asked == [["/home/x is what?"]]


def test_conversation_adds_files_to_questions(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file goes with the question behind its name, or with the next one; then it is gone."""
    (tmp_path / "a b.txt").write_text("one\ntwo\n")
    (tmp_path / "c.txt").write_text("three")
    client = Answers(*(Turn(text="ok") for _ in range(3)))
    converse(
        client, context, tmp_path, monkeypatch, f'/file "{tmp_path}/a b.txt"', f"/file {tmp_path}/c.txt what's this?",
        "and now?", "/clear", f"/file {tmp_path}/c.txt", "/clear", "empty?", "/exit",
    )  # fmt: skip
    first = "what's this?\n\na b.txt:\n```\none\ntwo\n```\n\nc.txt:\n```\nthree\n```"
    assert client.asked == [[first], [first, "ok", "and now?"], ["empty?"]]


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "there is no file"), (b"\xff\xfe", "not UTF-8"), (b"a\0b", "not text"), (b"x" * 1_000_001, "1 MB")],
)
def test_conversation_refuses_files_that_hold_no_text(tmp_path: Path, content: bytes | None, says: str) -> None:
    """A file that is missing, too large or no text is one clear error."""
    path = tmp_path / "f"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=says):
        conversation._text_of(path)
    with pytest.raises(UsageError, match="is not a file"):
        conversation._text_of(tmp_path)


def test_conversation_goes_on_after_a_wrong_command(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that fails does not end the conversation."""
    client = Answers(Turn(text="ok"))
    converse(
        client, context, tmp_path, monkeypatch, "/file", "/file /no/such", "/save", "/save /no/such/x", "hi", "/bye"
    )
    assert client.asked == [["hi"]]
    assert said(context).count("error: ") == 4


def test_conversation_is_saved_as_markdown_or_json(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said is written to a new file; an existing one is left alone."""
    page, data = tmp_path / "talk.md", tmp_path / "talk.json"
    client = Answers(Turn(text="fine"), Turn(text="ok"))
    converse(
        client, context, tmp_path, monkeypatch, "/system be brief", "how?", f"/save {page}", f"/save {data}", "more",
        f"/save {page}", "/exit",
    )  # fmt: skip
    assert page.read_text() == "## system\n\nbe brief\n\n## user\n\nhow?\n\n## assistant\n\nfine\n"
    assert [message["content"] for message in json.loads(data.read_text())] == ["be brief", "how?", "fine"]
    assert "exists already" in said(context)


def test_conversation_names_its_model_and_the_next(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/model` says which one answers; with a name the conversation ends for the other to begin."""
    lines = iter(["/model", "/model other", "never read"])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    opened = session.Session(
        client=Answers(), log=tmp_path, loaded_s=0.1, image="i:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    one = talk(opened, context)
    assert one.run() is None
    assert one.next_model == "other"
    assert "m (llama_cpp)" in said(context)


def test_conversation_shows_no_speed_of_a_few_interrupted_tokens() -> None:
    """Seven tokens before Ctrl-C say nothing of the speed; a short answer that is whole, or many tokens, do."""
    turn = Turn(text="x", prompt_tokens=50, completion_tokens=7, prefill_s=1, decode_s=0.1, interrupted=True)
    assert conversation.speeds(turn) == "50 + 7 tokens, prefill 50.0 tokens/s, interrupted"
    whole = Turn(text="x", prompt_tokens=50, completion_tokens=7, prefill_s=1, decode_s=0.1)
    assert "decode 60.0 tokens/s" in conversation.speeds(whole)
    many = Turn(text="x", completion_tokens=101, decode_s=10, interrupted=True)
    assert "decode 10.0 tokens/s" in conversation.speeds(many)
