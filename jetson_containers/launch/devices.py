"""What of the host's hardware and services goes into the container: only what exists on this host."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError
from jetson_containers.launch.parts import LaunchPart, Mount, Notice, present

if TYPE_CHECKING:
    from jetson_containers.launch.options import RunRequest
    from jetson_containers.launch.parts import LaunchHost

_ARGUS = Mount(source="/tmp/argus_socket", target="/tmp/argus_socket", volatile=True)  # noqa: S108 - the daemon's own place

_CLOCK = (
    Mount(source="/etc/localtime", target="/etc/localtime", readonly=True),
    Mount(source="/etc/timezone", target="/etc/timezone", readonly=True),
)
_JETSON = (
    _ARGUS,  # CSI cameras
    Mount(source="/etc/enctune.conf", target="/etc/enctune.conf"),  # video encoder
    Mount(source="/etc/nv_tegra_release", target="/etc/nv_tegra_release"),
    # Scripts in the images read the board's name here. Docker masks /sys/firmware, so the device tree itself does
    # not show it; mounting the node rather than a copy under /tmp lets the container start again after a reboot.
    Mount(source="/proc/device-tree/model", target="/tmp/nv_jetson_model", readonly=True),  # noqa: S108 - a path in the container
    Mount(source="/var/run/avahi-daemon/socket", target="/var/run/avahi-daemon/socket", volatile=True),
)
_DBUS = Mount(source="/var/run/dbus", target="/var/run/dbus", volatile=True)
_JTOP = Mount(source="/run/jtop.sock", target="/run/jtop.sock", volatile=True)
_DEVICES = ("/dev/snd", "/dev/video[0-9]*", "/dev/i2c-[0-9]*", "/dev/ttyACM[0-9]*", "/dev/ttyUSB[0-9]*")
_GROUP_NODES = ("/dev/video[0-9]*", "/dev/dri/render*", "/dev/nvmap", "/dev/nvhost-*", "/dev/i2c-[0-9]*", "/dev/snd/*")
_RESTART_ARGUS = "sudo systemctl restart nvargus-daemon"
_DOCKER_SOCKET = "/var/run/docker.sock"


def host_mounts(host: LaunchHost, *, services: bool = True) -> LaunchPart:
    """Clock, and on a Jetson the services and files its software expects; without `services` only the files."""
    wanted = (*_CLOCK, *(_JETSON if host.platform.l4t else ()), _JTOP)
    mounts = present(host, wanted)
    if not services:
        return LaunchPart(mounts=tuple(replace(mount, readonly=True) for mount in mounts if not mount.volatile))
    if host.platform.l4t and host.exists(_DBUS.source):
        mounts = (*mounts, _DBUS)
    return LaunchPart(mounts=mounts)


def device_part(host: LaunchHost, request: RunRequest) -> LaunchPart:
    """Sound, cameras, I2C, serial adapters, and USB on a Jetson."""
    patterns = (*_DEVICES, *(("/dev/bus/usb",) if host.platform.l4t else ()))
    patterns += ("/dev/media[0-9]*",) if request.camera else ()
    found = [device for pattern in patterns for device in host.glob(pattern)]
    given = request.line.devices
    return LaunchPart(argv=tuple(word for device in found if device not in given for word in ("--device", device)))


def camera_part(host: LaunchHost, request: RunRequest) -> LaunchPart:
    """Check what `--camera` needs; cameras that are there are passed anyway.

    Raises NotReadyError when there is neither a CSI camera service nor a video device.
    """
    if not request.camera:
        return LaunchPart()
    jetson = host.platform.l4t is not None
    argus = host.is_node(_ARGUS.source)
    videos = host.glob("/dev/video[0-9]*")
    if not argus and not videos:
        missing = "no camera: this host has no /dev/video device" + " and no argus socket" * jetson
        raise NotReadyError(missing, hint="is it plugged in?" + f" For a CSI camera: {_RESTART_ARGUS}" * jetson)
    if jetson and not argus:
        text = "the camera service (argus) does not run: only USB cameras will work"
        return LaunchPart(notices=(Notice(text=text, hint=_RESTART_ARGUS),))
    if not videos:
        hint = "is the camera connected, and enabled with /opt/nvidia/jetson-io/jetson-io.py?"
        return LaunchPart(
            notices=(Notice(text="the camera service runs, but there is no /dev/video device", hint=hint),)
        )
    return LaunchPart()


def docker_socket_part(host: LaunchHost, request: RunRequest) -> LaunchPart:
    """The engine's socket, only when asked for: who has it has root on the host."""
    if not request.docker_socket:
        return LaunchPart()
    address = host.env.get("DOCKER_HOST", "")
    source = address.removeprefix("unix://") if address.startswith("unix://") else _DOCKER_SOCKET
    if not host.is_node(source):
        raise NotReadyError(
            f"`--docker-socket`: there is no socket {source}", hint="set DOCKER_HOST=unix:///path/to/docker.sock"
        )
    notice = Notice(text="`--docker-socket` gives the container root on this host")
    return LaunchPart(mounts=(Mount(source=source, target=_DOCKER_SOCKET, volatile=True),), notices=(notice,))


def group_part(host: LaunchHost, request: RunRequest) -> LaunchPart:
    """For `--user`: the groups that own cameras and GPU nodes, by number, since the image names its groups otherwise.

    Without them CUDA ends with error 801 and cameras do not open.
    """
    if request.line.last("user") in {None, "root", "0", "0:0"} or request.line.is_on("privileged"):
        return LaunchPart()
    nodes = [node for pattern in _GROUP_NODES for node in host.glob(pattern)]
    groups = sorted({host.below(node).stat().st_gid for node in nodes} - {0})
    given = set(request.line.values("group-add"))
    return LaunchPart(argv=tuple(word for gid in groups if str(gid) not in given for word in ("--group-add", str(gid))))


def optional_permissions_part(host: LaunchHost) -> LaunchPart:
    """What upstream's `USE_OPTIONAL_PERMISSION_ARGS=true` allows: FUSE mounts and kernel modules."""
    if host.env.get("USE_OPTIONAL_PERMISSION_ARGS", "").lower() != "true":
        return LaunchPart()
    mounts = (Mount(source="/lib/modules", target="/lib/modules"),) if host.exists("/lib/modules") else ()
    fuse = ("--device", "/dev/fuse") if host.exists("/dev/fuse") else ()
    return LaunchPart(argv=(*fuse, "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"), mounts=mounts)


def upload_key_part(host: LaunchHost) -> LaunchPart:
    """The SSH key of upstream's package server, for images that upload what they built."""
    key = host.env.get("SCP_UPLOAD_KEY", "")
    if not key:
        return LaunchPart()
    if not host.is_node(key):
        return LaunchPart(
            notices=(Notice(text=f"$SCP_UPLOAD_KEY names `{key}`, which is not a file", hint="unset SCP_UPLOAD_KEY"),)
        )
    return LaunchPart(mounts=(Mount(source=posixpath.abspath(key), target="/root/.ssh/scp_upload_key", readonly=True),))
