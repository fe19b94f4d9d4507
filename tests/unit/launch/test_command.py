"""The `docker run` command for a host: what users know from upstream, and nothing that is not there.

Each host is a small folder of the files that matter; `golden/launch/<host>.txt` is the whole command, a word a line
(`UPDATE_GOLDEN=1 pytest …` writes them anew).
"""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import stat
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import EngineMissingError, NotReadyError, UsageError
from jetson_containers.launch import command, display
from jetson_containers.launch.command import Launch, plan_run
from jetson_containers.launch.gpu import Gpu
from jetson_containers.launch.options import is_bare, parse
from jetson_containers.launch.parts import Mount, NoticeSeverity
from jetson_containers.platforms.platform import Arch, Platform
from tests.fakes import CAPABILITIES
from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Capabilities

GOLDEN = UNIT_DIR / "golden" / "launch"


def platform_of(arch: Arch, l4t: str | None, cuda: str | None) -> Platform:
    return Platform(
        arch=arch,
        l4t=Version(l4t) if l4t else None,
        jetpack=None,
        cuda=Version(cuda) if cuda else None,
        driver_cuda=Version(cuda) if cuda else None,
        python=Version("3.10"),
        distro="ubuntu",
        distro_version="22.04",
        sm=(87,) if cuda else (),
    )


ORIN = platform_of(Arch.TEGRA, "36.4.3", "12.6")
NANO = platform_of(Arch.TEGRA, "32.7.4", "10.2")
THOR = platform_of(Arch.SBSA, "38.4.0", "13.0")
PC = platform_of(Arch.X86_64, None, "12.8")
NO_GPU = platform_of(Arch.X86_64, None, None)

WITH_RUNTIME = replace(CAPABILITIES, runtimes=("io.containerd.runc.v2", "nvidia", "runc"))
WITH_CDI = replace(CAPABILITIES, cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1", "nvidia.com/gpu=all"))

JETSON_FILES = """
    etc/localtime etc/timezone etc/enctune.conf etc/nv_tegra_release proc/device-tree/model tmp/argus_socket
    run/jtop.sock var/run/avahi-daemon/socket var/run/dbus/system_bus_socket dev/snd/controlC0 dev/bus/usb/001/001
    dev/video0 dev/video2 dev/video10 dev/i2c-0 dev/i2c-10 dev/ttyACM0 dev/nvmap
"""
THOR_FILES = (
    "etc/localtime etc/nv_tegra_release proc/device-tree/model dev/snd/timer usr/bin/nvidia-container-runtime-hook"
)
PC_FILES = "etc/localtime dev/snd/timer dev/video0 dev/bus/usb/001/001 usr/bin/nvidia-container-runtime-hook"

HOSTS: dict[str, tuple[Platform, Capabilities, str]] = {
    "orin-r36": (ORIN, WITH_RUNTIME, JETSON_FILES),
    "orin-r36-cdi": (ORIN, replace(WITH_CDI, runtimes=WITH_RUNTIME.runtimes), JETSON_FILES),
    "nano-r32": (NANO, replace(WITH_RUNTIME, sudo=True), "etc/localtime etc/nv_tegra_release dev/video0"),
    "thor-r38": (THOR, WITH_RUNTIME, THOR_FILES),
    "x86-gpu": (PC, CAPABILITIES, PC_FILES),
    "x86-cpu": (NO_GPU, CAPABILITIES, "etc/localtime"),
    "bare": (NO_GPU, CAPABILITIES, ""),
}


def make_root(tmp_path: Path, files: str) -> Path:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    for name in files.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def plan(tmp_path: Path, *args: str, host: str = "bare", files: str = "", **given_options: Any) -> Launch:
    platform, capabilities, host_files = HOSTS[host]
    options: dict[str, Any] = {
        "platform": platform,
        "capabilities": capabilities,
        "settings": SETTINGS,
        "root": make_root(tmp_path, host_files + " " + files),
        "env": {},
        "name": "unique",
        **given_options,
    }
    return plan_run(
        parse(args or ("img",)),
        options.pop("platform"),
        options.pop("capabilities"),
        options.pop("settings"),
        **options,
    )


def settings_with(**values: Any) -> settings.Settings:
    found = {name: settings.Value(option.default, "default") for name, option in settings.OPTIONS.items()}
    env = values.pop("env", {})
    found |= {name: settings.Value(value, "test") for name, value in values.items()}
    return settings.Settings(found, env)


SETTINGS = settings_with(data=Path("/srv/data"), cache=Path("/srv/cache"))


def warnings_of(planned: Launch) -> list[str]:
    return [notice.text for notice in planned.notices if notice.severity is NoticeSeverity.WARNING]


def added(planned: Launch, plain: Launch) -> list[str]:
    """The words one command has and the other has not."""
    return [word for word in planned.argv if word not in plain.argv]


# The whole command, per host.


@pytest.mark.parametrize("host", HOSTS)
def test_command_for_each_host_is_the_expected_one(tmp_path: Path, host: str) -> None:
    """Each captured host gets its expected command."""
    planned = plan(
        tmp_path, "-v", "/a:/b", "img:tag", "llama-cli", "--version", host=host, stdin_tty=True, stdout_tty=True
    )
    golden = GOLDEN / f"{host}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text("\n".join(planned.argv) + "\n", encoding="utf-8")
    assert list(planned.argv) == golden.read_text(encoding="utf-8").splitlines()
    assert warnings_of(planned) == []


def test_command_for_a_bare_host_has_only_the_defaults(tmp_path: Path) -> None:
    """A bare host gets the defaults and nothing else."""
    assert list(plan(tmp_path, "img", "cmd", "-x").argv) == [
        *("/usr/bin/docker", "run", "-i", "--rm", "--network", "host", "--shm-size=8g", "--name", "unique"),
        *("--volume", "/srv/data:/data", "img", "cmd", "-x"),
    ]


def test_command_keeps_the_words_of_the_user_in_order(tmp_path: Path) -> None:
    """The user's words follow ours, untouched and in order."""
    users = ["-e", "A=1", "--net=bridge", "-itv", "/x:/y", "--name", "mine", "img", "sh", "-c", "echo --name $X"]
    assert list(plan(tmp_path, *users).argv)[-len(users) :] == users


def test_own_options_are_not_passed_to_docker(tmp_path: Path) -> None:
    """Options of this program are not passed to docker."""
    planned = plan(
        tmp_path, "--data", "/d", "--dry-run", "--no-gpu", "--verbose", "--json", "-e", "A", "img", "--dry-run"
    )
    assert planned.dry_run
    assert list(planned.argv[-4:]) == ["-e", "A", "img", "--dry-run"]
    assert not {"--data", "--no-gpu", "--verbose", "--json"} & set(planned.argv)


def test_options_after_two_dashes_are_passed_to_docker(tmp_path: Path) -> None:
    """After two dashes every option is docker's."""
    planned = plan(tmp_path, "--no-gpu", "--", "--dry-run", "--rm", "img")
    assert not planned.dry_run
    assert list(planned.argv[-3:]) == ["--dry-run", "--rm", "img"]


# The terminal.


@pytest.mark.parametrize(
    ("args", "stdin_tty", "stdout_tty", "expected"),
    [
        ("img", True, True, ["-it"]),
        ("img", True, False, ["-i"]),  # run.sh … | less
        ("img", False, True, ["-i"]),  # echo hi | run.sh …
        ("img", False, False, ["-i"]),
        ("-d img", False, False, []),
        ("--detach=true img", False, True, []),
        ("-d img", True, True, ["-it"]),
        ("-i img", True, True, []),  # the user has said what is wanted
        ("-t img", False, False, []),
        ("-it img", True, True, []),
        ("-a stdout img", True, True, []),
        ("--tty=false img", True, True, []),
        ("img -it", True, True, ["-it"]),  # the command's own
    ],
)
def test_terminal_options_follow_standard_input_and_output(
    tmp_path: Path, args: str, stdin_tty: bool, stdout_tty: bool, expected: list[str]
) -> None:
    """`-i` and `-t` follow the standard input and output."""
    planned = plan(tmp_path, *args.split(), stdin_tty=stdin_tty, stdout_tty=stdout_tty)
    ours = list(planned.argv[2 : planned.argv.index("--rm")])
    assert ours == expected


# Defaults that give way.


@pytest.mark.parametrize(
    ("option", "default", "kept"),
    [
        ("--rm", "--rm", False),
        ("--rm=false", "--rm", False),
        ("--restart=always", "--rm", False),
        ("--restart=no", "--rm", True),
        ("--network=bridge", "host", False),
        ("--net=none", "host", False),
        ("--link=db", "host", False),
        ("--ip=10.0.0.2", "host", False),
        ("--publish=80:80", "host", True),
        ("--shm-size=1g", "--shm-size=8g", False),
        ("--ipc=host", "--shm-size=8g", False),
        ("--name=mine", "unique", False),
        ("--ulimit=memlock=1", "--ulimit=memlock=-1", False),
        ("--ulimit=nofile=1", "--ulimit=memlock=-1", True),
        ("--volume=/mine:/data", "/srv/data:/data", False),
        ("--mount=type=bind,source=/mine,target=/data/", "/srv/data:/data", False),
        ("--volume=/mine:/data/models", "/srv/data:/data", True),
        ("--volume=/x:/etc/localtime", "/etc/localtime:/etc/localtime:ro", False),
        ("--device=/dev/video0", "/dev/video0", False),
        ("--gpus=all", "nvidia", False),
        ("--runtime=runc", "nvidia", False),
        ("--device=nvidia.com/gpu=0", "nvidia", False),
        ("--env=NVIDIA_DRIVER_CAPABILITIES=video", "NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics", False),
        ("--env=NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", False),
    ],
)
def test_option_of_the_user_replaces_the_default(tmp_path: Path, option: str, default: str, kept: bool) -> None:
    """An option of the user replaces the default."""
    host = "x86-gpu" if "ulimit" in default else "orin-r36"
    assert default in plan(tmp_path, "img", host=host).argv
    ours = [word for word in plan(tmp_path, option, "img", host=host).argv if word != option]
    assert (default in ours) is kept


def test_name_after_the_image_belongs_to_the_command(tmp_path: Path) -> None:
    """A name after the image belongs to the command."""
    planned = plan(tmp_path, "img", "app", "--name", "x")
    assert planned.name == "unique"
    assert "unique" in planned.argv


def test_names_of_containers_of_one_second_differ(tmp_path: Path) -> None:
    """Two containers of one second have different names."""
    names = {plan(tmp_path, name=None).name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("jetson_container_2") for name in names)


def test_published_ports_on_the_network_of_the_host_get_a_warning(tmp_path: Path) -> None:
    """Published ports on the host's network get a warning."""
    assert any("published ports" in text for text in warnings_of(plan(tmp_path, "-p", "80:80", "img")))
    assert warnings_of(plan(tmp_path, "-p", "80:80", "--network", "bridge", "img")) == []


def test_unknown_option_is_passed_on_with_a_warning(tmp_path: Path) -> None:
    """An unknown option is passed on with a warning."""
    planned = plan(tmp_path, "--runtme", "nvidia", "img")
    assert list(planned.argv[-3:]) == ["--runtme", "nvidia", "img"]
    (notice,) = [notice for notice in planned.notices if "--runtme" in notice.text]
    assert notice.hint == "did you mean `--runtime`?"


# The GPU.

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


# Hardware and services.


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


def test_csi2webcam_is_accepted_with_a_notice_that_it_has_no_effect(tmp_path: Path) -> None:
    """csi2webcam is understood, with a notice that it has no effect yet."""
    planned = plan(tmp_path, "--csi2webcam", "--csi-capture-res=3280x2464@21", "--csi-output-res", "640x480@30", "img")
    (notice,) = [notice for notice in planned.notices if "csi2webcam" in notice.text]
    assert "width=3280,height=2464,framerate=21/1" in (notice.hint or "")
    assert "width=640,height=480" in (notice.hint or "")
    assert not any("csi" in word for word in planned.argv)


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


# Display and sound.


def test_display_gets_its_own_cookie_file(tmp_path: Path) -> None:
    """The display is passed with a cookie file of its own."""
    planned = plan(tmp_path, files="tmp/.X11-unix/X0", env={"DISPLAY": ":0", "HOME": "/home/me"})
    assert added(planned, plan(tmp_path)) == [
        *("--env", "DISPLAY", "--env", "XAUTHORITY=/tmp/.docker.xauth"),
        *("--mount", "type=bind,source=/tmp/.X11-unix,target=/tmp/.X11-unix"),
        *("--mount", "type=bind,source=/srv/cache/xauth-0,target=/tmp/.docker.xauth,readonly"),
    ]
    assert planned.cookie is not None
    assert planned.cookie.source == Path("/home/me/.Xauthority")


def test_display_forwarded_by_ssh_has_no_socket(tmp_path: Path) -> None:
    """A display forwarded by SSH has no socket."""
    planned = plan(tmp_path, env={"DISPLAY": "localhost:10.0", "XAUTHORITY": "/run/user/1/auth"})
    assert planned.cookie is not None
    assert (planned.cookie.source, planned.cookie.path.name) == (Path("/run/user/1/auth"), "xauth-localhost-10.0")
    assert not any(".X11-unix" in word for word in planned.argv)


@pytest.mark.parametrize("args", ["-e DISPLAY=:1 img", "--env DISPLAY img"])
def test_display_of_the_user_replaces_the_default(tmp_path: Path, args: str) -> None:
    """A display that the user passes replaces the default."""
    planned = plan(tmp_path, *args.split(), env={"DISPLAY": ":0"})
    assert planned.cookie is None
    assert not any("XAUTHORITY" in word for word in planned.argv)


def xauth_entry(family: int, address: bytes, number: bytes, cookie: bytes) -> bytes:
    fields = (address, number, b"MIT-MAGIC-COOKIE-1", cookie)
    return struct.pack(">H", family) + b"".join(struct.pack(">H", len(f)) + f for f in fields)


def test_display_cookies_are_made_valid_for_any_host() -> None:
    """The cookies of the display are made valid for any host."""
    data = xauth_entry(256, b"host", b"0", b"a" * 16) + xauth_entry(256, b"host", b"10", b"b" * 16)
    assert display.wild_entries(data, ":0") == xauth_entry(0xFFFF, b"host", b"0", b"a" * 16)
    assert display.wild_entries(data, "localhost:10.0") == xauth_entry(0xFFFF, b"host", b"10", b"b" * 16)
    assert display.wild_entries(data, ":1") == b""


@given(st.binary(max_size=80))
def test_display_cookie_file_of_any_bytes_is_read(data: bytes) -> None:
    """A broken cookie file does not fail."""
    assert isinstance(display.wild_entries(data, ":0"), bytes)


def test_display_cookie_file_is_private_and_replaced_whole(tmp_path: Path) -> None:
    """The cookie file is private and replaced whole."""
    source = tmp_path / "auth"
    source.write_bytes(xauth_entry(256, b"host", b"0", b"a" * 16))
    cookie = display.CookieFile(":0", source, tmp_path / "cache" / "xauth-0")
    for _ in range(2):
        assert display.write_cookie(cookie) is None
        assert stat.S_IMODE(cookie.path.stat().st_mode) == 0o600
        assert cookie.path.read_bytes().endswith(b"a" * 16)
    assert [path.name for path in cookie.path.parent.iterdir()] == ["xauth-0"]


def test_display_without_a_cookie_gets_a_notice_with_the_command_that_helps(tmp_path: Path) -> None:
    """A missing cookie gets a notice with the command that helps."""
    notice = display.write_cookie(display.CookieFile(":0", tmp_path / "none", tmp_path / "xauth-0"))
    assert notice is not None
    assert notice.hint == "xhost +si:localuser:root"


def test_sound_server_of_the_session_is_passed(tmp_path: Path) -> None:
    """The sound server of the session is passed."""
    env = {"XDG_RUNTIME_DIR": "/run/user/1000", "HOME": "/home/me"}
    files = "run/user/1000/pulse/native home/me/.config/pulse/cookie"
    assert added(plan(tmp_path, files=files, env=env), plan(tmp_path)) == [
        *("--env", "PULSE_SERVER=unix:/run/user/1000/pulse/native", "--env", "PULSE_COOKIE=/tmp/.pulse-cookie"),
        *("--mount", "type=bind,source=/run/user/1000/pulse/native,target=/run/user/1000/pulse/native"),
        *("--mount", "type=bind,source=/home/me/.config/pulse/cookie,target=/tmp/.pulse-cookie,readonly"),
    ]


def test_sound_server_that_is_missing_adds_no_words(tmp_path: Path) -> None:
    """Without a sound server nothing is added."""
    assert plan(tmp_path, env={"XDG_RUNTIME_DIR": "/run/user/1000"}).argv == plan(tmp_path).argv
    assert plan(tmp_path, env={"XDG_RUNTIME_DIR": ""}).argv == plan(tmp_path).argv


# Secrets.

secret_values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8, max_size=40).map(
    "s3cr3t".__add__
)
secret_names = st.sampled_from(
    [
        "HF_TOKEN",
        "HUGGINGFACE_TOKEN",
        "OPENAI_API_KEY",
        "my_password",
        "DB_PASS",
        "AWS_SECRET_ACCESS_KEY",
        "X_KEY",
        "KEY",
    ]
)
spellings = st.sampled_from(["-e {}", "--env {}", "--env={}", "-e{}", "-e={}", "-ite {}", "-ite{}"])


@given(name=secret_names, value=secret_values, spelling=spellings, in_env=st.booleans(), sudo=st.booleans())
def test_secrets_never_stand_in_the_argv_nor_in_the_output(
    tmp_path_factory: pytest.TempPathFactory, name: str, value: str, spelling: str, in_env: bool, sudo: bool
) -> None:
    """A secret never stands in the argv nor in what is printed."""
    words = [word.format(f"{name}={value}") for word in spelling.split(" ")]
    out, err = io.StringIO(), io.StringIO()
    for as_json in (False, True):
        planned = plan_run(
            parse(["--dry-run", *words, "img"]),
            NO_GPU,
            replace(CAPABILITIES, sudo=sudo),
            SETTINGS,
            root=Path("/nonexistent"),
            env={name: value} if in_env else {},
        )
        console = Console(out=out, err=err, level=Level.VERBOSE, as_json=as_json, env={})
        assert command.run(planned, console) == 0
    assert not any(value in word for word in planned.argv)
    assert value not in out.getvalue() + err.getvalue() + repr(planned)
    assert {**({name: value} if in_env else {}), **planned.env_additions}[name] == value
    assert name in parse([*planned.argv[planned.argv.index("run") + 1 :]]).line.env_names


@given(value=secret_values)
def test_token_of_the_environment_is_passed_under_both_names(value: str) -> None:
    """The token of the environment is passed by name, under both names."""
    planned = plan_run(
        parse(["img"]), NO_GPU, CAPABILITIES, SETTINGS, root=Path("/nonexistent"), env={"HUGGINGFACE_TOKEN": value}
    )
    assert [word for word in planned.argv if "TOKEN" in word] == ["HF_TOKEN", "HUGGINGFACE_TOKEN"]
    assert planned.env_additions == {"HF_TOKEN": value}
    assert not any(value in word for word in planned.argv)


@pytest.mark.parametrize(
    ("args", "env", "dotenv", "passed", "additions"),
    [
        ("img", {"HF_TOKEN": "a", "HUGGINGFACE_TOKEN": "b"}, {}, ["HF_TOKEN", "HUGGINGFACE_TOKEN"], {}),
        ("img", {"HF_TOKEN": ""}, {}, [], {}),
        ("img", {}, {"HF_TOKEN": "d"}, ["HF_TOKEN", "HUGGINGFACE_TOKEN"], {"HF_TOKEN": "d", "HUGGINGFACE_TOKEN": "d"}),
        ("-e HF_TOKEN img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN"], {}),
        ("-e HF_TOKEN img", {}, {"HF_TOKEN": "d"}, ["HF_TOKEN"], {"HF_TOKEN": "d"}),
        ("-e HF_TOKEN=x img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN"], {"HF_TOKEN": "x"}),
        ("-e HF_TOKEN=x -e HF_TOKEN=y img", {}, {}, ["HF_TOKEN", "HF_TOKEN"], {"HF_TOKEN": "y"}),
        ("-e HF_TOKEN=x -e HF_TOKEN img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN", "HF_TOKEN"], {}),
        ("-e HF_TOKEN= img", {"HF_TOKEN": "a"}, {}, ["HF_TOKEN="], {}),
        ("-e OPENAI_API_KEY img", {}, {"OPENAI_API_KEY": "o"}, [], {"OPENAI_API_KEY": "o"}),
        ("img HF_TOKEN=x", {}, {}, ["HF_TOKEN=x"], {}),  # the command's own words are the user's
    ],
)
def test_token_sources_decide_what_is_passed(
    tmp_path: Path, args: str, env: dict[str, str], dotenv: dict[str, str], passed: list[str], additions: dict[str, str]
) -> None:
    """The sources of a token decide what is passed and how."""
    known = settings_with(data=Path("/srv/data"), cache=Path("/srv/cache"), env={**dotenv, **env})
    planned = plan(tmp_path, *args.split(), env=env, settings=known)
    assert [word for word in planned.argv if "_TOKEN" in word] == passed
    assert planned.env_additions == additions


# sudo


def test_sudo_keeps_exactly_the_variables_passed_by_name(tmp_path: Path) -> None:
    """sudo keeps exactly the variables that are passed by name."""
    planned = plan(
        tmp_path,
        *("-e", "MINE", "-e", "OTHER=1", "-e", "MY_KEY=x", "img"),
        capabilities=replace(CAPABILITIES, sudo=True),
        env={"HF_TOKEN": "t", "DISPLAY": ":0"},
    )
    assert planned.argv[:4] == (
        *("sudo", "--preserve-env=DISPLAY,HF_TOKEN,HUGGINGFACE_TOKEN,MINE,MY_KEY", "/usr/bin/docker", "run"),
    )


def test_sudo_without_variables_has_no_option(tmp_path: Path) -> None:
    """sudo without variables has no option."""
    assert plan(tmp_path, host="nano-r32").argv[:3] == ("sudo", "/usr/bin/docker", "run")


# Mistakes.


@pytest.mark.parametrize("args", [[], ["--rm"], ["--rm", ""], [""], ["--data", "d"], ["--", "--rm"]])
def test_command_without_an_image_is_a_usage_error(args: list[str]) -> None:
    """A command without an image is a usage error."""
    with pytest.raises(UsageError, match="no image") as caught:
        plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, env={})
    assert "./run.sh $(./autotag" in (caught.value.hint or "")


@pytest.mark.parametrize("word", ["/bin/bash", "./script.sh", "-", "two words"])
def test_image_that_cannot_be_one_hints_at_an_empty_autotag(word: str) -> None:
    """A word that cannot be an image hints at an empty answer of autotag."""
    with pytest.raises(UsageError, match="cannot be an image") as caught:
        plan_run(parse(["--rm", word, "-c", "x"]), NO_GPU, CAPABILITIES, SETTINGS, env={})
    assert "autotag" in (caught.value.hint or "")


@pytest.mark.parametrize("args", [["--data"], ["--data=", "img"]])
def test_data_option_needs_a_directory(args: list[str]) -> None:
    """`--data` needs a directory."""
    with pytest.raises(UsageError, match="`--data` needs"):
        plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, env={})


# Global options on a run line.


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        ("img cmd", {}, "img cmd"),
        ("--verbose --rm img", {"verbose": True}, "--rm img"),
        ("--target r36.4 --dry-run --json img", {"target": "r36.4", "as_json": True}, "img"),
        ("--package-dirs=a,b --offline img --verbose", {"package_dirs": ("a,b",), "offline": True}, "img --verbose"),
        ("--package-dirs a --rm --package-dirs=b img", {"package_dirs": ("a", "b")}, "--rm img"),
        ("-e --verbose img", {}, "-e --verbose img"),
        ("-q -v /a:/b img", {}, "-q -v /a:/b img"),
        ("--rm -- --verbose img", {}, "--rm --verbose img"),
    ],
)
def test_global_options_are_told_from_the_rest(line: str, options: dict[str, Any], rest: str) -> None:
    """The global options are told from the rest, and docker sees none of them."""
    request = parse(line.split())
    assert request.globals == options
    assert " ".join((*request.line.words, request.image, *request.line.command)) == rest


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("--help", True),
        ("--verbose --help", True),
        ("--dry-run --help", True),
        ("--rm --help img", False),
        ("img --help", False),
        ("", False),
    ],
)
def test_help_is_asked_for_by_the_first_option(line: str, *, asked: bool) -> None:
    """Help is asked for by the first option but ours; after an image it is the command's."""
    assert parse(line.split()).asks_for_help is asked


def test_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was parsed is handed on: making the command, with sudo too, parses nothing."""
    request = parse(["-e", "A", "-e", "B=1", "img", "cmd"])
    for module in ("docker_options", "options"):
        monkeypatch.setattr(f"jetson_containers.launch.{module}.parse", lambda *_args: pytest.fail("parsed again"))
    planned = plan_run(
        request, NO_GPU, replace(CAPABILITIES, sudo=True), SETTINGS, root=tmp_path, env={"HF_TOKEN": "t"}
    )
    assert planned.argv[:2] == ("sudo", "--preserve-env=A,HF_TOKEN,HUGGINGFACE_TOKEN")


# Running.


def test_dry_run_prints_a_command_to_paste_and_does_nothing(tmp_path: Path) -> None:
    """A dry run prints a command that can be pasted, and does nothing."""
    data = tmp_path / "new data"
    planned = plan(
        tmp_path,
        "--dry-run",
        "--data",
        str(data),
        "-e",
        "HF_TOKEN=x",
        "img",
        "echo",
        "a b",
        "$X",
        env={"DISPLAY": ":0"},
    )
    out, err = io.StringIO(), io.StringIO()
    assert command.run(planned, Console(out=out, err=err, env={}), execute=lambda _: pytest.fail("was run")) == 0
    assert shlex.split(out.getvalue()) == list(planned.argv)
    assert out.getvalue().count("\n") == 1
    assert "DISPLAY" not in err.getvalue()
    assert "set in the environment: HF_TOKEN" in err.getvalue()
    assert not data.exists()


def test_dry_run_as_json_holds_the_command(tmp_path: Path) -> None:
    """A dry run as JSON holds the command without secrets."""
    planned = plan(tmp_path, "--dry-run", "-e", "HF_TOKEN=x", "img", "cmd")
    out = io.StringIO()
    command.run(planned, Console(out=out, err=io.StringIO(), as_json=True, env={}))
    shown = json.loads(out.getvalue())
    assert shown["argv"] == list(planned.argv)
    assert (shown["image"], shown["command"], shown["gpu"], shown["env"]) == ("img", ["cmd"], "none", ["HF_TOKEN"])


def test_verbose_output_names_each_mount(tmp_path: Path) -> None:
    """Each mount is named with `--verbose`."""
    planned = plan(tmp_path, "--dry-run", "img", host="x86-cpu")
    quiet, verbose = io.StringIO(), io.StringIO()
    command.run(planned, Console(out=io.StringIO(), err=quiet, env={}))
    command.run(planned, Console(out=io.StringIO(), err=verbose, level=Level.VERBOSE, env={}))
    assert quiet.getvalue() == ""
    assert "mount: /srv/data -> /data\n" in verbose.getvalue()
    assert "mount: /etc/localtime -> /etc/localtime (read-only)\n" in verbose.getvalue()


def test_start_makes_the_data_directory_and_the_cookie_first(tmp_path: Path) -> None:
    """The data directory and the cookie are made before the start."""
    known = settings_with(data=tmp_path / "a" / "data", cache=tmp_path / "cache")
    planned = plan(tmp_path, env={"DISPLAY": ":0", "HOME": str(tmp_path)}, settings=known)
    err = io.StringIO()

    def execute(_: Launch) -> int:
        assert (tmp_path / "a" / "data").is_dir()
        assert (tmp_path / "cache" / "xauth-0").is_file()
        return 7

    assert command.run(planned, Console(out=io.StringIO(), err=err, env={}), execute=execute) == 7
    assert "no X11 cookie" in err.getvalue()


def test_data_mount_of_the_user_makes_no_directory(tmp_path: Path) -> None:
    """A data mount of the user makes no directory."""
    assert plan(tmp_path, "-v", "/mine:/data", "img").data is None


def test_data_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative data directories are made absolute."""
    monkeypatch.chdir(tmp_path)
    assert plan(tmp_path, "--data", "x/../y", "img").data == tmp_path / "y"


BECOME = """
import sys
from jetson_containers.launch.command import Launch, become
from jetson_containers.launch.gpu import Gpu
become(Launch(tuple(sys.argv[1:]), {"ADDED": "yes"}, (), "img", (), "name", Gpu.NONE))
"""


def become(*argv: str, redirect: str = "") -> str:
    """What a command prints that our process turns into, started by a shell with the given redirection."""
    words = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-c", BECOME, *argv]
    done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=True, timeout=60)
    return done.stdout.decode()


def test_start_gives_docker_the_secrets_in_its_environment() -> None:
    """Docker gets the secrets in its environment."""
    assert become("sh", "-c", "echo $ADDED") == "yes\n"


@pytest.mark.parametrize(("stream", "redirect"), [(0, "<&-"), (2, "2>&-")])
def test_start_opens_closed_standard_streams(stream: int, redirect: str) -> None:
    """With its standard input closed docker now and then takes a socket for it and never starts the container."""
    assert become("readlink", f"/proc/self/fd/{stream}", redirect=redirect) == "/dev/null\n"


def test_start_restores_the_signals_that_python_ignores() -> None:
    """Signals that Python ignores are not ignored by docker."""
    ignored = int(become("sed", "-n", "s/^SigIgn:\t//p", "/proc/self/status"), 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1))


def test_start_without_the_docker_client_is_an_error(tmp_path: Path) -> None:
    """A docker client that is gone by now is an error."""
    planned = plan(tmp_path, capabilities=replace(CAPABILITIES, client=str(tmp_path / "docker")))
    before = signal.getsignal(signal.SIGPIPE)
    with pytest.raises(EngineMissingError):
        command.become(planned)
    assert signal.getsignal(signal.SIGPIPE) is before  # else the next write to a closed pipe would kill us silently


def test_start_of_a_client_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    """A docker client that may not be executed is an error."""
    (tmp_path / "docker").touch(mode=0o600)
    planned = plan(tmp_path, capabilities=replace(CAPABILITIES, client=str(tmp_path / "docker")))
    with pytest.raises(NotReadyError, match="Permission denied"):
        command.become(planned)


@pytest.mark.parametrize(
    ("mount", "argv"),
    [
        (Mount("/a", "/b"), ("--volume", "/a:/b")),
        (Mount("/a", "/b", readonly=True), ("--volume", "/a:/b:ro")),
        (Mount("/a", "/b", volatile=True), ("--mount", "type=bind,source=/a,target=/b")),
        (Mount("/a:x", "/b", readonly=True), ("--mount", "type=bind,source=/a:x,target=/b,readonly")),
        (Mount('/a:x,"y"', "/b"), ("--mount", 'type=bind,"source=/a:x,""y""",target=/b')),
    ],
)
def test_mount_argv_keeps_odd_paths(mount: Mount, argv: tuple[str, str]) -> None:
    """Mounts are spelled so that odd paths survive."""
    assert mount.argv == argv


@pytest.mark.parametrize(
    ("args", "env", "words"),
    [
        (["img"], {"HF_ENDPOINT": "http://hub"}, ["HF_ENDPOINT"]),
        (["img"], {}, []),
        (["-e", "HF_ENDPOINT=http://mine", "img"], {"HF_ENDPOINT": "http://hub"}, ["HF_ENDPOINT=http://mine"]),
    ],
)
def test_hub_endpoint_is_passed_as_the_token_is(args: list[str], env: dict[str, str], words: list[str]) -> None:
    """An own hub is passed where the token is passed."""
    planned = plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, root=Path("/nonexistent"), env=env)
    assert [word for word in planned.argv if word.startswith("HF_ENDPOINT")] == words


@pytest.mark.parametrize(
    ("image", "host", "warned"),
    [
        ("dustynv/mlc:51fb0f4-builder-r35.4.1", "orin-r36", True),
        ("dustynv/l4t-pytorch:r36.4.0", "nano-r32", True),
        ("dustynv/mlc:0.20.0-r36.4.0", "orin-r36", False),
        ("ubuntu:22.04", "orin-r36", False),
        ("dustynv/mlc:51fb0f4-builder-r35.4.1", "x86-gpu", False),
    ],
)
def test_image_of_another_l4t_family_gets_a_warning(tmp_path: Path, image: str, host: str, *, warned: bool) -> None:
    """An image of another L4T family gets a warning."""
    found = [text for text in warnings_of(plan(tmp_path, image, host=host)) if "the image is made for L4T" in text]
    assert bool(found) is warned
    if "35.4.1" in image and warned:
        assert "made for L4T 35.4.1, and this is L4T 36" in found[0]


@pytest.mark.parametrize(("image", "bare"), [("mlc_llm", True), ("mlc:1", False), ("a/b", False), ("a@sha256", False)])
def test_is_bare_recognizes_a_word_that_may_be_the_command(image: str, bare: bool) -> None:
    """A word that may be the command is recognized."""
    assert is_bare(image) is bare
