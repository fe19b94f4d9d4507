"""`run --least`: what is taken away, what is kept, and what the user's own options change."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.launch import docker_options
from jetson_containers.launch.command import Launch, plan_run
from jetson_containers.launch.least import hand_over, user_of
from jetson_containers.launch.options import parse
from tests.unit.launch.helpers import HOSTS, SETTINGS, make_root, plan, warnings_of

if TYPE_CHECKING:
    from pathlib import Path

STRICT = ("--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "4096")


def least(
    tmp_path: Path, *args: str, host: str, user: str = "1000:1000", written: tuple[str, ...] | None = None
) -> Launch:
    platform, capabilities, files = HOSTS[host]
    request = replace(parse(("--least", *args, "img")), user=user, written=written)
    env = {"HF_TOKEN": "hf_secret", "HF_ENDPOINT": "https://hub.test", "DISPLAY": ":0"}
    root = make_root(tmp_path, files)
    return plan_run(request, platform, capabilities, SETTINGS, root=root, env=env, name="n")


def has(planned: Launch, *words: str) -> bool:
    return any(planned.argv[start : start + len(words)] == words for start in range(len(planned.argv)))


@pytest.mark.parametrize("host", HOSTS)
def test_least_takes_rights_devices_and_the_hosts_network(tmp_path: Path, host: str) -> None:
    """Capabilities, new privileges, the host's network, devices, sockets and tokens are taken away on every host."""
    planned = least(tmp_path, host=host)
    assert has(planned, *STRICT)
    assert has(planned, "--network", "bridge")
    assert has(planned, "--user", "1000:1000")
    assert not any(word.startswith("/dev/") for word in planned.argv)
    assert not any(mount.volatile for mount in planned.mounts)
    assert {"HF_TOKEN", "HUGGINGFACE_TOKEN", "HF_ENDPOINT", "DISPLAY"}.isdisjoint(planned.argv)
    assert [str(mount) for mount in planned.mounts if mount.target == "/data"] == ["/srv/data -> /data"]


@pytest.mark.parametrize(("host", "read_only"), [("x86-cpu", True), ("orin-r36", False), ("x86-gpu", False)])
def test_least_root_is_read_only_where_no_driver_is_written_into_it(tmp_path: Path, host: str, read_only: bool) -> None:
    """NVIDIA's runtime writes into the root, so it is read-only only without a GPU."""
    assert ("--read-only" in least(tmp_path, host=host).argv) == read_only
    assert "--read-only" in least(tmp_path, "--no-gpu", host=host).argv


def test_least_gives_the_groups_of_the_gpu_to_the_user(tmp_path: Path) -> None:
    """Without these groups a user other than root cannot open the GPU of a Jetson."""
    root = make_root(tmp_path, HOSTS["orin-r36"][2])
    for node in ("dev/nvmap", "dev/video0"):
        os.chown(root / node, -1, 4712)
    assert has(least(tmp_path, host="orin-r36"), "--group-add", "4712")
    assert "--group-add" not in least(tmp_path, host="orin-r36", user="").argv


def test_least_gives_way_to_what_the_user_says(tmp_path: Path) -> None:
    """The user's own options come first, each only in its own place."""
    own = ("--cap-drop", "NET_RAW", "--user", "7", "--network", "none", "--tmpfs", "/x", "-e", "HOME=/home/me")
    planned = least(tmp_path, *own, host="x86-cpu")
    line = docker_options.parse(planned.argv[2:])
    assert (line.values("cap-drop"), line.values("user"), line.values("network")) == (["NET_RAW"], ["7"], ["none"])
    assert (line.values("security-opt"), line.values("tmpfs")) == (["no-new-privileges"], ["/x"])
    assert [value for value in line.values("env") if value.startswith("HOME")] == ["HOME=/home/me"]


def test_least_publishes_ports_without_a_warning(tmp_path: Path) -> None:
    """A published port has an effect on a network of the container's own."""
    assert warnings_of(least(tmp_path, "-p", "127.0.0.1:80:80", host="x86-cpu")) == []
    assert "no effect" in warnings_of(plan(tmp_path, "-p", "127.0.0.1:80:80", "img", host="x86-cpu"))[0]


def test_least_data_can_be_read_only_but_for_some_folders(tmp_path: Path) -> None:
    """A server reads the data and writes below named folders only."""
    planned = least(tmp_path, host="x86-cpu", written=("cache", "models/mlc/cache"))
    mounts = [str(mount) for mount in planned.mounts if mount.target.startswith("/data")]
    assert mounts == [
        "/srv/data -> /data (read-only)",
        "/srv/data/cache -> /data/cache",
        "/srv/data/models/mlc/cache -> /data/models/mlc/cache",
    ]
    assert planned.folders == ("cache", "models/mlc/cache")


def test_least_user_is_the_owner_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs containers as the owner of the data directory; other users run them as themselves."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delenv("SUDO_UID", raising=False)
    data = tmp_path / "data"
    data.mkdir()
    found = data.stat()
    assert user_of(data) == ("" if found.st_uid == 0 else f"{found.st_uid}:{found.st_gid}")
    monkeypatch.setenv("JETSON_CONTAINERS_OWNER", "1234:5678")
    assert user_of(data) == "1234:5678"
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert user_of(data) == f"{os.getuid()}:{os.getgid()}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_least_data_of_an_earlier_root_goes_to_its_owner(tmp_path: Path) -> None:
    """What root left below the folders that containers write belongs to the owner of the data directory."""
    left = tmp_path / "data/models/llama_cpp/m"
    left.mkdir(parents=True)
    os.chown(tmp_path / "data", 1234, 5678)
    hand_over(tmp_path / "data")
    owned = {path.relative_to(tmp_path).as_posix(): path.stat().st_uid for path in (tmp_path / "data").rglob("*")}
    assert owned == dict.fromkeys(
        ("data/cache", "data/models", "data/models/llama_cpp", "data/models/llama_cpp/m"), 1234
    )
