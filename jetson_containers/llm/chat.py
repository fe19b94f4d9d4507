"""Prepare the model where needed, then chat: one question, text from a pipe, or a conversation on a terminal."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import ReaderGoneError, UsageError
from jetson_containers.llm import prepare
from jetson_containers.llm.client import RefusedError
from jetson_containers.llm.request import runtime_named
from jetson_containers.llm.runtimes.interface import ServeOptions
from jetson_containers.llm.session import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.core.console import Console
    from jetson_containers.llm.client import Turn
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.session import Session

HELP = "/exit quit · /reset clear the conversation · /stats show speeds · /system TEXT set the system message"


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """How to chat. Without a `prompt` standard input is read: a conversation on a terminal, else one question."""

    prompt: str = ""
    system: str = ""
    max_tokens: int = 256
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class ChatAnswer:
    """The last answer. Speeds are tokens/s, None where too few tokens came to tell."""

    model: str
    runtime: str
    quantization: str
    image: str
    artefact: str
    answer: str
    prompt_tokens: int
    completion_tokens: int
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None

    def to_json(self) -> dict[str, Any]:
        """All fields, and the decode speed also under its name of earlier versions."""
        return {**asdict(self), "tokens_per_s": self.decode_tokens_per_s}


def chat(request: LlmRequest, options: ChatOptions, context: LlmContext, *, dry_run: bool = False) -> ChatAnswer | None:
    """Answer on stdout, streamed; everything else on stderr.

    Raises as `prepare`, UsageError where no prompt given, and StepError for a failed server. Ctrl-C while the only
    question is being answered is what it is everywhere: KeyboardInterrupt.
    """
    if request.runtime:
        runtime_named(request.runtime)  # refuse a wrong name before waiting for a question
    if not dry_run:
        options = options if options.prompt or _on_terminal() else replace(options, prompt=piped())
    if dry_run:
        decision = prepare.plan(request, context)
        service = decision.service(ServeOptions(port=8080, threads=request.threads))
        prepare.show(decision, service.argv, context.console)
        return None
    prepared = prepare.prepare(request, context)
    with open_session(prepared, context, threads=request.threads) as session:
        turn = Conversation(session=session, options=options, console=context.console).run()
    if turn is None:
        return None
    if turn.interrupted and options.prompt:
        raise KeyboardInterrupt
    decision = prepared.decision
    _show_speed(decision, session, turn, context.console)
    return ChatAnswer(
        model=request.model,
        runtime=decision.runtime.name,
        quantization=decision.quantization,
        image=session.image,
        artefact=decision.artifact,
        answer=turn.text.strip(),
        prompt_tokens=turn.prompt_tokens,
        completion_tokens=turn.completion_tokens,
        prefill_tokens_per_s=turn.prefill_rate,
        decode_tokens_per_s=turn.decode_rate,
    )


def _on_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def piped() -> str:
    """The question on standard input. Raises UsageError for an empty one, before a model is loaded."""
    try:
        text = sys.stdin.read().strip() if sys.stdin is not None else ""
    except UnicodeDecodeError as error:
        raise UsageError("standard input is not UTF-8 text") from error
    if not text:
        raise UsageError(
            "no prompt given", hint="use --prompt TEXT, pipe text to standard input, or run it in a terminal"
        )
    return text


@dataclass(kw_only=True)
class Conversation:
    """The messages so far and the reading of new ones."""

    session: Session
    options: ChatOptions
    console: Console

    def __post_init__(self) -> None:
        self.messages: list[dict[str, str]] = []
        self.begun = False  # whether some of this answer has been written: models begin with a space
        self._system(self.options.system)

    def run(self) -> Turn | None:
        """Ask all questions; the last answer."""
        last = None
        for question in self._questions():
            try:
                last = self._ask(question)
            except RefusedError as error:
                del self.messages[-1]  # the conversation continues without it
                if self.options.prompt:
                    raise
                self.console.error(error)
                continue
            self.last = last
        return last

    def _questions(self) -> Iterator[str]:
        if self.options.prompt:
            first, *more = self.options.prompt.splitlines() or [""]
            self.console.info(f"> {first}" + " …" * bool(more))
            yield self.options.prompt
        else:
            self.console.info(HELP)
            yield from self._lines()

    def _lines(self) -> Iterator[str]:
        while True:
            try:
                line = self._read().strip()
            except EOFError:
                self.console.info("")  # the prompt's line ends here
                return
            except KeyboardInterrupt:
                self.console.info("")
                continue
            if line in {"/exit", "/quit", "/bye"}:
                return
            if line.startswith("/"):
                self._command(line)
            elif line:
                yield line

    def _read(self) -> str:
        """A line from the terminal; the prompt goes to stderr where stdout is a file."""
        if self.console.out is not None and self.console.out.isatty():
            return input(">>> ")
        self.console.prompt(">>> ")
        return input("")

    def _command(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "/reset":
            self.messages = []
            self._system(self.options.system)
        elif word == "/system":
            self.messages = []
            self._system(rest)
        elif word in {"/stats", "/metrics"}:
            turn = getattr(self, "last", None)
            self.console.info(speeds(turn) if turn else "no answer yet")
        else:
            self.console.info(HELP)

    def _system(self, text: str) -> None:
        if text:
            self.messages.append({"role": "system", "content": text})

    def _ask(self, question: str) -> Turn:
        self.messages.append({"role": "user", "content": question})
        turn = self.session.client.ask(
            self.messages,
            max_tokens=self.options.max_tokens,
            temperature=self.options.temperature,
            seed=self.options.seed,
            on_text=self._stream,
        )
        self.session.memory.measure()
        self._stream("\n")
        self.begun = False
        if turn.text or not turn.interrupted:
            self.messages.append({"role": "assistant", "content": turn.text})
        else:
            del self.messages[-1]  # stopped before the first word: as if it had not been asked
        return turn

    def _stream(self, text: str) -> None:
        """Write a piece of the answer at once; with --json the whole answer comes at the end instead."""
        text = text if self.begun else text.lstrip()
        if self.console.as_json or self.console.out is None or not text:
            return
        self.begun = True
        try:
            self.console.out.write(text)
            self.console.out.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError("the reader of stdout is gone") from error


def speeds(turn: Turn) -> str:
    """Prefill and decode in one line."""
    parts = [f"{turn.prompt_tokens} + {turn.completion_tokens} tokens"]
    if turn.prefill_rate is not None:
        parts.append(f"prefill {turn.prefill_rate:.1f} tokens/s")
    if turn.decode_rate is not None:
        parts.append(f"decode {turn.decode_rate:.1f} tokens/s")
    return ", ".join(parts)


def _show_speed(decision: Decision, session: Session, turn: Turn, console: Console) -> None:
    console.ok(f"{decision.title}: {speeds(turn)}; loaded in {session.loaded_s:.1f} s, {session.image}")
