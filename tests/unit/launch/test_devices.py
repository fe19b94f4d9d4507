"""Cameras, sockets, mounts, groups and keys."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import NotReadyError, UsageError
from tests.unit.launch.helpers import ORIN, PC, added, make_root, plan, warnings_of

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform


def test_mount_skips_a_directory_in_place_of_a_socket(tmp_path: Path) -> None:
    """Docker leaves such directories behind where `-v` named a source that was gone."""
    planned = plan(tmp_path, platform=ORIN, files="tmp/argus_socket/x etc/timezone/x run/jtop.sock/x")
    assert [mount.target for mount in planned.mounts] == ["/data"]


def test_mount_of_sockets_never_makes_a_directory_in_their_place(tmp_path: Path) -> None:
    """Sockets are mounted so that docker never makes a directory in their place."""
    argv = plan(tmp_path, host="orin-r36").argv
    assert "type=bind,source=/tmp/argus_socket,target=/tmp/argus_socket" in argv
    assert "type=bind,source=/run/jtop.sock,target=/run/jtop.sock" in argv
    assert not any(word.startswith("/tmp/") for word in argv)


def test_mount_takes_the_name_of_the_board_from_the_device_tree(tmp_path: Path) -> None:
    """The board's name comes from the device tree and not from a file below /tmp."""
    assert "/proc/device-tree/model:/tmp/nv_jetson_model:ro" in plan(tmp_path, host="orin-r36").argv


def test_docker_socket_is_mounted_only_when_asked_for(tmp_path: Path) -> None:
    """The engine's socket is mounted only when asked for."""
    files = "var/run/docker.sock run/user/1/docker.sock"
    assert not any("docker.sock" in word for word in plan(tmp_path, host="orin-r36", files=files).argv)
    planned = plan(tmp_path, "--docker-socket", "img", files=files)
    assert "type=bind,source=/var/run/docker.sock,target=/var/run/docker.sock" in planned.argv
    assert any("root on this host" in text for text in warnings_of(planned))
    rootless = plan(
        tmp_path, "--docker-socket", "img", files=files, env={"DOCKER_HOST": "unix:///run/user/1/docker.sock"}
    )
    assert "type=bind,source=/run/user/1/docker.sock,target=/var/run/docker.sock" in rootless.argv


def test_docker_socket_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Without a socket of the engine, `--docker-socket` is an error."""
    with pytest.raises(NotReadyError, match=r"no socket /var/run/docker\.sock"):
        plan(tmp_path, "--docker-socket", "img")


@pytest.mark.parametrize(
    ("platform", "files", "says"),
    [
        (ORIN, "tmp/argus_socket dev/video0", None),
        (ORIN, "dev/video0", "only USB cameras"),
        (ORIN, "tmp/argus_socket", "no /dev/video device"),
        (PC, "dev/video0", None),
    ],
)
def test_camera_option_warns_of_what_is_missing(
    tmp_path: Path, platform: Platform, files: str, says: str | None
) -> None:
    """`--camera` warns of what is missing."""
    texts = warnings_of(plan(tmp_path, "--camera", "--no-gpu", "img", platform=platform, files=files))
    assert texts == [] if says is None else says in texts[0]


@pytest.mark.parametrize(("platform", "says"), [(ORIN, "argus"), (PC, "/dev/video")])
def test_camera_option_without_a_camera_is_an_error(tmp_path: Path, platform: Platform, says: str) -> None:
    """`--camera` without any camera is an error."""
    with pytest.raises(NotReadyError, match=says):
        plan(tmp_path, "--camera", "--no-gpu", "img", platform=platform)


def test_camera_option_passes_media_devices_too(tmp_path: Path) -> None:
    """`--camera` passes media devices too."""
    files = "dev/video0 dev/media0 dev/media1"
    assert added(plan(tmp_path, "--camera", "img", files=files), plan(tmp_path, "img", files=files)) == [
        "/dev/media0",
        "/dev/media1",
    ]


@pytest.mark.parametrize("value", ["", "1280", "1280x720", "axb@c"])
def test_csi_resolution_of_another_form_is_refused(tmp_path: Path, value: str) -> None:
    """A resolution of another form is refused."""
    with pytest.raises(UsageError, match="not a resolution"):
        plan(tmp_path, f"--csi-output-res={value}", "img")


def test_devices_are_in_natural_order(tmp_path: Path) -> None:
    """Devices are in natural order: video9 before video10."""
    argv = plan(tmp_path, files="dev/video10 dev/video9 dev/video0 dev/videofoo").argv
    assert [word for word in argv if "video" in word] == ["/dev/video0", "/dev/video9", "/dev/video10"]


def test_groups_of_cameras_and_gpu_are_added_for_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user gets the groups of cameras and GPU."""
    make_root(tmp_path, "dev/video0 dev/nvmap dev/dri/renderD128")
    owners = {"video0": 44, "nvmap": 44, "renderD128": 109}
    real = Path.stat

    def stat_with_owner(path: Path, **options: Any) -> os.stat_result:
        fields = list(real(path, **options))
        if path.name in owners:
            fields[stat.ST_GID] = owners[path.name]
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat_with_owner)
    argv = plan(tmp_path, "--user", "1000:1000", "img").argv
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--group-add"] == ["44", "109"]
    argv = plan(tmp_path, "-u", "1000", "--group-add", "44", "img").argv
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--group-add"] == ["109", "44"]
    assert "--group-add" not in plan(tmp_path, "img").argv
    assert "--group-add" not in plan(tmp_path, "--user", "root", "img").argv


def test_optional_permissions_are_added_when_asked_for(tmp_path: Path) -> None:
    """The optional permissions are added when the variable asks for them."""
    env = {"USE_OPTIONAL_PERMISSION_ARGS": "true"}
    words = added(
        plan(tmp_path, "img", files="lib/modules/x dev/fuse", env=env),
        plan(tmp_path, "img", files="lib/modules/x dev/fuse"),
    )
    assert words == [
        *("--device", "/dev/fuse", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"),
        "/lib/modules:/lib/modules",
    ]
    assert "SYS_ADMIN" not in plan(tmp_path, "img", env={"USE_OPTIONAL_PERMISSION_ARGS": "false"}).argv


def test_upload_key_is_mounted_read_only(tmp_path: Path) -> None:
    """The key for uploads is mounted read-only."""
    planned = plan(tmp_path, files="home/me/key", env={"SCP_UPLOAD_KEY": "/home/me/key"})
    assert "/home/me/key:/root/.ssh/scp_upload_key:ro" in planned.argv
    planned = plan(tmp_path, env={"SCP_UPLOAD_KEY": "/home/me/gone"})
    assert any("/home/me/gone" in text for text in warnings_of(planned))


def test_serial_adapters_are_passed_only_where_they_are(tmp_path: Path) -> None:
    """Both kinds of serial adapters go into the container, where the host has them."""
    argv = plan(tmp_path, files="dev/ttyUSB0 dev/ttyACM1 dev/ttyS0").argv
    assert [word for word in argv if "tty" in word] == ["/dev/ttyACM1", "/dev/ttyUSB0"]
