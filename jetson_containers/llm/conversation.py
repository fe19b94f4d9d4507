"""A conversation with the model of a session: its messages, and the commands that are typed between them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import ReaderGoneError, UsageError
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.core.text import harmless
from jetson_containers.llm.client import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.core.console import Console
    from jetson_containers.llm.client import Turn
    from jetson_containers.llm.line_input import LineInput
    from jetson_containers.llm.session import Session

HINT = "/help lists the commands, /exit quits"
HELP = """\
/clear                  forget the conversation
/file PATH [QUESTION]   add a text file to the question, or to the next one
/save PATH              write the conversation: as JSON where PATH ends with .json, else as Markdown
/model [NAME]           say which model answers, or go on with another one
/system TEXT            begin anew with this system message
/stats                  show the speeds of the last answer
/exit                   quit, as Ctrl-D does; Ctrl-C ends an answer
A message goes on in the next line after \\ at its end, and between \"\"\" and \"\"\"; //… begins with a slash."""
ENDS = ("/exit", "/quit", "/bye")
_LARGEST_FILE = 1_000_000  # bytes; far more than the context of a model that runs here
_ENOUGH = 8  # tokens of an interrupted answer from which a speed can be told


@dataclass(frozen=True, kw_only=True)
class ChatOptions:
    """How to chat. Without a `prompt` the questions are typed on the terminal."""

    prompt: str = ""
    system: str = ""
    max_tokens: int = 256
    temperature: float | None = None
    seed: int | None = None


@dataclass(kw_only=True)
class Conversation:
    """The messages so far and the reading of new ones. `title` names the model.

    `next_model` is what `/model NAME` asked for when `run` returns: the conversation can go on in another session.
    """

    session: Session
    options: ChatOptions
    console: Console
    lines: LineInput
    title: str = ""
    messages: list[dict[str, str]] = field(default_factory=list)
    next_model: str = ""
    last: Turn | None = None

    def __post_init__(self) -> None:
        self.begun = False  # whether some of this answer has been written: models begin with a space
        self.attached: list[str] = []
        self._commands = {
            "/clear": self._clear, "/reset": self._clear, "/system": self._set_system, "/stats": self._stats,
            "/metrics": self._stats, "/file": self._file, "/save": self._save, "/model": self._model,
            "/help": self._help, "/?": self._help,
        }  # fmt: skip
        if not self.messages:  # else it goes on from another session
            self._system(self.options.system)

    def run(self) -> Turn | None:
        """Ask all questions; the last answer."""
        self.next_model = ""
        for question in self._questions():
            try:
                self.last = self._ask(question)
            except RefusedError as error:
                del self.messages[-1]  # the conversation continues without it
                if self.options.prompt:
                    raise
                self.console.error(error)
        return self.last

    def _questions(self) -> Iterator[str]:
        if self.options.prompt:
            first, *more = self.options.prompt.splitlines() or [""]
            self.console.info(f"> {first}" + " …" * bool(more))
            yield self.options.prompt
        else:
            if not self.messages:
                self.console.info(HINT)
            yield from self._typed()

    def _typed(self) -> Iterator[str]:
        while not self.next_model:
            try:
                line = self.lines.read().strip()
            except EOFError:
                self.console.info("")  # the prompt's line ends here
                return
            except KeyboardInterrupt:
                self.console.info("")
                continue
            if line in ENDS:
                return
            if line.startswith("/") and not line.startswith("//"):
                yield from self._command(line)
            elif line:
                yield self._with_files(line.removeprefix("/") if line.startswith("//") else line)

    def _command(self, line: str) -> list[str]:
        """Do a command; the question that is in it, if any."""
        word, _, rest = line.partition(" ")
        if (do := self._commands.get(word)) is None:
            meant = did_you_mean(word, [*self._commands, *ENDS])
            self.console.warning(f"unknown command `{word}`{'; ' * bool(meant)}{meant}", HINT)
            return []
        try:
            question = do(rest.strip())
        except UsageError as error:
            self.console.error(error)
            return []
        return [self._with_files(question)] if question else []

    def _clear(self, _rest: str) -> str:
        self.messages.clear()
        self.attached.clear()
        self._system(self.options.system)
        return ""

    def _set_system(self, text: str) -> str:
        self.messages.clear()
        self._system(text)
        return ""

    def _stats(self, _rest: str) -> str:
        self.console.info(speeds(self.last) if self.last else "no answer yet")
        return ""

    def _help(self, _rest: str) -> str:
        self.console.info(HELP)
        return ""

    def _model(self, name: str) -> str:
        self.console.info(f"loading {name}" if name else self.title)
        self.next_model = name
        return ""

    def _file(self, rest: str) -> str:
        """Add a text file to the next message, or ask the question behind its name at once."""
        name, question = _path_and_rest(rest)
        if not name:
            raise UsageError("no file given", hint="/file PATH [QUESTION]")
        text = _text_of(Path(name).expanduser())
        self.attached.append(f"{Path(name).name}:\n```\n{text}\n```")
        if not question:
            self.console.info(f"{name}, {len(text)} characters, goes with your next message")
        return question

    def _with_files(self, question: str) -> str:
        parts = [question, *self.attached]
        self.attached.clear()
        return "\n\n".join(parts)

    def _save(self, rest: str) -> str:
        """Write the conversation: as JSON messages where the name ends so, else as Markdown."""
        name = _path_and_rest(rest)[0]
        if not name:
            raise UsageError("no file given", hint="/save PATH, as JSON where PATH ends with .json")
        path = Path(name).expanduser()
        if path.suffix == ".json":
            text = json.dumps(self.messages, indent=2, ensure_ascii=False) + "\n"
        else:
            text = "\n".join(f"## {message['role']}\n\n{message['content'].strip()}\n" for message in self.messages)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise UsageError(f"{path} exists already", hint="choose another name") from error
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        self.console.info(f"{len(self.messages)} messages written to {path}")
        return ""

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
            self.console.out.write(harmless(text) if self.console.out.isatty() else text)
            self.console.out.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError("the reader of stdout is gone") from error


def speeds(turn: Turn) -> str:
    """Prefill and decode in one line; no speed of a short answer that was interrupted: it says nothing."""
    parts = [f"{turn.prompt_tokens} + {turn.completion_tokens} tokens"]
    if turn.prefill_rate is not None:
        parts.append(f"prefill {turn.prefill_rate:.1f} tokens/s")
    if turn.interrupted:
        parts.append("interrupted")
    if turn.decode_rate is not None and not (turn.interrupted and turn.completion_tokens < _ENOUGH):
        parts.append(f"decode {turn.decode_rate:.1f} tokens/s")
    return ", ".join(parts)


def _path_and_rest(text: str) -> tuple[str, str]:
    """The name of a file, in quotes where it has blanks, and what stands behind it."""
    found = re.fullmatch(r"""(?:"([^"]+)"|'([^']+)'|(\S+))\s*(.*)""", text, re.DOTALL)
    return (found[1] or found[2] or found[3], found[4]) if found else ("", "")


def _text_of(path: Path) -> str:
    """The text of a file. Raises UsageError for one that cannot be read, is too large or holds no text."""
    try:
        if not path.is_file():
            raise UsageError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
        with path.open("rb") as file:
            raw = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    if len(raw) > _LARGEST_FILE:
        raise UsageError(f"{path} has more than {_LARGEST_FILE // 1_000_000} MB", hint="add a part of it")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text") from error
    if "\0" in text:
        raise UsageError(f"{path} is not text")
    return text.strip("\n")
