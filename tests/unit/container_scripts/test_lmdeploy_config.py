"""LMDeploy's conversion and the configuration that is edited after it."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.driver_images import Images


CONVERT = textwrap.dedent("""
    import pathlib, sys
    weights = pathlib.Path(sys.argv[1], "triton_models", "weights")
    weights.mkdir(parents=True)
    lines = ["[llama]", "model_name = x", "cache_max_entry_count = 0.8", "cache_chunk_size = -1", "", ""]
    (weights / "config.ini").write_text("\\n".join(lines))
""")


def test_lmdeploy_config_is_edited_after_the_conversion(image: Images, tmp_path: Path) -> None:
    """The engine's configuration is edited after the conversion."""
    made = tmp_path / "made"
    argv = [str(made), "--set", "cache_max_entry_count=0.5", "cache_chunk_size=1", "--"]
    assert image.driver("lmdeploy_config").main([*argv, sys.executable, "-c", CONVERT, str(made)]) == 0
    text = (made / "triton_models" / "weights" / "config.ini").read_text()
    assert text.split("\n")[:4] == [
        "[llama]", "model_name = x", "cache_max_entry_count = 0.5", "cache_chunk_size = 1",
    ]  # fmt: skip


def test_lmdeploy_config_refuses_a_failed_or_foreign_conversion(image: Images, tmp_path: Path) -> None:
    """A conversion that failed or that is another program's is an error."""
    driver = image.driver("lmdeploy_config")
    made = str(tmp_path / "made")
    assert driver.main([made, "--set", "a=1", "--", sys.executable, "-c", "raise SystemExit(5)"]) == 5
    with pytest.raises(SystemExit, match="made no model"):
        driver.main([made, "--set", "a=1", "--", sys.executable, "-c", ""])
    with pytest.raises(SystemExit, match="has no `a`"):
        driver.main([made, "--set", "a=1", "--", sys.executable, "-c", CONVERT, made])
