"""Models and boards for the tests of fit."""

from __future__ import annotations

from hypothesis import strategies as st

from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, board_named, of_board
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import ModelConfig
from tests.paths import ROOT_DIR

ROOT = ROOT_DIR
RUNTIMES = tuple(constants.runtimes())


def model(name: str) -> ModelConfig:
    config = known.config(name)
    assert config is not None
    return config


def board(name: str, **given: object) -> Machine:
    return of_board(board_named(name), **given)  # type: ignore[arg-type]


HEADS = st.sampled_from([(8, 8), (16, 4), (32, 8), (32, 32)])


@st.composite
def shapes(draw: st.DrawFn) -> ModelConfig:
    heads, kv_heads = draw(HEADS)
    hidden = heads * 64 * draw(st.integers(1, 3))
    experts = draw(st.sampled_from([0, 0, 8]))
    return ModelConfig(
        architecture="LlamaForCausalLM", model_type="llama", layers=draw(st.integers(4, 60)), hidden=hidden,
        intermediate=hidden * draw(st.integers(2, 4)), heads=heads, kv_heads=kv_heads, head_dim=hidden // heads,
        vocab=draw(st.sampled_from([32000, 128256])), tied=draw(st.booleans()), experts=experts,
        experts_used=min(experts, 2),
    )  # fmt: skip


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    size = draw(st.integers(4, 64))
    return Machine(
        id="any",
        memory=size * GIB,
        bandwidth=100e9,
        sm=87,
        l4t=(draw(st.sampled_from([35, 36])),),
        swap=draw(st.sampled_from([0, 8])) * GIB,
    )
