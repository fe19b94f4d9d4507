"""Which commands came from the engine's layer cache, as its output says."""

from __future__ import annotations

import pytest

from jetson_containers.builder.layer_cache import LayerCache
from tests.unit.builder.helpers import BUILDKIT_CACHED, BUILDKIT_HALF, BUILDKIT_NEW, LEGACY_CACHED

LEGACY_NEW = """Step 1/3 : ARG A
 ---> Using cache
Step 2/3 : RUN make
 ---> Running in 1123456789ab
Step 3/3 : COPY a b
 ---> Using cache"""


@pytest.mark.parametrize(
    ("output", "runs", "reused"),
    [
        (BUILDKIT_CACHED, 1, 1),
        (BUILDKIT_HALF, 2, 1),
        (BUILDKIT_NEW, 1, 0),
        (LEGACY_CACHED, 1, 1),
        (LEGACY_NEW, 1, 0),
        ("Step 1/1 : FROM base:1\n ---> Using cache", 0, 0),
    ],
)
def test_layer_cache_reads_which_commands_were_reused(output: str, runs: int, reused: int) -> None:
    """The engine's output says which commands came from its cache."""
    cache = LayerCache()
    for line in output.splitlines():
        cache.line(line)
    assert (cache.runs, cache.reused, cache.everything) == (runs, reused, runs > 0 and runs == reused)
