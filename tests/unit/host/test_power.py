"""The power modes that a board says it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.host.power import PowerModes, read_power_modes

if TYPE_CHECKING:
    from pathlib import Path


def test_power_modes_with_numbers_of_thousands_of_digits_are_left_out(tmp_path: Path) -> None:
    """Python reads no number of more than 4,300 digits, and no mode has one."""
    (tmp_path / "etc").mkdir()
    digits = "9" * 5000
    text = (
        f"< POWER_MODEL ID={digits} NAME=30W >\n< POWER_MODEL ID=1 NAME={digits}W >\n< PM_CONFIG DEFAULT={digits} >\n"
    )
    (tmp_path / "etc/nvpmodel.conf").write_text(text, encoding="utf-8")
    found = read_power_modes(tmp_path)
    assert found == PowerModes(modes={1: f"{digits}W"}, current=None)
    assert found.fastest is None
