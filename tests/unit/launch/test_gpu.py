"""How the GPU is passed: what platform, engine and user decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.launch.gpu import Gpu
from jetson_containers.launch.parts import NoticeSeverity
from jetson_containers.platforms.platform import Arch, Platform
from tests.fakes import CAPABILITIES
from tests.unit.launch.helpers import NANO, NO_GPU, ORIN, PC, THOR, WITH_CDI, WITH_RUNTIME, plan, warnings_of

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.engine.interface import Capabilities


REGISTER = "nvidia-ctk runtime configure"


HOOK = "usr/bin/nvidia-container-runtime-hook"


@pytest.mark.parametrize(
    ("platform", "capabilities", "files", "rung", "words"),
    [
        (ORIN, WITH_CDI, "", Gpu.CDI, "--device nvidia.com/gpu=all"),
        (ORIN, replace(WITH_RUNTIME, cdi_devices=("nvidia.com/gpu=all",)), "", Gpu.CDI, "--device nvidia.com/gpu=all"),
        (ORIN, WITH_RUNTIME, "", Gpu.RUNTIME, "--runtime nvidia"),
        (ORIN, WITH_RUNTIME, HOOK, Gpu.RUNTIME, "--runtime nvidia"),
        (ORIN, CAPABILITIES, HOOK, Gpu.NONE, ""),  # --gpus fails in csv mode
        (NANO, CAPABILITIES, HOOK, Gpu.NONE, ""),
        (NANO, WITH_RUNTIME, HOOK, Gpu.RUNTIME, "--runtime nvidia"),
        (THOR, CAPABILITIES, HOOK, Gpu.GPUS, "--gpus all"),
        (PC, WITH_CDI, HOOK, Gpu.CDI, "--device nvidia.com/gpu=all"),
        (PC, WITH_RUNTIME, HOOK, Gpu.RUNTIME, "--runtime nvidia"),
        (PC, CAPABILITIES, HOOK, Gpu.GPUS, "--gpus all"),
        (PC, CAPABILITIES, "usr/local/bin/nvidia-container-runtime-hook", Gpu.GPUS, "--gpus all"),
        (PC, CAPABILITIES, "", Gpu.NONE, ""),
        (PC, replace(CAPABILITIES, cdi_devices=("amd.com/gpu=all",)), "", Gpu.NONE, ""),
        (NO_GPU, WITH_RUNTIME, HOOK, Gpu.NONE, ""),
        (
            PC,
            replace(CAPABILITIES, cdi_devices=("nvidia.com/gpu=1", "nvidia.com/gpu=GPU-9", "nvidia.com/gpu=0")),
            "",
            Gpu.CDI,
            "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1",
        ),
    ],
)
def test_gpu_access_is_the_best_that_platform_and_engine_allow(
    tmp_path: Path, platform: Platform, capabilities: Capabilities, files: str, rung: Gpu, words: str
) -> None:
    """Platform and engine decide how the GPU is passed."""
    planned = plan(tmp_path, "img", platform=platform, capabilities=capabilities, files=files)
    assert planned.gpu is rung
    flags = [word for word in planned.argv if "nvidia.com/" in word or word in {"nvidia", "--runtime", "--gpus", "all"}]
    assert flags == [word for word in words.split() if word != "--device"]
    wanted = "compute,utility,graphics" if platform.arch is Arch.TEGRA else "all"
    assert (f"NVIDIA_DRIVER_CAPABILITIES={wanted}" in planned.argv) is (rung is not Gpu.NONE)


def test_gpu_without_access_gets_a_notice_with_the_remedy(tmp_path: Path) -> None:
    """Where the GPU cannot be passed, a notice gives the remedy."""
    planned = plan(tmp_path, platform=PC)
    (notice,) = [notice for notice in planned.notices if "no GPU" in notice.text]
    assert notice.severity is NoticeSeverity.WARNING
    assert "apt-get install nvidia-container-toolkit" in (notice.hint or "")
    planned = plan(tmp_path, platform=PC, files="usr/bin/nvidia-ctk")
    (notice,) = [notice for notice in planned.notices if "no GPU" in notice.text]
    assert (notice.hint or "").startswith(f"sudo {REGISTER}")


@pytest.mark.parametrize("platform", [ORIN, PC])
def test_gpu_option_no_gpu_keeps_a_default_nvidia_runtime_from_adding_it(tmp_path: Path, platform: Platform) -> None:
    """`--no-gpu` is quiet and keeps a default nvidia runtime from adding the GPU."""
    planned = plan(tmp_path, "--no-gpu", "img", platform=platform, capabilities=WITH_RUNTIME)
    assert planned.gpu is Gpu.NONE
    assert warnings_of(planned) == []
    assert "NVIDIA_VISIBLE_DEVICES=void" in planned.argv
    assert "--runtime" not in planned.argv


@pytest.mark.parametrize(
    ("option", "platform", "capabilities", "warning"),
    [
        ("--runtime=nvidia", PC, CAPABILITIES, "no runtime `nvidia`"),
        ("--runtime=nvidia", PC, WITH_RUNTIME, ""),
        ("--runtime=runc", PC, CAPABILITIES, ""),
        ("--gpus=all", ORIN, CAPABILITIES, "csv mode"),
        ("--gpus=all", PC, CAPABILITIES, ""),
        ("--device=nvidia.com/gpu=all", ORIN, CAPABILITIES, ""),
    ],
)
def test_gpu_choice_of_the_user_stays_with_a_warning_when_it_cannot_work(
    tmp_path: Path, option: str, platform: Platform, capabilities: Capabilities, warning: str
) -> None:
    """The user's choice stays, with a warning when it cannot work."""
    planned = plan(tmp_path, option, "img", platform=platform, capabilities=capabilities)
    assert planned.gpu is Gpu.USER
    assert not any("NVIDIA" in word for word in planned.argv)
    assert [warning] == [warning for text in warnings_of(planned) if warning in text] or (
        not warning and warnings_of(planned) == []
    )
