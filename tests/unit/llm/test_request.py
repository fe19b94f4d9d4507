"""The runtimes that can be named."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.request import runtime_named


def test_runtime_named_lists_the_known_runtimes() -> None:
    """An unknown runtime lists the known ones."""
    with pytest.raises(UsageError) as caught:
        runtime_named("mlc3")
    assert "llama_cpp" in (caught.value.hint or "")
