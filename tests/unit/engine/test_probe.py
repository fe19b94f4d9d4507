"""Which client is chosen, and what is said when none can be: every machine here is a table row."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import ConfigError, EngineMissingError, EnginePermissionError, NotReadyError
from jetson_containers.engine import emulation, probe
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.interface import Builder, RunCapabilities
from jetson_containers.engine.probe import ProbeAnswer, ProbedHost
from tests.fakes import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

INFO = {
    "Architecture": "aarch64",
    "Runtimes": {"runc": {}, "nvidia": {}},
    "Driver": "overlay2",
    "DockerRootDir": "/var/lib/docker",
}
DOWN = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = "Got permission denied while trying to connect to the Docker daemon socket: connect: permission denied"


class Machine:
    """Fake docker clients on a fake PATH. `clients`: directory → (version, has buildx)."""

    def __init__(self, root: Path, clients: Mapping[str, tuple[str, bool]], *, state: str = "up") -> None:
        self.root, self.clients, self.state = root, clients, state
        self.sudo = False  # whether sudo works without a password
        self.podman: set[str] = set()
        self.info: dict[str, object] = dict(INFO)
        self.server = "20.10.24"
        self.buildx: dict[str, str] = {}  # directory → what its plugin says of itself
        self.asked: list[list[str]] = []
        for directory in clients:
            (root / directory).mkdir(parents=True)
            (root / directory / "docker").write_text(directory)
            (root / directory / "docker").chmod(0o755)

    def host(self, *, uid: int = 1000, interactive: bool = False, **env: str) -> ProbedHost:
        path = ":".join(str(self.root / directory) for directory in self.clients)
        return ProbedHost(env={"PATH": path, **env}, uid=uid, interactive=interactive, root=self.root, run=self.answer)

    def answer(self, argv: Sequence[str], env: Mapping[str, str]) -> ProbeAnswer:
        self.asked.append(list(argv))
        words = list(argv)
        as_root = words[0] == "sudo"
        if as_root:
            words = [word for word in words[1:] if word != "-n"]
            if not self.sudo and "-n" in argv:
                return ProbeAnswer(exit_code=1, out="", err="sudo: a password is required")
            if words == ["-V"]:
                return ProbeAnswer(exit_code=0, out="Sudo version 1.9", err="")
        directory = words[0].removeprefix(str(self.root) + "/").removesuffix("/docker")
        version, buildx = self.clients[directory]
        return self.say(words[1:], directory, version, buildx=buildx, as_root=as_root)

    def say(self, words: list[str], directory: str, version: str, *, buildx: bool, as_root: bool) -> ProbeAnswer:
        if words[0] == "image":
            return (
                ProbeAnswer(exit_code=1, out="", err=DENIED)
                if self.state == "denied" and not as_root
                else ProbeAnswer(exit_code=0, out="", err="")
            )
        if words[0] == "version":
            return self.version(words, version, as_root=as_root)
        answers = {
            "--version": (0, "podman version 4.3" if directory in self.podman else f"Docker version {version}"),
            "buildx": (0, self.buildx.get(directory, "github.com/docker/buildx v0.13.1 abc")) if buildx else (1, ""),
            "info": (0, json.dumps(self.info)),
            "context": (0, "default unix:///var/run/docker.sock\n"),
        }
        code, out = answers[words[0]]
        return ProbeAnswer(exit_code=code, out=out, err="")

    def version(self, words: list[str], version: str, *, as_root: bool) -> ProbeAnswer:
        client = {"Client": {"Version": version}}
        if words[-1] == "{{json .Client}}":
            return ProbeAnswer(exit_code=0, out=json.dumps(client["Client"]), err="")
        if self.state == "down":
            return ProbeAnswer(exit_code=1, out=json.dumps(client), err=DOWN)
        if self.state == "denied" and not as_root:
            return ProbeAnswer(exit_code=1, out=json.dumps(client), err=DENIED)
        server = {"Version": self.server, "ApiVersion": "1.41", "Arch": "arm64"}
        return ProbeAnswer(exit_code=0, out=json.dumps({**client, "Server": server}), err="")


@pytest.mark.parametrize(
    ("clients", "wanted", "chosen", "builder"),
    [
        ({"a": ("28.2.2", False), "b": ("20.10.24", False)}, "auto", "b", Builder.BUILDKIT),
        ({"a": ("28.2.2", False), "b": ("20.10.24", False)}, "legacy", "a", Builder.LEGACY),
        ({"a": ("28.2.2", False), "b": ("20.10.24", False)}, "buildkit", "b", Builder.BUILDKIT),
        ({"a": ("20.10.24", False), "b": ("28.2.2", True)}, "auto", "b", Builder.BUILDX),
        ({"a": ("20.10.24", False), "b": ("28.2.2", True)}, "buildkit", "a", Builder.BUILDKIT),
        ({"a": ("28.2.2", True)}, "buildkit", "a", Builder.BUILDX),
        ({"a": ("26.1.5", False)}, "auto", "a", Builder.LEGACY),
        ({"a": ("19.03.6", False)}, "auto", "a", Builder.BUILDKIT),
        ({"a": ("20.10.24", True), "b": ("28.2.2", True)}, "buildx", "a", Builder.BUILDX),
        ({"a": ("17.06.2", False)}, "auto", "a", Builder.LEGACY),
        ({"a": ("22.06.0-beta.0", False)}, "auto", "a", Builder.BUILDKIT),
    ],
)
def test_probe_chooses_the_client_with_the_best_builder(
    tmp_path: Path, clients: dict[str, tuple[str, bool]], wanted: str, chosen: str, builder: Builder
) -> None:
    """The client with the best builder is chosen."""
    capabilities, client = probe.probe(wanted, Machine(tmp_path, clients).host())
    assert (capabilities.client, capabilities.builder) == (str(tmp_path / chosen / "docker"), builder)
    assert client.context == "default"
    assert capabilities.runtimes == ("nvidia", "runc")
    assert (capabilities.architecture, capabilities.platforms) == ("aarch64", ("linux/arm64",))


@pytest.mark.parametrize(
    ("wanted", "server", "buildx", "bake"),
    [
        ("auto", "26.1.5+dfsg1", "github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", True),
        ("bake", "23.0.0", "github.com/docker/buildx v0.29.1 abc", True),
        ("auto", "20.10.24", "github.com/docker/buildx v0.29.1 abc", False),
        ("auto", "28.2.2", "github.com/docker/buildx v0.12.1 abc", False),
        ("auto", "28.2.2", "github.com/docker/buildx", False),
        ("buildx", "28.2.2", "github.com/docker/buildx v0.29.1 abc", False),
    ],
)
def test_probe_chooses_bake_where_engine_and_plugin_can(
    tmp_path: Path, wanted: str, server: str, buildx: str, *, bake: bool
) -> None:
    """Stages are linked from engine 23 on, and followed from buildx 0.13 on; by itself buildx builds one by one."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)})
    machine.server, machine.buildx = server, {"a": buildx}
    capabilities, _ = probe.probe(wanted, machine.host())
    assert (capabilities.builder, capabilities.bake) == (Builder.BUILDX, bake)


def test_probe_prefers_the_client_that_can_bake(tmp_path: Path) -> None:
    """Of two clients with buildx, the one whose plugin is new enough is taken."""
    machine = Machine(tmp_path, {"a": ("24.0.7", True), "b": ("28.2.2", True)})
    machine.server, machine.buildx = "28.2.2", {"a": "github.com/docker/buildx v0.11.2 abc"}
    assert probe.probe("auto", machine.host())[0].client == str(tmp_path / "b" / "docker")
    assert probe.probe("buildx", machine.host())[0].client == str(tmp_path / "a" / "docker")


def test_probe_says_what_bake_takes(tmp_path: Path) -> None:
    """Who asks for bake is told which version lacks."""
    with pytest.raises(NotReadyError, match=r"engine 23 \(here: 20\.10\.24\) and buildx 0\.13"):
        probe.probe("bake", Machine(tmp_path, {"a": ("28.2.2", True)}).host())


@pytest.mark.parametrize(
    ("wanted", "error", "said"),
    [
        ("buildx", NotReadyError, "docker-buildx"),
        ("buildkit", NotReadyError, "docker-buildx"),
        ("kaniko", ConfigError, "auto, bake, buildx, buildkit, legacy"),
    ],
)
def test_probe_refuses_a_builder_that_is_unavailable(
    tmp_path: Path, wanted: str, error: type[NotReadyError], said: str
) -> None:
    """A builder that is unavailable is an error."""
    with pytest.raises(error) as caught:
        probe.probe(wanted, Machine(tmp_path, {"a": ("26.1.5", False)}).host())
    assert said in str(caught.value.hint)


def test_probe_without_a_client_is_an_error(tmp_path: Path) -> None:
    """Without any client there is one error."""
    with pytest.raises(EngineMissingError) as caught:
        probe.probe("auto", Machine(tmp_path, {}).host())
    assert "no `docker` on PATH" in caught.value.message
    assert "./install.sh" in str(caught.value.hint)


def test_probe_names_podman_alone_as_unsupported(tmp_path: Path) -> None:
    """Podman alone is named as what cannot build."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/podman").write_text("")
    (tmp_path / "bin/podman").chmod(0o755)
    host = replace(Machine(tmp_path, {}).host(), env={"PATH": str(tmp_path / "bin")})
    with pytest.raises(EngineMissingError, match="Podman cannot build here"):
        probe.probe("auto", host)


def test_probe_names_podman_under_the_name_of_docker_as_unsupported(tmp_path: Path) -> None:
    """Podman under the name of docker is named as what cannot build."""
    machine = Machine(tmp_path, {"a": ("4.3.1", False)}, state="down")
    machine.podman.add("a")
    with pytest.raises(EngineMissingError, match="is Podman, which cannot build here"):
        probe.probe("auto", machine.host())


@pytest.mark.parametrize(
    ("folder", "file", "uid", "expected"),
    [
        ("run/systemd/system", "", 1000, "sudo systemctl start docker"),
        ("etc/init.d", "docker", 1000, "sudo service docker start"),
        ("etc", "", 0, "sh -c 'dockerd"),
    ],
)
def test_probe_of_a_stopped_daemon_says_how_to_start_it_here(
    tmp_path: Path, folder: str, file: str, uid: int, expected: str
) -> None:
    """A stopped daemon comes with the way to start it on this machine."""
    (tmp_path / folder).mkdir(parents=True)
    if file:
        (tmp_path / folder / file).write_text("")
    with pytest.raises(EngineMissingError) as caught:
        probe.probe("auto", Machine(tmp_path, {"a": ("28.2.2", True)}, state="down").host(uid=uid))
    assert str(caught.value.hint).startswith(expected)
    assert "./install.sh" in str(caught.value.hint)


def test_probe_names_a_remote_engine_that_does_not_answer(tmp_path: Path) -> None:
    """An engine elsewhere that does not answer is named."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)}, state="down")
    with pytest.raises(EngineMissingError, match=r"tcp://orin:2375 \(\$DOCKER_HOST\)"):
        probe.probe("auto", machine.host(DOCKER_HOST="tcp://orin:2375"))


@pytest.mark.parametrize(
    ("sudo", "interactive", "uid", "works"),
    [(True, False, 1000, True), (False, True, 1000, True), (False, False, 1000, False), (True, False, 0, False)],
)
def test_probe_uses_sudo_only_where_it_is_needed_and_works(
    tmp_path: Path, sudo: bool, interactive: bool, uid: int, works: bool
) -> None:
    """sudo is used only where it is needed and works."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)}, state="denied")
    machine.sudo = sudo
    host = machine.host(uid=uid, interactive=interactive)
    if works:
        assert probe.probe("auto", host)[0].sudo
        return
    with pytest.raises(EnginePermissionError) as caught:
        probe.probe("auto", host)
    assert caught.value.hint == "sudo usermod -aG docker $USER && newgrp docker"


def test_probe_uses_no_sudo_for_a_user_with_access(tmp_path: Path) -> None:
    """A user who may talk to the engine needs no sudo."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)})
    assert not probe.probe("auto", machine.host())[0].sudo
    assert not any(argv[0] == "sudo" for argv in machine.asked)


def test_probe_asks_one_client_under_two_names_once(tmp_path: Path) -> None:
    """One client under two names is asked once."""
    machine = Machine(tmp_path, {"usr/bin": ("28.2.2", True)})
    (tmp_path / "bin").symlink_to("usr/bin")
    host = replace(machine.host(), env={"PATH": f"{tmp_path}/usr/bin:{tmp_path}/bin:{tmp_path}/none"})
    assert probe.find_clients(host) == [f"{tmp_path}/usr/bin/docker"]


def test_probe_passes_over_a_closed_directory_of_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory of PATH that is closed to the user is passed over."""
    machine = Machine(tmp_path, {"closed": ("28.2.2", True), "open": ("20.10.24", False)})

    def is_file(path: Path) -> bool:
        if "closed" in path.parts:
            raise PermissionError(13, "Permission denied", str(path))
        return path.exists()

    monkeypatch.setattr(type(tmp_path), "is_file", is_file)
    assert probe.find_clients(machine.host()) == [f"{tmp_path}/open/docker"]


def test_cdi_devices_are_those_the_engine_lists(tmp_path: Path) -> None:
    """CDI devices are those that the engine lists."""
    machine = Machine(tmp_path, {"a": ("28.5.0", True)})
    machine.info["DiscoveredDevices"] = [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}, {"Source": "x", "ID": "y"}]
    assert probe.probe("auto", machine.host())[0].cdi_devices == ("nvidia.com/gpu=all",)


def test_cdi_devices_come_from_specifications_where_the_engine_only_names_folders(tmp_path: Path) -> None:
    """CDI devices come from the specifications where the engine only names folders."""
    machine = Machine(tmp_path, {"a": ("26.1.5", True)})
    machine.info["CDISpecDirs"] = ["/etc/cdi", "/var/run/cdi"]
    (tmp_path / "etc/cdi").mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.yaml").write_text("kind: nvidia.com/gpu\ndevices:\n- name: all\n- name: '0'\n")
    (tmp_path / "etc/cdi/broken.json").write_text("{")
    assert probe.probe("auto", machine.host())[0].cdi_devices == ("nvidia.com/gpu=0", "nvidia.com/gpu=all")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("enabled\ninterpreter /usr/libexec/qemu\nflags: POF\n", ("linux/amd64",)),
        ("enabled\ninterpreter /usr/libexec/qemu\nflags: OC\n", ()),
        ("disabled\ninterpreter /usr/libexec/qemu\nflags: F\n", ()),
    ],
)
def test_emulator_counts_when_it_works_inside_containers(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    """An emulator counts when it works inside containers."""
    (tmp_path / emulation.BINFMT).mkdir(parents=True)
    (tmp_path / emulation.BINFMT / "qemu-x86_64").write_text(text)
    assert emulation.emulated_platforms(tmp_path) == expected


@pytest.mark.parametrize(
    ("files", "begins"),
    [
        ([], "sudo apt-get install qemu-user-static"),
        (["usr/bin/qemu-aarch64-static", "run/systemd/system/x"], "sudo systemctl restart systemd-binfmt"),
        (["usr/bin/qemu-aarch64-static"], "sudo mount -t binfmt_misc"),
        (["usr/bin/qemu-aarch64-static", "proc/sys/fs/binfmt_misc/register"], "sudo sh -c 'cat /usr/lib/binfmt.d"),
    ],
)
def test_emulator_remedy_fits_the_machine(tmp_path: Path, files: list[str], begins: str) -> None:
    """The remedy for a missing emulator fits the machine."""
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert emulation.remedy("linux/arm64", tmp_path).startswith(begins)


# Without probing ----------------------------------------------------------------------------------------------------


def test_unprobed_client_is_the_first_on_path(tmp_path: Path) -> None:
    """Unprobed client is the first on path."""
    machine = Machine(tmp_path, {"a": ("28.2.2", False), "b": ("20.10.24", True)})
    assert probe.unprobed_client(machine.host()) == str(tmp_path / "a/docker")
    assert machine.asked == []


@pytest.mark.parametrize(
    ("start", "links", "env"),
    [
        ('#!/bin/sh\nexec /usr/bin/podman "$@"\n', {}, {}),
        ("", {"var/run/docker.sock": "run/podman/podman.sock"}, {}),
        ("", {}, {"DOCKER_HOST": "unix:///run/user/1000/podman/podman.sock"}),
        ("", {}, {"DOCKER_CONTEXT": "robot"}),
        ("", {"home/.docker/config.json": '{"currentContext": "robot"}'}, {}),
        ("", {"a/docker": "usr/bin/podman-remote"}, {}),
    ],
    ids=["script", "socket", "host", "context", "context of the configuration", "link"],
)
def test_unprobed_client_is_none_where_only_probing_tells(
    tmp_path: Path, start: str, links: dict[str, str], env: dict[str, str]
) -> None:
    """Unprobed client is none where only probing tells."""
    machine = Machine(tmp_path, {"a": ("28.2.2", False)})
    assert probe.unprobed_client(machine.host(HOME=str(tmp_path / "home"))) is not None
    (tmp_path / "a/docker").write_text(start)
    for place, target in links.items():
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if target.startswith("{"):
            path.write_text(target)
            continue
        (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / target).write_text("")
        (tmp_path / target).chmod(0o755)
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / target)
    assert probe.unprobed_client(machine.host(HOME=str(tmp_path / "home"), **env)) is None


def test_run_capabilities_without_probing_are_those_of_the_probe(tmp_path: Path) -> None:
    """Run capabilities without probing are those of the probe."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)})
    machine.info["ServerVersion"] = "28.2.2"
    machine.info["DiscoveredDevices"] = [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}]
    found = DockerEngine(host=machine.host()).run_capabilities
    assert [call[1] for call in machine.asked] == ["info"]
    probed, _ = probe.probe("auto", machine.host())
    assert found == RunCapabilities(
        client=probed.client, sudo=False, runtimes=probed.runtimes, cdi_devices=probed.cdi_devices
    )
    assert (found.runtimes, found.cdi_devices) == (("nvidia", "runc"), ("nvidia.com/gpu=all",))


@pytest.mark.parametrize("state", ["down", "denied"])
def test_run_capabilities_probe_when_the_first_client_does_not_answer(tmp_path: Path, state: str) -> None:
    """Run capabilities probe when the first client does not answer."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)}, state=state)
    machine.info = {"ServerErrors": [DOWN]}
    if state == "down":
        with pytest.raises(EngineMissingError, match="daemon does not answer"):
            _ = DockerEngine(host=machine.host()).run_capabilities
    else:
        machine.sudo = True
        assert DockerEngine(host=machine.host()).run_capabilities.sudo


def test_images_are_asked_with_sudo_when_the_first_client_may_not(tmp_path: Path) -> None:
    """Images are asked with sudo when the first client may not."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)}, state="denied")
    machine.sudo = True
    assert DockerEngine(host=machine.host()).images() == []
    lists = [call for call in machine.asked if "ls" in call]
    assert [call[0] for call in lists] == [str(tmp_path / "a/docker"), "sudo"]


@pytest.mark.parametrize(
    ("address", "elsewhere"),
    [
        ("", False),
        ("unix:///run/user/1/docker.sock", False),
        ("ssh://user@board", True),
        ("tcp://board:2375", True),
        ("tcp://127.0.0.1:2375", False),
        ("tcp://[::1]:2375", False),
        ("tcp://localhost:2375", False),
        ("tcp://localhost.example:2375", True),
        ("tcp://[oops", True),
        ("fd://", True),
    ],
)
def test_probe_says_whether_the_engine_is_on_another_machine(tmp_path: Path, address: str, elsewhere: bool) -> None:
    """A socket is this machine's, and so is a port of it, unless the engine behind it has another name: a tunnel."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)})
    machine.info["Name"] = os.uname().nodename
    machine.info["ServerVersion"] = "28.2.2"
    host = machine.host(DOCKER_HOST=address)
    assert probe.probe("auto", host)[0].elsewhere is elsewhere
    found = probe.run_capabilities(str(tmp_path / "a/docker"), host)
    assert found is not None
    assert found.elsewhere is elsewhere
    assert probe.may_be_elsewhere(host.env) is bool(address and not address.startswith("unix:"))
    machine.info["Name"] = "board"
    assert probe.probe("auto", host)[0].elsewhere is bool(address and not address.startswith("unix:"))


def test_probe_follows_a_docker_context_to_another_machine(tmp_path: Path) -> None:
    """A context leads elsewhere as DOCKER_HOST does; what needs the files of this machine is refused there."""
    machine = Machine(tmp_path, {"a": ("28.2.2", True)})
    (tmp_path / "config.json").write_text('{"currentContext": "board"}')
    host = machine.host(DOCKER_CONFIG=str(tmp_path))
    say = machine.say
    context = ProbeAnswer(exit_code=0, out="board ssh://user@board", err="")
    machine.say = lambda words, *rest, **more: context if words[0] == "context" else say(words, *rest, **more)  # type: ignore[method-assign]
    assert probe.may_be_elsewhere(host.env)
    capabilities = probe.probe("auto", host)[0]
    assert capabilities.elsewhere
    with pytest.raises(NotReadyError, match=r"another machine .* does not see the models"):
        capabilities.require_here("the models")
    CAPABILITIES.require_here("the models")
