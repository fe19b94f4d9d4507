"""What removing images frees: layers that another image keeps stay."""

from __future__ import annotations

import pytest

from jetson_containers.images import space

LAYERS = {
    "base": ("b",),
    "low": ("b", "l"),
    "high": ("b", "l", "h"),
    "final": ("b", "l", "h"),
    "other": ("b", "o"),
}
SIZES = {"base": 10, "low": 30, "high": 70, "final": 70, "other": 15}


@pytest.mark.parametrize(
    ("removed", "expected"),
    [
        (["low"], 0),  # high and final hold its layers
        (["low", "high"], 0),
        (["high", "final"], 40),
        (["low", "high", "final"], 60),
        (["low", "high", "final", "other"], 65),
        (["low", "high", "final", "other", "base"], 75),
        (["unknown"], 0),
        ([], 0),
    ],
)
def test_space_counts_each_layer_that_nothing_keeps_once(removed: list[str], expected: int) -> None:
    """Shared layers count when the last image of them goes."""
    assert space.at_most(removed, SIZES, LAYERS) == expected


def test_space_is_no_less_than_what_goes() -> None:
    """Where two images part at layers that are no image, the sum is too large rather than too small."""
    layers = {"kept": ("x", "a"), "gone": ("x", "b")}
    assert space.at_most(["gone"], {"kept": 5, "gone": 7}, layers) == 7
