"""What tests of recipes share: helpers and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    from jetson_containers.recipes.catalog import Catalog


TREES = UNIT_DIR / "trees"


BASIC = TREES / "basic"


def same(left: Catalog, right: Catalog) -> bool:
    return (
        dict(left.available) == dict(right.available)
        and dict(left.absent) == dict(right.absent)
        and [str(error) for error in left.broken] == [str(error) for error in right.broken]
        and [error.hint for error in left.broken] == [error.hint for error in right.broken]
        and left.notices == right.notices
        and list(left.broken_names) == list(right.broken_names)
    )
