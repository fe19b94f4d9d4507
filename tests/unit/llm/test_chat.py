"""Conversations: questions from a prompt, a pipe or a terminal, and what becomes of them."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.cli.llm import llm
from jetson_containers.core.errors import EngineMissingError, UsageError
from jetson_containers.llm import chat, prepare, session
from jetson_containers.llm.client import Turn
from jetson_containers.llm.conversation import ChatOptions
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Service
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import Answers, Terminal, prepared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.llm.containers import Containers
    from jetson_containers.llm.context import LlmContext


def output(context: LlmContext) -> str:
    assert isinstance(context.console.out, io.StringIO)
    return context.console.out.getvalue()


def test_chat_dry_run_prints_the_commands_and_reads_nothing(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dry run prints the commands of all steps and of the server; no prompt is needed."""
    monkeypatch.setattr("sys.stdin", None)
    here = replace(context, engine=lambda: FakeEngine(missing=EngineMissingError("no container engine")))
    assert chat.chat(LlmRequest(model="tiny", quantization="Q8_0"), ChatOptions(), here, dry_run=True) is None
    lines = [line for line in output(context).splitlines() if line.startswith("docker run ")]
    for line, program in zip(
        lines, ("make-tiny-model", "convert_hf_to_gguf.py", "llama-quantize", "python3"), strict=True
    ):
        assert f'"$(jetson-containers autotag llama_cpp)" {program} ' in line
    assert "-c 512" in lines[-1]


def test_chat_takes_a_pipe_as_one_question(monkeypatch: pytest.MonkeyPatch, context: LlmContext) -> None:
    """A pipe is one question."""
    monkeypatch.setattr("sys.stdin", io.StringIO("line 1\nline 2\n"))
    assert chat.asked("", context.console) == "line 1\nline 2"


@pytest.mark.parametrize(("text", "asked"), [("a log\n", "why?\n\na log"), (" \n", "why?"), ("", "why?")])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_chat_joins_a_prompt_with_what_is_piped(
    monkeypatch: pytest.MonkeyPatch, context: LlmContext, tmp_path: Path, text: str, asked: str, kind: str
) -> None:
    """`llm chat MODEL "why?" <FILE`: the prompt comes first, then the text."""
    if kind == "pipe":
        reading, writing = os.pipe()
        os.write(writing, text.encode())
        os.close(writing)
    else:
        (tmp_path / "log").write_text(text)
        reading = os.open(tmp_path / "log", os.O_RDONLY)
    with os.fdopen(reading, encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert chat.asked("why?", context.console) == asked


def test_chat_says_that_it_waits_for_a_silent_pipe(monkeypatch: pytest.MonkeyPatch, context: LlmContext) -> None:
    """A pipe that brings nothing for a while is read all the same, and that is said."""
    reading, writing = os.pipe()
    monkeypatch.setattr(chat, "_PATIENCE", 0.01)
    with os.fdopen(reading, encoding="utf-8") as stdin, contextlib.closing(os.fdopen(writing, "w")):
        monkeypatch.setattr("sys.stdin", stdin)
        assert chat._brings_text(context.console)
    assert "</dev/null" in context.console.err.getvalue()  # type: ignore[union-attr]


def test_chat_reads_no_device_beside_a_prompt(monkeypatch: pytest.MonkeyPatch, context: LlmContext) -> None:
    """What a service has for standard input brings nothing."""
    with Path("/dev/null").open(encoding="utf-8") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert chat.asked("hi", context.console) == "hi"
    monkeypatch.setattr("sys.stdin", None)
    assert chat.asked("hi", context.console) == "hi"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/nope/model.gguf"], "/nope/model.gguf"),
        (["tiny", "--quantization", "Q9"], "Q9"),
        (["tiny", "--board", "rpi5"], "rpi5"),
        (["tiny", "hi", "--prompt", "ho"], "two prompts"),
    ],
)
def test_llm_chat_says_the_real_error_without_a_prompt(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    """A wrong model, quantization or board counts, not that there is no prompt."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main.main(["--target", "cpu", "llm", "chat", *words]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "no prompt given" not in told


def test_llm_chat_takes_the_prompt_behind_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    """The words behind the model are the prompt, with or without quotes."""
    made = llm.commands["chat"].make_context("chat", ["tiny", "What", "is", "it?", "--seed", "3"])
    assert made.params["words"] == ("What", "is", "it?")
    assert made.params["seed"] == 3


def test_chat_goes_on_with_another_model(
    context: LlmContext, containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/model` loads another one and keeps what was said; where that fails, the first goes on."""
    client = Answers(Turn(text="one"), Turn(text="two"), Turn(text="three"))
    opened: list[str] = []

    @contextlib.contextmanager
    def session_of(ready: Any, *_: Any, **__: Any) -> Iterator[session.Session]:
        opened.append(ready.decision.model.name)
        yield session.Session(
            client=client, log=tmp_path / "log", loaded_s=0.1, image="i:1", service=Service(argv=("s",), model="m")
        )  # type: ignore[arg-type]

    def prepare_other(request: LlmRequest, _context: LlmContext) -> Any:
        if request.model == "nope":
            raise UsageError("no model `nope`")
        decision = prepared(containers).decision
        return replace(prepared(containers), decision=replace(decision, model=replace(decision.model, name="other")))

    lines = iter(["a", "/model nope", "b", "/model other", "c", "/exit"])
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    monkeypatch.setattr(chat, "open_session", session_of)
    monkeypatch.setattr(prepare, "decided", lambda *_, **__: prepared(containers).decision)
    monkeypatch.setattr(prepare, "make", lambda *_, **__: prepared(containers))
    monkeypatch.setattr(prepare, "prepare", prepare_other)
    answer = chat.chat(LlmRequest(model="x"), ChatOptions(), context)
    assert answer is not None
    assert (answer.model, answer.answer) == ("other", "three")
    assert opened == ["x", "x", "other"]
    assert client.asked[-1] == ["a", "one", "b", "two", "c"]
    assert "no model `nope`" in context.console.err.getvalue()  # type: ignore[union-attr]


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


@pytest.mark.parametrize("stdin", [None, io.StringIO(""), io.StringIO(" \n")])
def test_chat_without_a_question_prepares_nothing(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    """No model is loaded for no question."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("prepared"))
    monkeypatch.setattr(prepare, "make", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(UsageError, match="no prompt given"):
        chat.chat(LlmRequest(model="tiny"), ChatOptions(), context)


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

    monkeypatch.setattr(prepare, "decided", lambda *_, **__: prepared(containers).decision)
    monkeypatch.setattr(prepare, "make", lambda *_, **__: prepared(containers))
    monkeypatch.setattr(chat, "open_session", opened)
    with pytest.raises(KeyboardInterrupt):
        chat.chat(LlmRequest(model="x"), ChatOptions(prompt="hi"), context)
