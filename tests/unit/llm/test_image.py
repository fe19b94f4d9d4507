"""The image of a model: missing ones are pulled or named, those without the programs are refused before a step."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, RegistryError, UsageError
from jetson_containers.llm import download_in_image, image, prepare
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.pipeline.types import CommandStep, PlannedStep
from jetson_containers.llm.request import LlmRequest
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings
    from jetson_containers.llm.context import LlmContext

CPU = detect.parse_target("cpu")
PACKAGES = ("llama_cpp",)
SERVER = ("llama-server", "-m", "/data/x.gguf")


@dataclass(frozen=True, kw_only=True)
class Answering(Containers):
    """Containers that answer a question for programs without starting anything."""

    answer: str | None = ""
    asked: list[Sequence[str]] = field(default_factory=list)

    def capture(self, command: Sequence[str], *, seconds: float | None = None) -> str | None:
        self.asked.append(command)
        return self.answer


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def console() -> Console:
    return Console(out=io.StringIO(), err=io.StringIO())


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Settings]:
    places = {name: str(tmp_path / name) for name in ("data", "logs", "cache")}
    return lambda **more: settings.load({**places, **more}, files=())


@pytest.fixture
def containers(engine: FakeEngine, console: Console, load: Callable[..., Settings]) -> Answering:
    engine.add_image("mine:1")
    return Answering(
        platform=CPU, engine=engine, settings=load(), console=console, image="mine:1", image_for=lambda _packages: ""
    )


def test_image_that_is_here_is_not_pulled(engine: FakeEngine, console: Console, load: Callable[..., Settings]) -> None:
    """An image that is here is not pulled."""
    engine.add_image("mine:1")
    assert image.pull_missing("mine:1", engine, load(), console) == "mine:1"
    assert ("pull", "mine:1") not in engine.calls


def test_image_of_a_registry_is_pulled_visibly(
    engine: FakeEngine, console: Console, load: Callable[..., Settings]
) -> None:
    """An image of a registry is pulled where one sees it."""
    engine.registry["acme/there:1"] = FakeEngine().add_image("acme/there:1")
    image.pull_missing("acme/there:1", engine, load(), console)
    assert engine.image("acme/there:1") is not None
    assert "`acme/there:1`" in console.err.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("down", [False, True])
def test_image_that_is_missing_is_called_missing(
    engine: FakeEngine, console: Console, load: Callable[..., Settings], down: bool
) -> None:
    """A missing image is called missing."""
    engine.registry_down = down
    with pytest.raises(RegistryError) as caught:
        image.pull_missing("nope:1", engine, load(), console)
    assert caught.value.message.startswith("no image `nope:1` is here")
    assert "leave out `--image`" in str(caught.value.hint)
    assert "DNS" not in f"{caught.value.message} {caught.value.hint}"


def test_image_is_not_pulled_offline(engine: FakeEngine, console: Console, load: Callable[..., Settings]) -> None:
    """Offline nothing is pulled."""
    with pytest.raises(NotReadyError, match="offline"):
        image.pull_missing("nope:1", engine, load(offline=True), console)
    assert ("pull", "nope:1") not in engine.calls


def test_prepare_looks_for_the_image_before_the_first_step(context: LlmContext, engine: FakeEngine) -> None:
    """Preparing looks for the image before the first step."""
    context = replace(context, engine=lambda: engine)
    with pytest.raises(RegistryError, match="no image `nope:1` is here"):
        prepare.prepare(LlmRequest(model="tiny", image="nope:1"), context)
    assert engine.runs == []
    with pytest.raises(RegistryError, match="no image `nope:1` is here"):
        download_in_image.download(["acme/x"], "nope:1", CPU, lambda: engine, context.settings, context.console)


def step(program: str, state: str, **more: Any) -> PlannedStep:
    made = CommandStep(name=program, argv=(program, "x"), inputs=(), output="/data/x", **more)
    return PlannedStep(step=made, key="", state=state, forced=False)


def test_image_without_the_server_is_refused(containers: Answering) -> None:
    """An image without the server is refused."""
    lacking = replace(containers, answer="missing llama-server\n")
    with pytest.raises(UsageError) as caught:
        image.refuse_without_programs(lacking, PACKAGES, [], SERVER)
    assert caught.value.message == "the image `mine:1` lacks `llama-server`"
    assert "leave out `--image`" in str(caught.value.hint)


def test_image_is_asked_only_for_what_will_run_in_it(containers: Answering) -> None:
    """Only what will run in that image is asked for."""
    planned = [step("convert", "run"), step("make", "cached"), step("elsewhere", "run", packages=("other",))]
    image.refuse_without_programs(containers, PACKAGES, planned, SERVER)
    assert list(containers.asked[0][4:]) == ["convert", "llama-server"]


@pytest.mark.parametrize("answer", [None, "", "sh: a warning\n"])
def test_image_without_an_answer_is_not_refused(containers: Answering, answer: str | None) -> None:
    """What an image does not say is not held against it."""
    image.refuse_without_programs(replace(containers, answer=answer), PACKAGES, [], SERVER)


def test_image_whose_labels_hold_the_runtime_is_not_asked(containers: Answering, engine: FakeEngine) -> None:
    """An image whose labels hold the runtime is not asked."""
    engine.add_image("mine:1", {"io.jetson-containers.packages": '["python:3.11", "llama_cpp:0.3.36"]'})
    image.refuse_without_programs(containers, PACKAGES, [], SERVER)
    assert containers.asked == []
