"""`--csi2webcam` on a folder of captured files: what it starts, what it needs, and that it ends with the container."""

from __future__ import annotations

import io
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.launch import command
from jetson_containers.launch.webcam import Webcams, run_with
from tests.unit.launch.helpers import ORIN, WITH_RUNTIME, make_root, plan

CAMERAS = {0: "vi-output, imx219 9-0010", 1: "vi-output, imx219 10-0010", 4: "USB camera"}
FILES = "tmp/argus_socket usr/bin/gst-launch-1.0 lib/modules/5.15.148-tegra/updates/v4l2loopback.ko dev/video0"


def planned(
    tmp_path: Path, *args: str, files: str = FILES, names: dict[int, str] = CAMERAS, loaded: bool = False
) -> command.Launch:
    root = make_root(tmp_path, files)
    for number, name in names.items():
        place = root / f"sys/class/video4linux/video{number}/name"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name + "\n")
    if loaded:
        (root / "sys/module/v4l2loopback").mkdir(parents=True)
    return plan(tmp_path, *args, "img", platform=ORIN, capabilities=WITH_RUNTIME)


def webcams_of(launch: command.Launch) -> Webcams:
    assert launch.webcams is not None
    return launch.webcams


def test_csi2webcam_makes_a_device_for_each_csi_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each camera on CSI, and no other, gets a device behind the last one, which the container gets too."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    launch = planned(tmp_path, "--csi2webcam")
    webcams = webcams_of(launch)
    assert webcams.devices == ("/dev/video5", "/dev/video6")
    assert webcams.prepare[0] == ("sudo", "systemctl", "restart", "nvargus-daemon")
    assert webcams.prepare[1][:3] == ("sudo", "modprobe", "v4l2loopback")
    assert {"video_nr=5,6", "exclusive_caps=1,1"} <= set(webcams.prepare[1])
    assert {"/dev/video5", "/dev/video6"} <= set(launch.argv)
    assert not any("csi" in word for word in launch.argv)


def test_csi2webcam_takes_resolutions_as_upstream(tmp_path: Path) -> None:
    """Size and rate of capture and output are in the pipeline of each sensor, with upstream's where none is given."""
    first, second = webcams_of(planned(tmp_path, "--csi2webcam", "--csi-capture-res=3280x2464@21")).streams
    assert "sensor-id=0" in first
    assert "video/x-raw(memory:NVMM),width=3280,height=2464,framerate=21/1" in first
    assert "video/x-raw,width=1280,height=720,format=I420" in first
    assert {"sensor-id=1", "device=/dev/video6"} <= set(second)
    slow = webcams_of(planned(tmp_path, "--csi-output-res", "640x480@15")).streams[0]
    assert {"video/x-raw,width=640,height=480,format=I420", "video/x-raw,framerate=15/1"} <= set(slow)


def test_csi2webcam_uses_devices_that_it_made_before(tmp_path: Path) -> None:
    """A module that is loaded with our devices is not loaded again."""
    names = {**CAMERAS, 7: "CSI camera 0", 8: "CSI camera 1"}
    webcams = webcams_of(planned(tmp_path, "--csi2webcam", names=names, loaded=True))
    assert webcams.devices == ("/dev/video7", "/dev/video8")
    assert len(webcams.prepare) == 1


@pytest.mark.parametrize(
    ("files", "names", "loaded", "said"),
    [
        (FILES, {4: "USB camera"}, False, "no CSI camera"),
        (FILES.replace("tmp/argus_socket", ""), CAMERAS, False, "argus"),
        (FILES.replace("usr/bin/gst-launch-1.0", ""), CAMERAS, False, "gst-launch"),
        (FILES.replace("v4l2loopback.ko", "other.ko"), CAMERAS, False, "no module v4l2loopback"),
        (FILES, CAMERAS, True, "is loaded, and not with 2 devices"),
    ],
)
def test_csi2webcam_names_what_is_missing(
    tmp_path: Path, files: str, names: dict[int, str], loaded: bool, said: str
) -> None:
    """Each missing part is an error that names it, with what helps, before anything is started."""
    with pytest.raises(NotReadyError, match=said) as error:
        planned(tmp_path, "--csi2webcam", files=files, names=names, loaded=loaded)
    assert error.value.hint


def test_csi2webcam_is_refused_with_a_container_that_nobody_waits_for(tmp_path: Path) -> None:
    """With `--detach` nothing would end the pipelines."""
    with pytest.raises(UsageError, match="--detach"):
        planned(tmp_path, "--csi2webcam", "--detach")


def test_csi2webcam_dry_run_prints_what_would_be_started(tmp_path: Path) -> None:
    """The dry run has the preparing commands, the pipelines in the background, and docker's line last."""
    out = io.StringIO()
    launch = planned(tmp_path, "--csi2webcam", "--dry-run")
    assert command.run(launch, Console(out=out, err=io.StringIO(), env={})) == 0
    lines = out.getvalue().splitlines()
    assert "v4l2loopback" in lines[1]
    assert [line.endswith(" &") for line in lines] == [False, False, True, True, False]
    assert lines[-1] == launch.shell


def console() -> Console:
    return Console(out=io.StringIO(), err=io.StringIO(), env={})


def started(script: str, logs: Path) -> Webcams:
    return Webcams(logs=logs, prepare=(("true",),), streams=((sys.executable, "-c", script),), devices=("/dev/video9",))


def test_webcams_end_with_the_container(tmp_path: Path) -> None:
    """The pipelines run while the container does, end after it, and its exit code comes back."""
    mark, logs = tmp_path / "pid", tmp_path / "logs"
    note = f"open({str(mark)!r}, 'w').write(str(os.getpid()))"
    script = f"import os, time; print('up', flush=True); {note}; time.sleep(99)"

    def container() -> int:
        while not mark.exists() or not mark.read_text():
            time.sleep(0.01)
        assert Path(f"/proc/{mark.read_text()}").exists()
        return 7

    assert run_with(started(script, logs), container, console(), settle=0) == 7
    assert not Path(f"/proc/{mark.read_text()}").exists()
    assert (logs / "gst-launch-process_0.txt").read_text().startswith("up")


def test_webcams_that_end_at_once_are_an_error(tmp_path: Path) -> None:
    """A pipeline that cannot run is said with its log, and no container is started."""
    with pytest.raises(NotReadyError, match="pipeline of CSI camera 0 ended") as error:
        run_with(started("print('no')", tmp_path), lambda: pytest.fail("was started"), console(), settle=60)
    assert "gst-launch-process_0.txt" in (error.value.hint or "")


def test_webcams_need_their_preparing_commands(tmp_path: Path) -> None:
    """A command that fails is named with its last lines."""
    webcams = Webcams(prepare=(("sh", "-c", "echo no such module >&2; exit 1"),), streams=(), devices=(), logs=tmp_path)
    with pytest.raises(NotReadyError, match="failed") as error:
        run_with(webcams, lambda: pytest.fail("was started"), console(), settle=0)
    assert error.value.details == ("no such module",)


def test_wait_for_returns_the_code_of_docker_and_hands_its_environment_on(tmp_path: Path) -> None:
    """Docker's exit code comes back; what was hidden from the argv is in its environment."""
    launch = replace(plan(tmp_path), argv=("sh", "-c", "exit $CODE"), env_additions={"CODE": "9"})
    assert command.wait_for(launch) == 9
    killed = replace(launch, argv=("sh", "-c", "kill -TERM $$"))
    assert command.wait_for(killed) == 143
