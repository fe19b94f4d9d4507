"""The list of checks: what each finds, that none stops another, and that each has an end."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import EngineMissingError, TargetError
from jetson_containers.doctor import run, types
from jetson_containers.engine.interface import Builder, Capabilities
from jetson_containers.platforms import detect
from tests.fakes import CAPABILITIES, FakeEngine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


def reach(url: str) -> str:
    return DATE


DATE = "Sun, 29 Nov 2026 12:00:00 GMT"
NOON = datetime(2026, 11, 29, 12, tzinfo=timezone.utc).timestamp()
OUTSIDE: dict[str, Any] = {
    "ask": lambda argv: "",
    "head": reach,
    "now": lambda: NOON,
    "user": 0,
}


def examine(
    tmp_path: Path, target: str = "r36.4.3", capabilities: Capabilities = CAPABILITIES, meminfo: str = ""
) -> dict[str, types.Check]:
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc/meminfo").write_text(meminfo or "MemTotal: 30000000 kB\nSwapTotal: 0 kB\n")
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)

    class Engine(FakeEngine):
        @property
        def capabilities(self) -> Capabilities:
            return capabilities

    context = types.DoctorContext(
        platform=lambda: detect.parse_target(target), engine=Engine, settings=loaded, root=tmp_path, **OUTSIDE
    )
    return {check.check: check for check in run.run_checks(context)}


def test_checks_that_fail_have_a_remedy(tmp_path: Path) -> None:
    """A check that is not ok has a remedy."""
    found = examine(
        tmp_path, capabilities=replace(CAPABILITIES, runtimes=("runc",), cdi_devices=(), storage_driver="vfs")
    )
    assert all(check.remedy for check in found.values() if check.status not in {types.Status.OK, types.Status.SKIP})
    assert found["storage driver"].status is types.Status.WARN


@pytest.mark.parametrize(
    ("runtimes", "devices", "status"),
    [
        (("runc", "nvidia"), (), types.Status.OK),
        (("runc",), ("nvidia.com/gpu=all",), types.Status.OK),
        (("runc",), (), types.Status.FAIL),
    ],
)
def test_gpu_check_follows_runtimes_and_devices(
    tmp_path: Path, runtimes: tuple[str, ...], devices: tuple[str, ...], status: types.Status
) -> None:
    """Runtimes and devices of the engine decide the check of GPU access."""
    capabilities = replace(CAPABILITIES, runtimes=runtimes, cdi_devices=devices)
    assert examine(tmp_path, capabilities=capabilities)["gpu access"].status is status
    assert examine(tmp_path, "cpu", capabilities)["gpu access"].status is types.Status.SKIP


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
    found = examine(tmp_path, target, replace(CAPABILITIES, server_version=version))["iptables"]
    assert (found.status is types.Status.WARN) is warned


def test_checks_note_the_legacy_builder_and_little_memory(tmp_path: Path) -> None:
    """The legacy builder and little memory are noted."""
    capabilities = replace(CAPABILITIES, builder=Builder.LEGACY)
    found = examine(tmp_path, capabilities=capabilities, meminfo="MemTotal: 7700000 kB\nSwapTotal: 0 kB\n")
    assert found["builder"].status is types.Status.WARN
    assert found["memory"].status is types.Status.WARN


def test_checks_run_without_engine_and_platform(tmp_path: Path) -> None:
    """Without engine and platform the other checks still run."""
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)

    def missing() -> FakeEngine:
        raise EngineMissingError("no engine", hint="./install.sh")

    def unknown() -> Platform:
        raise TargetError("L4T 99 is unknown", hint="--target")

    found = run.run_checks(
        types.DoctorContext(platform=unknown, engine=missing, settings=loaded, root=tmp_path, **OUTSIDE)
    )
    assert [check.check for check in found if check.status is types.Status.FAIL] == ["platform", "engine"]
    assert "data disk" in {check.check for check in found}


@pytest.mark.parametrize(("version", "status"), [("1.40", "warn"), ("1.41", "ok"), ("1.9", "warn"), ("", "ok")])
def test_engine_check_warns_of_an_old_api(tmp_path: Path, version: str, status: str) -> None:
    """An engine older than Docker 20.10 gets a warning."""
    found = examine(tmp_path, capabilities=replace(CAPABILITIES, api_version=version))["engine"]
    assert (found.status.value, f"(API {version})" in found.finding) == (status, True)


def jetpack(tmp_path: Path, target: str, **host: str) -> types.Check:
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)
    platform = replace(detect.parse_target(target), host=host)
    found = run.run_checks(
        types.DoctorContext(platform=lambda: platform, engine=FakeEngine, settings=loaded, root=tmp_path, **OUTSIDE)
    )
    return next(check for check in found if check.check == "jetpack")


def test_jetpack_check_names_what_the_release_consists_of(tmp_path: Path) -> None:
    """The versions of the table are shown; other machines have no JetPack."""
    found = jetpack(tmp_path, "r36.4.3", driver="540.4.0", cuda_toolkit="12.6.68")
    assert (found.status, found.finding) == (
        types.Status.OK,
        "JetPack 6.2 (2025-01-07): CUDA 12.6.11, cuDNN 9.3.0.75, TensorRT 10.3.0.30, VPI 3.2.4, driver 540.4.0",
    )
    assert jetpack(tmp_path, "x86_64,cpu").status is types.Status.SKIP


def test_jetpack_check_warns_of_a_driver_of_another_release(tmp_path: Path) -> None:
    """A driver that is not the release's own gets a warning, another CUDA toolkit is only named."""
    found = jetpack(tmp_path, "r36.4.3", driver="540.3.0", cuda_toolkit="12.8.1")
    assert (found.status, bool(found.remedy)) == (types.Status.WARN, True)
    assert found.finding.endswith("; CUDA toolkit 12.8.1 is installed on the host; the driver is 540.3.0")


def definition(
    name: str, look: Callable[[types.DoctorContext], types.Finding], limit: float = 5
) -> types.CheckDefinition:
    return types.CheckDefinition(name=name, why="it matters", look=look, limit=limit)


def context(tmp_path: Path, **options: Any) -> types.DoctorContext:
    loaded = settings.load({"data": str(tmp_path)}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)
    given: dict[str, Any] = {"platform": lambda: detect.parse_target("cpu"), "engine": FakeEngine, **OUTSIDE, **options}
    return types.DoctorContext(settings=loaded, root=tmp_path, **given)


def test_checks_that_break_or_hang_stop_no_other(tmp_path: Path) -> None:
    """A check that raises, and one that never ends, are warnings; the others are made."""
    released = threading.Event()

    def hang(_: types.DoctorContext) -> types.Finding:
        released.wait(60)
        return types.ok("late")

    def crash(_: types.DoctorContext) -> types.Finding:
        raise ZeroDivisionError("by zero")

    checks = [definition("hang", hang, 0.1), definition("crash", crash), definition("good", lambda _: types.ok("fine"))]
    found = run.run_checks(context(tmp_path), checks)
    released.set()
    assert [(each.check, each.status.value, each.finding) for each in found] == [
        ("hang", "warn", "could not be checked: it took longer than 0.1 s"),
        ("crash", "warn", "could not be checked: ZeroDivisionError: by zero"),
        ("good", "ok", "fine"),
    ]


def test_checks_ask_for_the_platform_once(tmp_path: Path) -> None:
    """All checks share one platform, also when it is asked for by several at once."""
    asked = []

    def platform() -> Platform:
        asked.append(1)
        return detect.parse_target("r36.4.3")

    run.run_checks(context(tmp_path, platform=platform))
    assert asked == [1]


def test_checks_are_at_least_thirty_and_each_says_why(tmp_path: Path) -> None:
    """There are at least 30 checks with names of their own, each with a reason."""
    found = run.run_checks(context(tmp_path))
    assert len(found) >= 30
    assert len({each.check for each in found}) == len(found)
    assert all(each.why.endswith(".") for each in found)


def test_count_has_every_status() -> None:
    """The summary counts each way to end."""
    made = [types.Check(check=name, status=types.Status.OK, finding="") for name in "ab"]
    assert run.count(made) == {status: 2 if status is types.Status.OK else 0 for status in types.Status}
