"""The grid of fits says what `llm fit` says."""

from __future__ import annotations

from itertools import product

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.machine import of_board
from jetson_containers.llm.fit.predict import FitVerdict, predict
from jetson_containers.llm.models import known
from jetson_containers.pages import fit_grid
from jetson_containers.platforms import tables

MODELS = ("Llama-2-7b-chat-hf", "Qwen3-0.6B")
BOARDS = tuple(tables.boards()[name] for name in ("nano-4gb", "orin-nano-8gb", "agx-orin-64gb"))
SETTINGS = (("llama_cpp", "Q4_K_M"), ("vllm", "fp16"))
CONTEXTS = (2048, 8192)


@pytest.fixture(scope="module")
def grid() -> dict[str, object]:
    return fit_grid.grid(MODELS, BOARDS, settings=SETTINGS, contexts=CONTEXTS)


def test_grid_holds_what_predict_says(grid: dict[str, list[object]]) -> None:
    """Each entry is the prediction of its board, model, setting and context; they stand in this order."""
    names = [str(board["id"]) for board in grid["boards"]]  # type: ignore[index]
    order = product(names, MODELS, SETTINGS, CONTEXTS)
    compared = 0
    for (board, model, (runtime, quantization), context), cell in zip(order, grid["cells"], strict=True):
        config = known.config(model)
        assert config is not None
        verdict, needed, weights, kv, speed, reason = cell  # type: ignore[misc]
        if context > config.max_position:
            assert grid["reasons"][reason] == fit_grid.BEYOND
            continue
        try:
            fit = predict(
                config,
                runtime=runtime,
                quantization=quantization,
                board=of_board(tables.boards()[board]),
                context=context,
            )
        except UsageError:
            assert grid["reasons"][reason] == fit_grid.NOT_THERE
            continue
        compared += 1
        assert grid["verdicts"][verdict] == fit.verdict.value
        assert (needed, weights, kv) == tuple(
            size >> 20 for size in (fit.needed_bytes, fit.weights_bytes, fit.kv_bytes)
        )
        assert speed == (-1 if fit.decode_tokens_per_s is None else round(fit.decode_tokens_per_s * 10))
        assert grid["reasons"][reason] == fit.reason
    assert compared >= 10


def test_grid_leaves_out_boards_that_no_runtime_exists_for(grid: dict[str, list[object]]) -> None:
    """Boards whose last L4T is 32 are left out; of the others the usable memory is said."""
    assert [(board["id"], 0 < board["usable"] < 64 * 1024) for board in grid["boards"]] == [  # type: ignore[index]
        ("orin-nano-8gb", True),
        ("agx-orin-64gb", True),
    ]


def test_grid_that_fits_is_below_the_usable_memory(grid: dict[str, list[object]]) -> None:
    """The line of a chart stands where a model ceases to fit, so that no bar contradicts its verdict."""
    runs = {verdict.value for verdict in (FitVerdict.FITS, FitVerdict.TIGHT)}
    size = len(MODELS) * len(SETTINGS) * len(CONTEXTS)
    for number, (verdict, needed, *_) in enumerate(grid["cells"]):  # type: ignore[misc]
        usable = grid["boards"][number // size]["usable"]  # type: ignore[index]
        assert grid["verdicts"][verdict] not in runs or needed <= usable
