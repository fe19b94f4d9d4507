"""Power as boards print it, and the program that is asked while something is measured."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.llm import power

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NANO = (
    "RAM 1300/3956MB (lfb 320x4MB) SWAP 0/1978MB (cached 0MB) CPU [12%@1479,8%@1479,off,off] EMC_FREQ 0% "
    "GR3D_FREQ 0% PLL@28C CPU@31C thermal@29.5C POM_5V_IN 2532/2610 POM_5V_GPU 0/12 POM_5V_CPU 450/460"
)
ORIN_NANO = (
    "11-29-2026 10:00:00 RAM 2448/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) CPU [1%@729,0%@729] GR3D_FREQ 0% "
    "cpu@48.1C VDD_IN 3564mW/3600mW VDD_CPU_GPU_CV 481mW/481mW VDD_SOC 1082mW/1082mW"
)
AGX_ORIN = (
    "RAM 4000/62800MB CPU [0%@2201] GR3D_FREQ 99% VDD_GPU_SOC 3205mW/3205mW VDD_CPU_CV 801mW/801mW "
    "VIN_SYS_5V0 4240mW/4240mW NC 0mW/0mW VDDQ_VDD2_1V8AO 500mW/500mW NC 0mW/0mW"
)
AGX_XAVIER = "RAM 1/2MB GPU 1050/1050 CPU 451/451 SOC 1652/1652 CV 0/0 VDDRQ 300/300 SYS5V 2800/2800"


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        (NANO, 2.532),
        (ORIN_NANO, 3.564),
        (AGX_ORIN, 8.246),
        (AGX_XAVIER, 6.253),
        ("RAM 1300/3956MB SWAP 0/1978MB CPU [12%@1479]", None),
        ("", None),
    ],
)
def test_power_of_tegrastats_is_that_of_the_board(line: str, watts: float | None) -> None:
    """The input's rail where there is one, else the sum of the others; memory sizes are no power."""
    found = power.watts_of_tegrastats(line)
    assert found == (pytest.approx(watts) if watts is not None else None)


@pytest.mark.parametrize(("line", "watts"), [("71.25\n", 71.25), ("[N/A]\n", None), ("", None)])
def test_power_of_nvidia_smi_is_a_number_or_nothing(line: str, watts: float | None) -> None:
    """A GPU that does not tell its power is not one that draws none."""
    assert power.watts_of_nvidia_smi(line) == watts


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_power_watch_reads_a_program_until_it_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is read after the warm-up counts, nonsense does not, and the program is ended."""
    line = ORIN_NANO.replace("3564", "9000")
    program(
        tmp_path, "tegrastats", f"echo $$ >pid; echo '{ORIN_NANO}'; read go <gate; echo '{line}'; echo x; exec sleep 60"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    os.mkfifo(tmp_path / "gate")
    with power.watching() as watch:
        wait_for(lambda: len(watch.readings) == 1)
        watch.begin()
        (tmp_path / "gate").write_text("go\n")
        wait_for(lambda: len(watch.readings) == 1)
    assert watch.report() == power.PowerReport(source="tegrastats", mean_w=9.0, max_w=9.0, count=1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_power_watch_without_a_program_reports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells the power there is no report, and neither for a program that cannot start."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with power.watching() as watch:
        pass
    assert watch.report() is None
    program(tmp_path, "nvidia-smi", "exit 9")
    with power.watching() as watch:
        pass
    assert watch.report() is None


def wait_for(happened: Callable[[], bool]) -> None:
    for _ in range(1000):
        if happened():
            return
        threading.Event().wait(0.02)
    pytest.fail("it never happened")
