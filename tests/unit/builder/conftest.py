"""What the tests of the builder share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.builder.helpers import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.engine.add_image("base:1")

    def base_is_there(request: Any) -> None:
        assert made.engine.image(request.build_args["BASE_IMAGE"]) is not None

    made.engine.on_build = base_is_there
    yield made
    assert made.engine.running == 0
    leftovers = [name for name in made.engine.store if name.endswith((".part", ".old"))]
    assert leftovers == []
    assert made.out.getvalue() == ""  # stdout belongs to the commands
