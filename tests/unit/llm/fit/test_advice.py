"""What would fit instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.llm.fit.advice import FitRequest, advise, ask
from jetson_containers.llm.fit.predict import FitVerdict, predict
from jetson_containers.llm.models import known
from tests.unit.llm.fit.helpers import RUNTIMES, board, machines, model, shapes

if TYPE_CHECKING:
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.models.config import ModelConfig


@given(shapes(), machines(), st.sampled_from(RUNTIMES), st.integers(512, 32768), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_advise_gives_options_that_fit_when_applied(
    config: ModelConfig, machine: Machine, runtime: str, context: int, batch: int
) -> None:
    """Advice fits when it is applied."""
    request = FitRequest(runtime=runtime, context=context, max_batch=batch)
    first = ask(config, request, machine)
    for advice in advise(config, request, machine):
        again = ask(config, advice.request, advice.machine)
        assert again == advice.fit
        assert again.fits
        assert not (first.fits and again.verdict is not FitVerdict.FITS)
        assert advice.options


@pytest.mark.parametrize("name", list(known.configs())[:6])
def test_advise_is_silent_where_it_fits_well(name: str) -> None:
    """Nothing is advised where it fits well."""
    config = model(name)
    for runtime in RUNTIMES:
        if predict(config, runtime=runtime, board=board("agx-orin-64gb")).verdict is FitVerdict.FITS:
            assert advise(config, FitRequest(runtime=runtime), board("agx-orin-64gb")) == ()


def test_advise_begins_with_the_smallest_change() -> None:
    """Advice begins with the smallest change."""
    advice = advise(model("Llama-2-7b-chat-hf"), FitRequest(runtime="llama_cpp"), board("orin-nano-8gb"))
    assert [item.text for item in advice][:3] == [
        "--context 2048",
        "--swap 2",
        "--quantization Q3_K_S",
    ]
