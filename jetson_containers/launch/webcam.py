"""`--csi2webcam`: CSI cameras as ordinary /dev/video devices, which programs that know only webcams can open.

A camera on CSI gives raw Bayer pictures that only NVIDIA's camera service turns into colors. GStreamer takes them from
there and writes them to devices of the kernel module v4l2loopback, for as long as the container runs.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.errors import NotReadyError, command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.launch.options import Webcam
    from jetson_containers.launch.parts import LaunchHost

LABEL = "CSI camera"  # of our devices, with their number behind it
_SENSOR = "vi-output"  # how names of devices begin whose driver is that of Tegra's video input
_ARGUS = "/tmp/argus_socket"  # noqa: S108 - the daemon's own place
_GST = "/usr/bin/gst-launch-1.0"
_SETTLE = 2.0  # seconds after which a pipeline that cannot run has ended


@dataclass(frozen=True, kw_only=True)
class Webcams:
    """Commands that come first, one pipeline for each camera, and the devices that they fill."""

    prepare: tuple[tuple[str, ...], ...]
    streams: tuple[tuple[str, ...], ...]
    devices: tuple[str, ...]
    logs: Path  # folder of what the pipelines print

    @property
    def options(self) -> tuple[str, ...]:
        """What docker is told of them."""
        return tuple(word for device in self.devices for word in ("--device", device))


def plan_webcams(host: LaunchHost, wanted: Webcam, *, root: bool, logs: Path) -> Webcams:
    """What turns the CSI cameras of a host into webcams; `root`: whether no sudo is needed.

    Raises NotReadyError where a part is missing: cameras, camera service, GStreamer, or the kernel module.
    """
    names = _names(host)
    cameras = [number for number, name in names.items() if name.startswith(_SENSOR)]
    _require(host, cameras)
    sudo = () if root else ("sudo",)
    prepare = [(*sudo, "systemctl", "restart", "nvargus-daemon")]
    ours = [number for number, name in names.items() if name.startswith(LABEL)]
    if not host.exists("/sys/module/v4l2loopback"):
        ours = [max(names) + 1 + index for index in range(len(cameras))]
        labels = ",".join(f"{LABEL} {index}" for index in range(len(cameras)))
        options = (f"video_nr={_joined(ours)}", f"card_label={labels}", f"exclusive_caps={_joined([1] * len(ours))}")
        prepare.append((*sudo, "modprobe", "v4l2loopback", *options))
    elif len(ours) < len(cameras):
        raise NotReadyError(
            f"v4l2loopback is loaded, and not with {len(cameras)} devices called `{LABEL}`",
            hint=f"{command('sudo', 'modprobe', '-r', 'v4l2loopback')}; it is then loaded with them",
        )
    devices = tuple(f"/dev/video{number}" for number in ours[: len(cameras)])
    streams = tuple(_pipeline(index, device, wanted) for index, device in enumerate(devices))
    return Webcams(prepare=tuple(prepare), streams=streams, devices=devices, logs=logs)


def run_with(webcams: Webcams, start: Callable[[], int], console: Console, *, settle: float = _SETTLE) -> int:
    """Start the pipelines, then what `start` starts, whose exit code is returned; the pipelines end with it.

    Raises NotReadyError for a command that fails or a pipeline that ends at once.
    """
    for argv in webcams.prepare:
        _prepare(argv)
    logs = webcams.logs
    logs.mkdir(parents=True, exist_ok=True)
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, argv in enumerate(webcams.streams):
            with files.open_no_link(logs / f"gst-launch-process_{number}.txt", "wb") as log:
                # A session of its own: Ctrl-C is for the container, and the pipelines end after it.
                running.append(
                    subprocess.Popen(
                        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                    )
                )
        until = time.monotonic() + settle
        while time.monotonic() < until and all(process.poll() is None for process in running):
            time.sleep(0.05)
        for number, process in enumerate(running):
            if process.poll() is not None:
                log_file = logs / f"gst-launch-process_{number}.txt"
                raise NotReadyError(
                    f"the pipeline of CSI camera {number} ended at once",
                    hint=f"its log: {log_file}; {command('sudo', 'systemctl', 'restart', 'nvargus-daemon')}",
                )
        console.info(f"CSI cameras as webcams: {', '.join(webcams.devices)}")
        return start()
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)  # with `-e` GStreamer closes the device in order
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _prepare(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
        said, failed = done.stderr.strip(), done.returncode != 0
    except OSError as error:
        said, failed = str(error.strerror), True
    if failed:
        raise NotReadyError(f"{command(*argv)} failed", details=tuple(said.splitlines()[-3:]))


def _names(host: LaunchHost) -> dict[int, str]:
    """Names of the video devices by number, in order."""
    found = {}
    for path in host.glob("/sys/class/video4linux/video[0-9]*/name"):
        number = int(re.findall(r"[0-9]+", path)[-1])
        found[number] = host.below(path).read_text(encoding="utf-8", errors="replace").strip()
    return dict(sorted(found.items()))


def _require(host: LaunchHost, cameras: Sequence[int]) -> None:
    if not cameras:
        raise NotReadyError(
            "`--csi2webcam`: this host has no CSI camera",
            hint="is it connected, and enabled with /opt/nvidia/jetson-io/jetson-io.py?",
        )
    if not host.is_node(_ARGUS):
        raise NotReadyError("the camera service (argus) does not run", hint="sudo systemctl restart nvargus-daemon")
    if not host.exists(_GST):
        raise NotReadyError("there is no gst-launch-1.0", hint="sudo apt-get install gstreamer1.0-tools")
    loaded = host.exists("/sys/module/v4l2loopback")
    if not loaded and not host.glob("/lib/modules/*/**/v4l2loopback.ko*"):
        raise NotReadyError(
            "the kernel has no module v4l2loopback, which webcams are made with",
            hint="sudo apt-get install v4l2loopback-dkms",
        )


def _pipeline(sensor: int, device: str, wanted: Webcam) -> tuple[str, ...]:
    """GStreamer from a sensor to a device: capture, scale and convert, then the rate that was asked for."""
    width, height, rate = re.split("[x@]", wanted.capture)
    out_width, out_height, out_rate = re.split("[x@]", wanted.output)
    return (
        "gst-launch-1.0", "-e",
        "nvarguscamerasrc", f"sensor-id={sensor}", "!",
        f"video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1", "!",
        "nvvidconv", "!",
        f"video/x-raw,width={out_width},height={out_height},format=I420", "!",
        "videorate", "!", f"video/x-raw,framerate={out_rate}/1", "!",
        "v4l2sink", f"device={device}", "sync=false",
    )  # fmt: skip


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
