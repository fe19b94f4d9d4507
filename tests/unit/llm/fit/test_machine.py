"""Machines: memory and power modes."""

from __future__ import annotations

import pytest
from packaging.version import Version

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.platforms import tables
from tests.unit.llm.fit.helpers import board


def test_machine_without_a_published_memtotal_is_estimated_with_a_note() -> None:
    """Boards without a published MemTotal are estimated and say so."""
    assert board("orin-nx-16gb", mode="MAXN").notes == ()
    estimated = board("agx-orin-32gb")
    assert estimated.memory == int(32 * GIB * 0.91)
    assert "estimated" in estimated.notes[0]


def test_machine_that_starts_with_less_power_has_a_note() -> None:
    """A board that starts with less power says so."""
    assert "starts in the mode 15W" in board("orin-nx-16gb").notes[0]
    assert board("agx-thor").notes == ()


def test_machine_power_mode_changes_clock_and_bandwidth() -> None:
    """Power modes change clock and bandwidth."""
    assert board("orin-nano-8gb", mode="15W").bandwidth == 68e9
    assert board("orin-nano-8gb", mode="25W").bandwidth == 102e9
    assert board("orin-nx-16gb", mode="15W").sm_hz == 4 * 612e6
    slow, full = board("agx-orin-64gb", mode="15W").bandwidth, board("agx-orin-64gb").bandwidth
    assert slow is not None
    assert full is not None
    assert slow / full == pytest.approx(2 / 3, abs=0.001)
    with pytest.raises(UsageError, match="unknown power mode `9W`"):
        board("orin-nx-16gb", mode="9W")


@pytest.mark.parametrize(
    ("name", "l4t", "release", "rate", "said"),
    [
        ("orin-nano-8gb", None, "", 102, "MAXN_SUPER"),
        ("orin-nano-8gb", None, "36.4.7", 102, "MAXN_SUPER"),
        ("orin-nano-8gb", None, "36.4.0", 68, "full power"),
        ("orin-nano-8gb", None, "35.6.0", 68, "full power"),
        ("orin-nano-8gb", None, "35.6.2", 102, "MAXN_SUPER"),  # JetPack 5.1.5 has the Super modes too
        ("orin-nano-8gb", None, "39.2.0", 102, "MAXN_SUPER"),
        ("orin-nano-8gb", 35, "", 68, "full power"),
        ("orin-nx-16gb", None, "", 102.4, "full power"),
    ],
)
def test_machine_at_full_power_has_the_super_mode_of_its_release(
    name: str, l4t: int | None, release: str, rate: float, said: str
) -> None:
    """Without a mode, the fastest that the release has counts, and it is named."""
    found = of_board(tables.boards()[name], l4t=l4t, release=Version(release) if release else None)
    assert (found.bandwidth, found.slowed) == (rate * 1e9, False)
    assert f"speeds are for {said}; {name} starts in the mode 15W, which is slower" in found.notes


def test_machine_of_the_small_orin_nano_has_the_super_mode_too() -> None:
    """The Super modes make the memory of the 4 GB module faster as well."""
    found = of_board(tables.boards()["orin-nano-4gb"], release=Version("36.5.0"))
    assert found.bandwidth == 51e9
    with pytest.raises(UsageError, match=r"came with L4T 35\.6\.1, and the target is L4T 35\.5\.0"):
        of_board(tables.boards()["orin-nano-4gb"], mode="MAXN_SUPER", release=Version("35.5.0"))


def test_machine_of_an_unknown_board_gets_a_suggestion() -> None:
    """A board that does not exist gets a suggestion."""
    with pytest.raises(UsageError, match="unknown board `orin-mx-16gb`") as error:
        board_named("orin-mx-16gb")
    assert "orin-nx-16gb" in (error.value.hint or "")
