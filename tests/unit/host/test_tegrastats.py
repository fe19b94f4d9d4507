"""Lines of tegrastats of several boards and releases, and the program itself."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.host import tegrastats

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

# In the form of L4T 36 on Orin Nano, L4T 32 on TX2; the numbers are invented.
ORIN = (
    "11-30-2026 01:00:00 RAM 3100/7620MB (lfb 4x4MB) SWAP 12/3810MB (cached 0MB) CPU [11%@729,off,3%@1510] "
    "EMC_FREQ 7%@2133 GR3D_FREQ 83%@[624] NVDEC off cpu@51.4C soc2@49.1C tj@51.4C cv0@-256C gpu@50.2C "
    "VDD_IN 6120mW/5000mW VDD_CPU_GPU_CV 2010mW/1500mW VDD_SOC 1400mW/1400mW"
)
TX2 = "RAM 900/7846MB SWAP 0/0MB CPU [1%@345] EMC_FREQ 0%@408 GR3D_FREQ 0%@114 PLL@39C MCPU@39C VDD_IN 2500/2400"


def test_line_of_tegrastats_has_loads_temperatures_and_rails() -> None:
    """What is between brackets is a clock; a sensor that is off has no temperature."""
    found = tegrastats.read_line(ORIN)
    assert (found.gpu_load, found.gpu_mhz, found.memory_controller_load) == (83.0, 624.0, 7.0)
    assert found.temperatures == {"cpu": 51.4, "soc2": 49.1, "tj": 51.4, "gpu": 50.2}
    assert found.rails == {"VDD_IN": 6.12, "VDD_CPU_GPU_CV": 2.01, "VDD_SOC": 1.4}
    assert tegrastats.board_watts(found.rails) == 6.12
    older = tegrastats.read_line(TX2)
    assert (older.gpu_load, older.gpu_mhz, older.temperatures["PLL"]) == (0.0, 114.0, 39.0)


def test_line_of_tegrastats_that_says_nothing_leaves_all_open() -> None:
    """What is not said is not zero."""
    assert tegrastats.read_line("GR3D_FREQ off") == tegrastats.TegrastatsLine()
    assert tegrastats.board_watts({}) is None


@given(st.text(max_size=200))
def test_line_of_tegrastats_may_be_any_text(line: str) -> None:
    """Any text is read, and no load is beyond 100 percent."""
    found = tegrastats.read_line(line)
    assert found.gpu_load is None or 0 <= found.gpu_load <= 100


def test_last_line_is_what_the_program_printed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is asked with the interval, and the newest of its lines counts."""
    program = tmp_path / "tegrastats"
    program.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/argv\necho one\necho "{ORIN}"\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with tegrastats.last_line(250) as line:
        for _ in range(1000):
            if line().startswith("11-30"):
                break
            threading.Event().wait(0.02)
        assert tegrastats.read_line(line()).gpu_load == 83.0
    assert (tmp_path / "argv").read_text() == "--interval 250\n"


def test_last_line_without_the_program_stays_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no tegrastats nothing is said, at once."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with tegrastats.last_line(100) as line:
        assert line() == ""
