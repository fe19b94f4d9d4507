"""Prepare the model where needed, then chat: one question, text from a pipe, or a conversation on a terminal."""

from __future__ import annotations

import os
import select
import stat
import sys
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import InterruptedByUserError, JetsonError, UsageError
from jetson_containers.llm import prepare, shown_commands
from jetson_containers.llm.conversation import Conversation, speeds
from jetson_containers.llm.line_input import LineInput
from jetson_containers.llm.session import open_session

if TYPE_CHECKING:
    from jetson_containers.core.console import Console
    from jetson_containers.llm.client import Turn
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.conversation import ChatOptions
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.session import Session

HISTORY = "chat_history"  # in the cache directory
_PATIENCE = 2.0  # seconds that a pipe may be silent before it is said that it is read


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
    if dry_run:
        shown_commands.show_session(prepare.plan(request, context), context)
        return None
    decision = prepare.decided(request, context)  # first: the error of a wrong name counts, not that of a prompt
    options = replace(options, prompt=asked(options.prompt, context.console))
    talk = _Talk(request=request, options=options, context=context, prepared=prepare.make(decision, context))
    turn, session, decision = talk.hold()
    if turn is None:
        return None
    if turn.interrupted and options.prompt:
        raise KeyboardInterrupt
    _show_speed(decision, session, turn, context.console)
    return ChatAnswer(
        model=talk.request.model,
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


@dataclass(kw_only=True)
class _Talk:
    """A conversation over one session after the other: `/model` ends one and begins the next."""

    request: LlmRequest
    options: ChatOptions
    context: LlmContext
    prepared: PreparedModel

    def hold(self) -> tuple[Turn | None, Session, Decision]:
        """Talk until the user ends it; the last answer, and the session and decision it came from."""
        messages: list[dict[str, str]] = []
        last: Turn | None = None
        lines = LineInput(
            console=self.context.console, history=self.context.settings.path("cache").expanduser() / HISTORY
        )
        while True:
            with open_session(self.prepared, self.context, threads=self.request.threads) as session:
                talk = Conversation(
                    session=session, options=self.options, console=self.context.console, lines=lines,
                    title=self.prepared.decision.title, messages=messages, last=last,
                )  # fmt: skip
                last = talk.run()
            if not talk.next_model:
                return last, session, self.prepared.decision
            messages = talk.messages
            self._change(talk.next_model)

    def _change(self, model: str) -> None:
        """Prepare another model; where that fails, the conversation goes on with this one."""
        wanted = replace(self.request, model=model, quantization="")
        try:
            self.prepared = prepare.prepare(wanted, self.context)
            self.request = wanted
        except InterruptedByUserError:
            raise
        except JetsonError as error:
            self.context.console.error(error)
            self.context.console.info(f"going on with {self.prepared.decision.title}")


def asked(prompt: str, console: Console) -> str:
    """The question: the prompt, what a pipe or file brings on standard input, or both; "" on a terminal without one.

    Raises UsageError where there is none, before a model is loaded.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        return prompt
    if not prompt:
        return piped()
    text = piped(required=False) if _brings_text(console) else ""
    return f"{prompt}\n\n{text}" if text else prompt


def _brings_text(console: Console) -> bool:
    """Whether standard input is a pipe or file: what a service or a script has instead (/dev/null) brings nothing."""
    try:
        descriptor = sys.stdin.fileno() if sys.stdin is not None else -1
        kind = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(kind):
        return True
    if not stat.S_ISFIFO(kind):
        return False
    if not select.select([descriptor], [], [], _PATIENCE)[0]:
        console.info("reading standard input too; `</dev/null` leaves it out")
    return True


def piped(*, required: bool = True) -> str:
    """The text on standard input. Raises UsageError for an empty one where it is `required`."""
    try:
        text = sys.stdin.read().strip() if sys.stdin is not None else ""
    except UnicodeDecodeError as error:
        raise UsageError("standard input is not UTF-8 text") from error
    if not text and required:
        raise UsageError(
            "no prompt given", hint="use --prompt TEXT, pipe text to standard input, or run it in a terminal"
        )
    return text


def _show_speed(decision: Decision, session: Session, turn: Turn, console: Console) -> None:
    console.ok(f"{decision.title}: {speeds(turn)}; loaded in {session.loaded_s:.1f} s, {session.image}")
