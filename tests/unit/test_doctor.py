"""Doctor: every check says what it found and, where something is wrong, what helps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers import doctor
from jetson_containers.core import settings
from jetson_containers.core.errors import EngineMissingError, TargetError
from jetson_containers.engine.interface import Builder, Capabilities
from jetson_containers.platforms import detect
from tests.fakes import CAPABILITIES, FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


def examine(
    tmp_path: Path, target: str = "r36.4.3", capabilities: Capabilities = CAPABILITIES, meminfo: str = ""
) -> dict[str, doctor.Check]:
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc/meminfo").write_text(meminfo or "MemTotal: 30000000 kB\nSwapTotal: 0 kB\n")
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)

    class Engine(FakeEngine):
        @property
        def capabilities(self) -> Capabilities:
            return capabilities

    context = doctor.DoctorContext(
        platform=lambda: detect.parse_target(target), engine=Engine, settings=loaded, root=tmp_path
    )
    return {check.check: check for check in doctor.run_checks(context)}


def test_checks_that_fail_have_a_remedy(tmp_path: Path) -> None:
    """A check that is not ok has a remedy."""
    found = examine(
        tmp_path, capabilities=replace(CAPABILITIES, runtimes=("runc",), cdi_devices=(), storage_driver="vfs")
    )
    assert all(check.remedy for check in found.values() if check.status is not doctor.Status.OK)
    assert found["storage driver"].status is doctor.Status.WARN


@pytest.mark.parametrize(
    ("runtimes", "devices", "status"),
    [
        (("runc", "nvidia"), (), doctor.Status.OK),
        (("runc",), ("nvidia.com/gpu=all",), doctor.Status.OK),
        (("runc",), (), doctor.Status.FAIL),
    ],
)
def test_gpu_check_follows_runtimes_and_devices(
    tmp_path: Path, runtimes: tuple[str, ...], devices: tuple[str, ...], status: doctor.Status
) -> None:
    """Runtimes and devices of the engine decide the check of GPU access."""
    capabilities = replace(CAPABILITIES, runtimes=runtimes, cdi_devices=devices)
    assert examine(tmp_path, capabilities=capabilities)["gpu access"].status is status
    assert "gpu access" not in examine(tmp_path, "cpu", capabilities)


@pytest.mark.parametrize(
    ("target", "version", "warned"),
    [
        ("r36.4.3", "28.0.1", True),
        ("r36.4.3", "27.5.1", False),
        ("r36.4.4", "28.0.1", False),
        ("x86_64", "28.0.1", False),
        ("r36.4.3", "20.10.24+dfsg1", False),
    ],
)
def test_docker_28_on_an_older_kernel_of_jetson_gets_a_warning(
    tmp_path: Path, target: str, version: str, warned: bool
) -> None:
    """Docker 28 on an older kernel of a Jetson gets a warning."""
    assert ("iptables" in examine(tmp_path, target, replace(CAPABILITIES, server_version=version))) is warned


def test_checks_note_the_legacy_builder_and_little_memory(tmp_path: Path) -> None:
    """The legacy builder and little memory are noted."""
    capabilities = replace(CAPABILITIES, builder=Builder.LEGACY)
    found = examine(tmp_path, capabilities=capabilities, meminfo="MemTotal: 7700000 kB\nSwapTotal: 0 kB\n")
    assert found["builder"].status is doctor.Status.WARN
    assert found["memory"].status is doctor.Status.WARN


def test_checks_run_without_engine_and_platform(tmp_path: Path) -> None:
    """Without engine and platform the other checks still run."""
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)

    def missing() -> FakeEngine:
        raise EngineMissingError("no engine", hint="./install.sh")

    def unknown() -> Platform:
        raise TargetError("L4T 99 is unknown", hint="--target")

    found = doctor.run_checks(doctor.DoctorContext(platform=unknown, engine=missing, settings=loaded, root=tmp_path))
    assert [check.check for check in found if check.status is doctor.Status.FAIL] == ["platform", "engine"]
    assert "data disk" in {check.check for check in found}


@pytest.mark.parametrize(("version", "status"), [("1.40", "warn"), ("1.41", "ok"), ("1.9", "warn"), ("", "ok")])
def test_engine_check_warns_of_an_old_api(tmp_path: Path, version: str, status: str) -> None:
    """An engine older than Docker 20.10 gets a warning."""
    found = examine(tmp_path, capabilities=replace(CAPABILITIES, api_version=version))["engine"]
    assert (found.status.value, f"(API {version})" in found.finding) == (status, True)


def jetpack(tmp_path: Path, target: str, **host: str) -> doctor.Check | None:
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)
    platform = replace(detect.parse_target(target), host=host)
    found = doctor.run_checks(
        doctor.DoctorContext(platform=lambda: platform, engine=FakeEngine, settings=loaded, root=tmp_path)
    )
    return next((check for check in found if check.check == "jetpack"), None)


def test_jetpack_check_names_what_the_release_consists_of(tmp_path: Path) -> None:
    """The versions of the table are shown; other machines have no JetPack."""
    found = jetpack(tmp_path, "r36.4.3", driver="540.4.0", cuda_toolkit="12.6.68")
    assert found == doctor.Check(
        check="jetpack",
        status=doctor.Status.OK,
        finding="JetPack 6.2 (2025-01-07): CUDA 12.6.11, cuDNN 9.3.0.75, TensorRT 10.3.0.30, VPI 3.2.4, driver 540.4.0",
    )
    assert jetpack(tmp_path, "x86_64,cpu") is None


def test_jetpack_check_warns_of_a_driver_of_another_release(tmp_path: Path) -> None:
    """A driver that is not the release's own gets a warning, another CUDA toolkit is only named."""
    found = jetpack(tmp_path, "r36.4.3", driver="540.3.0", cuda_toolkit="12.8.1")
    assert found is not None
    assert (found.status, bool(found.remedy)) == (doctor.Status.WARN, True)
    assert found.finding.endswith("; CUDA toolkit 12.8.1 is installed on the host; the driver is 540.3.0")
