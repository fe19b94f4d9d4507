"""Suggestions: which models for a board, which board for a model."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from jetson_containers.cli import llm_fit
from jetson_containers.cli.app import App
from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.predict import FitVerdict, quality
from jetson_containers.llm.fit.suggest import SuggestQuestion, needs, score, suggestions
from tests.unit.llm.fit.helpers import board, model


def test_suggest_takes_what_fits_and_is_fast_enough_the_best_first() -> None:
    """Every suggestion fits and is fast enough; the estimate of quality falls."""
    question = SuggestQuestion(runtimes=("llama_cpp",), least=12, limit=30)
    found = suggestions(board("orin-nano-8gb"), question)
    assert len(found) == 30
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one in found:
        assert one.fit.verdict in {FitVerdict.FITS, FitVerdict.TIGHT}
        assert (one.fit.decode_tokens_per_s or 0) >= 12
        assert quality(one.fit.quantization) == 0
        assert "embed" not in one.model.lower()
        assert "bge" not in one.model


def test_suggest_offers_larger_models_on_larger_boards() -> None:
    """A board with more memory is offered a better model."""
    question = SuggestQuestion(runtimes=("llama_cpp",), limit=1)
    best = [suggestions(board(name), question)[0].score for name in ("orin-nano-4gb", "orin-nano-8gb", "agx-orin-64gb")]
    assert best == sorted(best)
    assert len(set(best)) == 3


def test_suggest_counts_size_and_age() -> None:
    """Twice the size is worth as much as a year."""

    def of(name: str) -> float:
        return score(name, model(name))

    assert of("Qwen3-8B") > of("Qwen3-4B") > of("Qwen3-1.7B")
    assert of("Qwen3-8B") > of("Llama-2-13b-chat-hf")
    assert of("Qwen3-30B-A3B-Instruct-2507") < of("Qwen3-32B")


def test_suggest_names_the_smallest_board_of_each_quantization() -> None:
    """Larger formats need larger boards, and the board named is the smallest on which it runs."""
    found = {one.quantization: one.fit for one in needs(model("Qwen3-8B"), SuggestQuestion(runtimes=("llama_cpp",)))}
    order = ["orin-nano-4gb", "orin-nano-8gb", "orin-nx-8gb", "orin-nx-16gb", "agx-orin-32gb", "agx-orin-devkit-32gb"]
    assert order.index(found["Q4_K_M"].board) < order.index(found["F16"].board)
    assert found["F16"].board.startswith("agx-orin")
    assert all(not fit.board.startswith("xavier") for fit in found.values())


def test_suggest_refuses_an_unknown_runtime() -> None:
    """A runtime that does not exist is refused."""
    with pytest.raises(UsageError, match="unknown runtime `ollama`"):
        suggestions(board("orin-nano-8gb"), SuggestQuestion(runtimes=("ollama",)))


def run(*argv: str) -> tuple[int, str]:
    app = App()
    app.options["offline"] = True
    done = CliRunner().invoke(
        llm_fit.suggest, [*argv, "--json"], obj=app, catch_exceptions=False, standalone_mode=False
    )
    return done.return_value, done.stdout


def test_suggest_answers_as_json_and_with_exit_code_three_where_nothing_runs_well() -> None:
    """The command has rows as JSON; where nothing is fast enough it is 3."""
    code, out = run("--board", "orin-nano-8gb", "--runtime", "llama_cpp", "--limit", "2")
    rows = json.loads(out)
    assert (code, len(rows)) == (0, 2)
    assert {"model", "score", "first_token_s", "sequences", "decode_tokens_per_s"} <= rows[0].keys()
    assert run("--board", "orin-nano-8gb", "--runtime", "llama_cpp", "--least", "5000") == (3, "[]\n")
    code, out = run("Qwen3-4B", "--runtime", "llama_cpp")
    assert code == 0
    assert {"board", "quantization"} <= json.loads(out)[0].keys()
