"""Graphics cards by name: what their driver says, what the table has of them, and what is predicted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from jetson_containers.cli import llm_fit
from jetson_containers.cli.app import App
from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import cards, constants, query
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import of_card
from jetson_containers.llm.fit.predict import predict
from jetson_containers.llm.fit.query import FitQuestion
from tests.unit.llm.fit.helpers import model

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform


def driver(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A driver that prints this of its cards."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize(
    ("name", "bandwidth", "sm"),
    [
        ("NVIDIA GeForce RTX 4090", 1008e9, 89),
        ("rtx-4090", 1008e9, 89),
        ("RTX 4090 Laptop GPU", 576e9, 89),
        ("Tesla T4", 320e9, 75),
        ("NVIDIA H100 80GB HBM3", 3352e9, 90),
        ("NVIDIA RTX A6000", 768e9, 86),
        ("NVIDIA RTX 6000 Ada Generation", 960e9, 89),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 672e9, 89),
    ],
)
def test_card_is_found_by_the_names_of_drivers_and_people(name: str, bandwidth: float, sm: int) -> None:
    """The maker and the series may be left out; what distinguishes cards may not."""
    found = cards.named(name)
    assert found is not None
    assert (found.bandwidth, found.sm) == (bandwidth, sm)


@pytest.mark.parametrize("name", ["GeForce RTX 4090 D", "RTX 9090", "", "Orin (nvgpu)", "NVIDIA"])
def test_card_that_the_table_has_not_is_not_guessed(name: str) -> None:
    """No other card stands in for one that is not known."""
    assert cards.named(name) is None


def test_cards_of_the_table_are_plausible() -> None:
    """Each has whole multiprocessors of a known kind, and the bandwidth and clock of a card that exists."""
    for name, row in load_facts("cards")["cards"].items():
        kind = constants.compute()[int(row["sm"])]
        assert int(row["cores"]) % kind.cores == 0, name
        found = cards.named(name)
        assert found is not None
        assert 100e9 <= (found.bandwidth or 0) <= 9000e9, name
        assert found.hz is None or 1e9 <= found.hz <= 3e9, name
        assert 4 * GIB <= found.memory <= 192 * GIB, name
        assert (found.hz is None) == name.endswith("Laptop GPU"), name


def test_card_sold_with_two_sizes_has_the_bandwidth_of_the_nearer_one() -> None:
    """One name, two memories: the driver's number tells them apart."""
    small, large = cards.named("RTX 3080", 10 * GIB - (200 << 20)), cards.named("RTX 3080", 12 * GIB - (200 << 20))
    assert small is not None
    assert large is not None
    assert (small.bandwidth, large.bandwidth) == (760e9, 912e9)


def test_largest_card_is_that_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several cards the one with the most memory counts, with the memory that the driver says."""
    driver(tmp_path, monkeypatch, "8188, NVIDIA GeForce RTX 4060\n24564, NVIDIA GeForce RTX 4090\nN/A, Orin (nvgpu)")
    found = cards.largest_here()
    assert found is not None
    assert (found.name, found.memory) == ("GeForce RTX 4090", 24564 << 20)


@pytest.mark.parametrize("text", ["", "N/A, Orin (nvgpu)", "No devices were found", "[N/A], x", "-5, x", "\x1b[31m, ,"])
def test_largest_card_is_none_where_the_driver_says_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """What is not a number of MiB is no card."""
    driver(tmp_path, monkeypatch, text)
    assert cards.largest_here() is None


def test_largest_card_is_none_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-smi nothing is known."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cards.largest_here() is None


def test_card_that_is_not_known_has_memory_and_no_speed() -> None:
    """A card that the table has not is measured by its memory, and said to be unknown."""
    machine = of_card(cards.Card(name="RTX 9090", memory=24 * GIB), sm=120)
    found = predict(model("Qwen3-8B"), runtime="llama_cpp", board=machine)
    assert (found.fits, found.decode_tokens_per_s, machine.sm) == (True, None, 120)
    assert any("bandwidth of RTX 9090 is not in our table" in note for note in found.notes)


@pytest.mark.parametrize(
    ("name", "quantized", "card", "published"),
    [
        ("Llama-3.2-3B-Instruct", "Q4_K_M", "GeForce RTX 4070", 160.72),
        ("Llama-2-13b-chat-hf", "Q4_K_M", "RTX A6000", 63.5),
        ("Llama-2-70b-chat-hf", "Q4_K_M", "RTX 6000 Ada Generation", 16.73),
    ],
)
def test_speed_on_a_card_follows_from_its_bandwidth(name: str, quantized: str, card: str, published: float) -> None:
    """Published figures of cards that nothing was fitted on."""
    found = cards.named(card)
    assert found is not None
    predicted = predict(model(name), runtime="llama_cpp", quantization=quantized, board=of_card(found))
    assert predicted.decode_tokens_per_s == pytest.approx(published, rel=0.25)


def test_fit_takes_the_name_of_a_card_as_a_board() -> None:
    """`--board` names a card as it names a module; its memory may be said, a power mode may not."""

    def forbidden() -> Platform:
        raise AssertionError("the platform was asked")

    machine = query.machine_for(FitQuestion(board="RTX 3060"), forbidden, Path("/"))
    assert (machine.id, machine.memory, machine.discrete) == ("GeForce RTX 3060", 12 * GIB, True)
    machine = query.machine_for(FitQuestion(board="RTX 3060", vram=8.0), forbidden, Path("/"))
    assert machine.memory == 8 * GIB
    with pytest.raises(UsageError, match="`--mode 15W` is a power mode of a Jetson"):
        query.machine_for(FitQuestion(board="RTX 3060", mode="15W"), forbidden, Path("/"))
    with pytest.raises(UsageError, match="unknown board `RTX 306`"):
        query.machine_for(FitQuestion(board="RTX 306"), forbidden, Path("/"))
    done = CliRunner().invoke(
        llm_fit.fit, ["Qwen3-8B", "--board", "rtx 4090", "--runtime", "llama_cpp", "--json"], obj=App()
    )
    answer = json.loads(done.stdout)
    assert (answer["board"], answer["fits"]) == ("GeForce RTX 4090", True)
    assert 80 < answer["decode_tokens_per_s"] < 220
