"""How much space goes when images go: layers that another image keeps stay."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def at_most(removed: Iterable[str], sizes: Mapping[str, int], layers: Mapping[str, tuple[str, ...]]) -> int:
    """Bytes that are free when the images `removed` are gone, at most: a layer cache may keep some layers.

    `sizes` are bytes of whole images and `layers` their layers, bottom first, of all images of the store by ID. An
    engine says no size of a layer, so what two images share counts as much as the largest image that it is, or as
    nothing where it is none.
    """
    gone = {name for name in removed if name in sizes and layers.get(name)}
    whole: dict[tuple[str, ...], int] = {layers[name]: size for name, size in sizes.items() if layers.get(name)}
    held = {layers[name][:count] for name in sizes if name not in gone for count in _counts(layers.get(name, ()))}
    freed = 0
    for chain in sorted({layers[name] for name in gone}, key=len):
        shared = max((count for count in _counts(chain) if chain[:count] in held), default=0)
        below = max((whole[chain[:count]] for count in _counts(chain[:shared]) if chain[:count] in whole), default=0)
        freed += max(whole[chain] - below, 0) if shared < len(chain) else 0
        held.update(chain[:count] for count in _counts(chain))
    return freed


def _counts(chain: tuple[str, ...]) -> range:
    return range(1, len(chain) + 1)
