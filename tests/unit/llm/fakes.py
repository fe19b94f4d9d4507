"""What the tests of `llm` put in the place of a hub, an engine, a catalog, docker and a server."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import NothingMatchedError
from jetson_containers.engine.owner import OWNER
from jetson_containers.launch import gpu
from jetson_containers.launch.command import Launch
from jetson_containers.llm import prepare, session
from jetson_containers.llm.containers import SERVER, Containers
from jetson_containers.llm.conversation import ChatOptions, Conversation
from jetson_containers.llm.decide import Decision, Goal
from jetson_containers.llm.line_input import LineInput
from jetson_containers.llm.models.types import Model
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Job, Service, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from jetson_containers.platforms import detect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from jetson_containers.llm.client import Turn
    from jetson_containers.llm.context import LlmContext


CPU = detect.parse_target("cpu")


class NoHub:
    """Nobody may ask it."""

    def describe(self, reference: str) -> Any:
        raise AssertionError(reference)

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        raise AssertionError(reference)

    def shape(self, reference: str, quantization: str) -> Any:
        raise AssertionError(reference, quantization)


def no_engine() -> Any:
    raise AssertionError("the engine was asked")


@dataclass(frozen=True)
class CatalogPackage:
    family: str
    version: str


@dataclass(frozen=True)
class FakeCatalog:
    """The versions of the packages that there are."""

    versions: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> CatalogPackage:
        if name not in self.versions:
            raise NothingMatchedError(name)
        return CatalogPackage(name, self.versions[name])


class Server(BaseHTTPRequestHandler):
    """Streams what `answers` say."""

    answers: list[dict[str, Any]] = []  # noqa: RUF012
    asked: list[dict[str, Any]] = []  # noqa: RUF012
    keys: list[str | None] = []  # noqa: RUF012
    status = 200

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked.append(json.loads(body))
        type(self).keys.append(self.headers["Authorization"])
        self.send_response(self.status)
        self.end_headers()
        if self.status != 200:
            self.wfile.write(b'{"error": {"message": "context is full"}}')
            return
        for answer in self.answers:
            self.wfile.write(b": comment\n\ndata: " + json.dumps(answer).encode() + b"\n\n")
        self.wfile.write(b"data: [DONE]\n\n")


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}}], **more}


class Docker:
    """Containers by name, each with status, labels; remembers what was removed."""

    def __init__(self) -> None:
        self.containers: dict[str, tuple[str, dict[str, str]]] = {}
        self.removed: list[str] = []

    def __call__(self, _client: Sequence[str], *words: str) -> str:
        if words[0] == "rm":
            self.removed += [name for name in words[2:] if self.containers.pop(name, None)]
            return ""
        if words[0] == "inspect":
            return "".join(f"{name} {self.containers[name][1].get(OWNER, '')}\n" for name in words[3:])
        assert words[0] == "ps"
        wanted = [words[index + 1] for index, word in enumerate(words) if word == "--filter"]
        found = [name for name in self.containers if all(self._has(name, pattern) for pattern in wanted)]
        return "".join(self._line(name, "--quiet" in words) + "\n" for name in found)

    def _has(self, name: str, pattern: str) -> bool:
        kind, _, value = pattern.partition("=")
        if kind == "name":
            return name in value.replace("\\", "")
        label, _, content = value.partition("=")
        labels = self.containers[name][1]
        return label in labels and (not content or labels[label] == content)

    def _line(self, name: str, quiet: bool) -> str:
        return name if quiet else f"{name}\t{self.containers[name][0]}"


OURS = {SERVER: "1"}


class Local(Containers):
    """Runs commands of this machine in the place of docker's."""

    def plan(self, image: str, options: Sequence[str], command: Sequence[str], *, env: Any, name: str = "") -> Launch:
        return Launch(
            argv=tuple(command), env_additions={}, notices=(), image=image, command=(), name=name, gpu=gpu.Gpu.NONE
        )

    def remove(self, planned: Launch) -> None:
        pass


def prepared(containers: Containers) -> prepare.PreparedModel:
    job = Job(
        source="/data/x.gguf",
        name="x",
        config=None,
        quantization="",
        target=Target(platform=CPU, device="cpu"),
        prepared=True,
        context=512,
    )
    model = Model(asked="x", name="x", path="/data/x.gguf", identity="x")
    decision = Decision(
        request=LlmRequest(model="x"), goal=Goal.SERVED, model=model, runtime=LlamaCpp(), job=job, steps=()
    )
    return prepare.PreparedModel(decision=decision, containers=containers)


class Answers:
    """A client that answers from a list: a turn, or an error to raise."""

    def __init__(self, *answers: Turn | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def ask(self, messages: Sequence[dict[str, str]], **_: Any) -> Turn:
        self.asked.append([message["content"] for message in messages])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def converse(
    client: Answers, context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str
) -> Turn | None:
    typed = iter(lines)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(typed))
    opened = session.Session(
        client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    return talk(opened, context).run()


def talk(opened: session.Session, context: LlmContext, **options: Any) -> Conversation:
    """A conversation over a session, with no history."""
    lines = LineInput(console=context.console)
    return Conversation(
        session=opened, options=ChatOptions(**options), console=context.console, lines=lines, title="m (llama_cpp)"
    )


def server(containers: Containers, *command: str) -> Launch:
    """A server called `mine` whose docker is a command of this machine."""
    planned = containers.server(Service(argv=("x",), model="m"), name="mine")
    return replace(planned, argv=command) if command else planned


def llama(context: LlmContext) -> str:
    place = context.data / "models" / "Llama-2-7b-chat-hf"
    place.mkdir(parents=True)
    shape = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(shape))
    (place / "model.safetensors").touch()
    return "/data/models/Llama-2-7b-chat-hf"


@dataclass(frozen=True)
class File:
    name: str
    size: int = 10
