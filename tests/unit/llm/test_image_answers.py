"""What images say of themselves: asked once, kept, checked when it is read again, and used by `fit`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.llm import image_answers
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.fit import query
from jetson_containers.llm.fit.machine import Machine, board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.types import ModelShape
from jetson_containers.llm.runtimes import support
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import CPU, Local

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext

LISTING = " ".join(support.LISTINGS["llama_cpp"])
CLASSES = ("LlamaForCausalLM", "OrchidForCausalLM", *(f"Known{number}ForCausalLM" for number in range(10)))
LIST = "TEXT models:\n" + "".join(f"  - {name}\n" for name in CLASSES)
ORCHID = {
    "architectures": ["OrchidForCausalLM"], "model_type": "orchid", "hidden_size": 1024, "num_hidden_layers": 12,
    "intermediate_size": 4096, "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000,
    "max_position_embeddings": 8192,
}  # fmt: skip


@pytest.fixture
def with_image(context: LlmContext, monkeypatch: pytest.MonkeyPatch) -> tuple[LlmContext, list[tuple[str, ...]]]:
    """A machine with an image of llama_cpp, and the commands that were started in it."""
    engine = FakeEngine()
    labels = {
        "io.jetson-containers.packages": '["llama_cpp:0.3.36"]',
        "io.jetson-containers.platform": json.dumps(CPU.build_facts()),
    }
    engine.add_image("llama_cpp:r1", labels)
    asked: list[tuple[str, ...]] = []

    def capture(_self: Containers, command: Any, *, seconds: float | None = None) -> str:
        assert seconds
        asked.append(tuple(command))
        return LIST

    monkeypatch.setattr(Containers, "capture", capture)
    return replace(context, engine=lambda: engine), asked


def kept_file(context: LlmContext) -> Path:
    (place,) = (context.settings.path("cache").expanduser() / "probes").glob("*.json")
    return place


def test_image_answers_are_asked_once_and_kept(
    with_image: tuple[LlmContext, list[tuple[str, ...]]],
) -> None:
    """The image is asked once; a runtime that the tables settle is not asked at all."""
    context, asked = with_image
    assert image_answers.of_images_here(context, ["llama_cpp", "mlc"], ["llama_cpp"]) == {}
    assert asked == []
    for _ in range(2):
        assert image_answers.of_images_here(context, ["llama_cpp", "mlc", "vllm"]) == {"llama_cpp": {LISTING: LIST}}
    assert asked == [support.LISTINGS["llama_cpp"]]
    assert image_answers.of_images_here(context, ["llama_cpp"], ["llama_cpp"]) == {"llama_cpp": {LISTING: LIST}}


@pytest.mark.parametrize(
    "damaged",
    [
        "[1, 2]",
        "null",
        '{"' + LISTING + '": ["LlamaForCausalLM"]}',
        "{",
        "\x00" * 20,
        '{"a": "' + "x" * (5 << 20) + '"}',
    ],
    ids=["list", "null", "no-text", "cut", "zeros", "large"],
)
def test_image_answers_that_are_damaged_are_asked_again(
    with_image: tuple[LlmContext, list[tuple[str, ...]]], damaged: str
) -> None:
    """A kept answer is a file that anything may have written: what is not one is asked for again."""
    context, asked = with_image
    image_answers.of_images_here(context, ["llama_cpp"])
    kept_file(context).write_text(damaged)
    assert image_answers.of_images_here(context, ["llama_cpp"]) == {"llama_cpp": {LISTING: LIST}}
    assert len(asked) == 2


def test_image_answers_are_none_without_an_engine_or_an_image(context: LlmContext) -> None:
    """Without an engine, and without an image of the runtime, the tables decide."""
    assert image_answers.of_images_here(replace(context, engine=FakeEngine), ["llama_cpp", "vllm"]) == {}
    engine = FakeEngine(missing=NotReadyError("no engine"))
    assert image_answers.of_images_here(replace(context, engine=lambda: engine), ["llama_cpp"]) == {}


def test_capture_ends_what_takes_too_long(context: LlmContext) -> None:
    """A question that gets no answer in time is as one that could not be started."""
    local = Local(
        platform=CPU, engine=FakeEngine(), settings=context.settings, console=context.console, image="llama_cpp:r1",
        image_for=lambda _packages: "",
    )  # fmt: skip
    removed: list[str] = []
    object.__setattr__(local, "remove", lambda planned: removed.append(planned.name))
    assert local.capture(["sh", "-c", "exec sleep 30"], seconds=0.2) is None
    assert len(removed) == 1
    answered = image_answers.ask(local, [("sh", "-c", "echo said")], "", 30)
    assert answered == {"sh -c echo said": "said\n"}


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ({}, FitVerdict.UNKNOWN),
        ({LISTING: LIST}, FitVerdict.FITS),
        ({LISTING: LIST.replace("Orchid", "Tulip")}, FitVerdict.IMPOSSIBLE),
        ({LISTING: "Traceback (most recent call last):\n"}, FitVerdict.UNKNOWN),
    ],
    ids=["not-asked", "loads-it", "does-not", "failed"],
)
def test_fit_takes_the_word_of_the_image_that_is_here(printed: dict[str, str], verdict: FitVerdict) -> None:
    """A model that no table has is judged by the list of the image, as `chat` judges it."""
    machine: Machine = replace(of_board(board_named("orin-nano-8gb")), probed={"llama_cpp": printed})
    shape = ModelShape(name="org/orchid", config=from_hf(ORCHID), origin="")
    found = query.answer(shape, machine, query.FitQuestion(runtime="llama_cpp")).best
    assert found.verdict is verdict
    assert not query.is_in_table(shape, "llama_cpp", machine)
    known = support.knows("llama_cpp", "gguf", shape.config, printed)
    assert known is {FitVerdict.UNKNOWN: None, FitVerdict.FITS: True, FitVerdict.IMPOSSIBLE: False}[verdict]


def test_runtime_is_asked_for_its_list_among_other_things() -> None:
    """What `fit` asks is one of the questions of `chat`, so that each finds what the other kept."""
    assert support.LISTINGS["llama_cpp"] in LlamaCpp.probes
