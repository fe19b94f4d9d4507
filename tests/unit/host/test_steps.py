"""What the steps of `setup` plan on machines that are folders of files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import ConfigError
from jetson_containers.host import steps
from jetson_containers.host.changes import CommandChange, FileChange, HostMachine, StepPlan

if TYPE_CHECKING:
    from pathlib import Path

CARD_AND_NVME = "1 0 179:1 / / rw - ext4 /dev/mmcblk0p1 rw\n2 1 259:1 / /mnt/fast rw - ext4 /dev/nvme0n1p1 rw\n"
CARD = CARD_AND_NVME.splitlines()[0] + "\n"
RESTART = ("service", "docker", "restart")


def machine(root: Path, files: dict[str, str], **options: Any) -> HostMachine:
    for place, text in files.items():
        path = root / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return HostMachine(root=root, **options)


def daemon(found: StepPlan) -> dict[str, Any]:
    """The configuration of the engine that a plan writes."""
    text = next(change.after for change in found.changes if isinstance(change, FileChange))
    assert text is not None
    options: dict[str, Any] = json.loads(text)
    return options


def commands(found: StepPlan) -> list[tuple[str, ...]]:
    return [change.argv for change in found.changes if isinstance(change, CommandChange)]


def test_nvidia_runtime_is_added_to_what_is_configured(tmp_path: Path) -> None:
    """Other settings stay; on a Jetson the runtime is also the default."""
    files = {"/usr/bin/nvidia-container-runtime": "", "/etc/docker/daemon.json": '{"dns": ["1.1.1.1"]}'}
    host = machine(tmp_path, files, is_jetson=True)
    found = steps.plan("nvidia-runtime", host)
    assert daemon(found) == {
        "dns": ["1.1.1.1"],
        "runtimes": {"nvidia": {"args": [], "path": "nvidia-container-runtime"}},
        "default-runtime": "nvidia",
    }
    assert commands(found)[-1] == RESTART
    assert "default-runtime" not in daemon(steps.plan("nvidia-runtime", replace(host, is_jetson=False)))


def test_nvidia_runtime_that_is_registered_or_missing_changes_nothing(tmp_path: Path) -> None:
    """A runtime of one's own stays as it is; without the toolkit there is nothing to register."""
    assert "not installed" in steps.plan("nvidia-runtime", HostMachine(root=tmp_path)).reason
    text = json.dumps({"runtimes": {"nvidia": {"path": "/opt/own"}}, "default-runtime": "nvidia"})
    files = {"/usr/bin/nvidia-container-runtime": "", "/etc/docker/daemon.json": text}
    found = steps.plan("nvidia-runtime", machine(tmp_path, files, is_jetson=True))
    assert (found.changes, "already" in found.reason) == ((), True)


@pytest.mark.parametrize("text", ["{,}", "[]", "nope"])
def test_configuration_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    """A broken configuration is never overwritten."""
    host = machine(tmp_path, {"/etc/docker/daemon.json": text})
    with pytest.raises(ConfigError, match=r"daemon\.json"):
        steps.plan("log-rotation", host)


def test_log_rotation_keeps_other_options_and_drivers(tmp_path: Path) -> None:
    """Only logs without a limit get one."""
    host = machine(tmp_path, {"/etc/docker/daemon.json": '{"log-opts": {"tag": "x"}}'}, restart=False)
    found = steps.plan("log-rotation", host)
    assert daemon(found)["log-opts"] == {"max-size": "50m", "max-file": "3", "tag": "x"}
    assert (commands(found), "restart" in found.later) == ([], True)
    host.place("/etc/docker/daemon.json").write_text('{"log-driver": "local"}')
    assert steps.plan("log-rotation", host).changes == ()


def test_docker_group_gets_the_user_once(tmp_path: Path) -> None:
    """Root, a member, and a machine without the group change nothing."""
    host = machine(tmp_path, {"/etc/group": "root:x:0:\ndocker:x:998:ann,bob\n"}, user="cleo")
    found = steps.plan("docker-group", host)
    assert found.changes == (
        CommandChange(argv=("usermod", "-aG", "docker", "cleo"), undo=("gpasswd", "-d", "cleo", "docker")),
    )
    assert steps.plan("docker-group", replace(host, user="bob")).changes == ()
    assert steps.plan("docker-group", replace(host, user="")).changes == ()
    assert "install an engine" in steps.plan("docker-group", HostMachine(root=tmp_path / "none", user="x")).reason


SWAPS = "Filename Type Size Used Priority\n"


def test_swap_is_a_file_on_the_fastest_disk_instead_of_zram(tmp_path: Path) -> None:
    """The file is on NVMe, in fstab, and compressed memory is not set up again."""
    files = {
        "/proc/swaps": SWAPS + "/dev/zram0 partition 3900000 0 5\n",
        "/proc/self/mountinfo": CARD_AND_NVME,
        "/proc/meminfo": "MemTotal: 7800000 kB\n",
        "/etc/fstab": "/dev/root / ext4 defaults 0 1",
        "/etc/systemd/system/nvzramconfig.service": "",
    }
    host = machine(tmp_path, files)
    (tmp_path / "mnt/fast").mkdir(parents=True)
    found = steps.plan("swap", replace(host, swap_gib=1))
    assert commands(found) == [
        ("systemctl", "disable", "nvzramconfig"),
        ("fallocate", "-l", "1G", "/mnt/fast/swapfile"),
        ("chmod", "600", "/mnt/fast/swapfile"),
        ("mkswap", "/mnt/fast/swapfile"),
        ("swapon", "/mnt/fast/swapfile"),
    ]
    assert found.changes[-1] == FileChange(
        path="/etc/fstab",
        before="/dev/root / ext4 defaults 0 1",
        after="/dev/root / ext4 defaults 0 1\n/mnt/fast/swapfile none swap sw 0 0\n",
    )


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        ({"/proc/swaps": SWAPS + "/swapfile file 8000000 0 -2\n"}, {}, "already"),
        ({"/proc/swaps": SWAPS, "/proc/self/mountinfo": CARD}, {}, "wears an SD card out"),
        ({}, {}, "cannot be read"),
        ({"/proc/swaps": SWAPS, "/s": ""}, {"swap_file": "/s"}, "exists already"),
        ({"/proc/swaps": SWAPS}, {"swap_file": "/s", "swap_gib": 1 << 20}, "do not fit"),
    ],
)
def test_swap_that_is_there_or_has_no_place_changes_nothing(
    tmp_path: Path, files: dict[str, str], options: dict[str, Any], said: str
) -> None:
    """Each reason not to swap is said."""
    found = steps.plan("swap", machine(tmp_path, files, **options))
    assert (found.changes, said in found.reason) == ((), True)


def test_data_root_moves_to_the_disk_that_is_faster(tmp_path: Path) -> None:
    """The engine stops, its files are copied, and it starts with the new place; the old one stays."""
    host = machine(
        tmp_path, {"/proc/self/mountinfo": CARD_AND_NVME, "/var/lib/docker/x": "", "/run/systemd/system/x": ""}
    )
    found = steps.plan("data-root", host)
    assert commands(found) == [
        ("systemctl", "stop", "docker.socket", "docker.service"),
        ("mkdir", "-p", "-m", "710", "/mnt/fast/docker"),
        ("cp", "--archive", "/var/lib/docker/.", "/mnt/fast/docker"),
        ("systemctl", "start", "docker.service"),
    ]
    assert daemon(found) == {"data-root": "/mnt/fast/docker"}
    assert "`sudo rm -r /var/lib/docker`" in found.later


@pytest.mark.parametrize(
    ("mounts", "options", "said"),
    [
        (CARD, {}, "no faster disk"),
        (CARD.replace("mmcblk0p1", "nvme0n1p1"), {}, "already"),
        (CARD_AND_NVME, {"restart": False}, "must be stopped"),
        (CARD_AND_NVME, {"new_data_root": "/var/lib/docker/"}, "already"),
        (CARD_AND_NVME, {"new_data_root": "/full"}, "not empty"),
    ],
)
def test_data_root_stays_where_no_disk_is_faster(
    tmp_path: Path, mounts: str, options: dict[str, Any], said: str
) -> None:
    """Each reason to stay is said."""
    found = steps.plan("data-root", machine(tmp_path, {"/proc/self/mountinfo": mounts, "/full/x": ""}, **options))
    assert (found.changes, said in found.reason) == ((), True)


def test_power_mode_becomes_the_fastest_and_remembers_the_present(tmp_path: Path) -> None:
    """Undoing sets the mode that was."""
    modes = "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=15W >\n"
    files = {"/etc/nvpmodel.conf": modes, "/var/lib/nvpmodel/status": "pmode:0001 fmode:quiet"}
    found = steps.plan("power-mode", machine(tmp_path, files))
    assert found.changes == (CommandChange(argv=("nvpmodel", "-m", "0"), undo=("nvpmodel", "-m", "1")),)
    assert steps.plan("power-mode", HostMachine(root=tmp_path / "pc")).reason == "this machine has no power modes"


def test_headless_changes_the_default_target(tmp_path: Path) -> None:
    """The administrator's link comes before the distribution's; without a desktop there is nothing to change."""
    host = machine(tmp_path, {"/lib/systemd/system/graphical.target": ""})
    assert "not known" in steps.plan("headless", host).reason
    (tmp_path / "lib/systemd/system/default.target").symlink_to("graphical.target")
    assert commands(steps.plan("headless", host)) == [("systemctl", "set-default", "multi-user.target")]
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/comm").write_text("systemd\n")
    assert steps.plan("headless", host).reason == "no desktop is installed"
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/display-manager.service").symlink_to("/lib/systemd/system/gdm.service")
    assert commands(steps.plan("headless", host)) == [("systemctl", "set-default", "multi-user.target")]
    (tmp_path / "etc/systemd/system/default.target").symlink_to("/lib/systemd/system/multi-user.target")
    assert "without a desktop already" in steps.plan("headless", host).reason


@pytest.mark.parametrize("step", ["nvidia-runtime", "docker-group", "log-rotation", "data-root"])
def test_engine_of_snap_is_not_set_up(tmp_path: Path, step: str) -> None:
    """It reads another configuration; where another engine is installed beside it, that one is meant."""
    host = machine(tmp_path, {"/snap/bin/docker": "", "/etc/group": "docker:x:1:\n"}, user="me")
    found = steps.plan(step, host)
    assert (found.changes, "snap remove docker" in found.reason) == ((), True)
    host.place("/usr/bin").mkdir(parents=True)
    host.place("/usr/bin/docker").write_text("")
    assert "snap" not in steps.plan(step, host).reason


@pytest.mark.parametrize("step", ["log-rotation", "data-root"])
@pytest.mark.parametrize("text", ['{"log-opts": null, "runtimes": null}', "", "  \n"])
def test_members_of_null_are_as_if_they_were_not_there(tmp_path: Path, step: str, text: str) -> None:
    """The engine takes them so, too."""
    host = machine(tmp_path, {"/etc/docker/daemon.json": text, "/proc/self/mountinfo": CARD_AND_NVME})
    assert steps.plan(step, host).changes


@pytest.mark.parametrize("text", ['{"log-opts": [1]}', '{"runtimes": []}', "[]", "7"])
def test_members_of_another_kind_are_refused(tmp_path: Path, text: str) -> None:
    """No traceback, and nothing is written over them."""
    with pytest.raises(ConfigError, match="must be an object"):
        steps.plan("log-rotation", machine(tmp_path, {"/etc/docker/daemon.json": text}))
