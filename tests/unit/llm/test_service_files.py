"""A planned server as a file that starts it after each reboot."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from jetson_containers.launch.parts import Mount
from jetson_containers.llm import service_files
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.runtimes.interface import Service
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import no_engine

if TYPE_CHECKING:
    from jetson_containers.launch.command import Launch
    from jetson_containers.llm.context import LlmContext


ORIN = detect.parse_target("orin-nx-16gb,r36.4.3")


def test_service_files_compose_has_what_docker_run_would_get(containers: Containers) -> None:
    """A compose file has what docker would be told."""
    planned = containers.server(
        Service(argv=("llama-server", "-m", "$x"), model="m", key_env="LLAMA_API_KEY"),
        name="llm",
        detach=True,
        api_key="topsecret",
    )
    text = service_files.generate("compose", planned, "LLAMA_API_KEY", "MY_KEY")
    assert "topsecret" not in text
    service = yaml.safe_load(text)["services"]["llm"]
    assert service["command"] == ["llama-server", "-m", "$$x"]
    assert (service["image"], service["network_mode"], service["restart"]) == ("image:1", "host", "unless-stopped")
    assert any(volume["target"] == "/data" for volume in service["volumes"])
    assert any(entry.startswith("LLAMA_API_KEY=${MY_KEY:?") for entry in service["environment"])


def test_service_files_quadlet_reaches_the_gpu_by_cdi(context: LlmContext) -> None:
    """A quadlet reaches the GPU by CDI."""
    engine = FakeEngine(replace(FakeEngine().capabilities_, runtimes=("runc", "nvidia")))
    containers = Containers(
        platform=ORIN,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=no_engine,
    )
    planned = containers.server(Service(argv=("serve", "a b"), model="m"), name="llm", detach=True)
    text = service_files.generate("quadlet", planned)
    assert "AddDevice=nvidia.com/gpu=all" in text
    assert 'Exec=serve "a b"' in text
    assert "runtime: nvidia" in service_files.generate("compose", planned)


def test_service_files_for_a_board_ask_for_the_gpu_where_this_engine_has_none(context: LlmContext) -> None:
    """A service file for a board asks for the GPU where this engine has none."""
    containers = Containers(
        platform=ORIN,
        engine=FakeEngine(),
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=no_engine,
    )
    planned = containers.server(Service(argv=("serve",), model="m"), name="llm", detach=True)
    assert "runtime" not in service_files.generate("compose", planned)
    service = yaml.safe_load(service_files.generate("compose", planned, gpu=True))["services"]["llm"]
    assert service["runtime"] == "nvidia"
    assert "NVIDIA_VISIBLE_DEVICES=all" in service["environment"]


def awkward(containers: Containers, *command: str) -> Launch:
    planned = containers.server(Service(argv=command, model="m"), name="llm", detach=True)
    mount = Mount(source="/mnt/a: $b 50%", target="/data")
    argv = [word for word in planned.argv if not word.endswith(":/data:ro")]
    argv.remove("--volume")  # the first one is that of /data
    argv[argv.index("run") + 1 : argv.index("run") + 1] = mount.argv
    others = tuple(each for each in planned.mounts if each.target != "/data")
    return replace(planned, argv=tuple(argv), mounts=(mount, *others))


def test_service_files_compose_keeps_every_character(containers: Containers) -> None:
    """A compose file keeps every character."""
    planned = awkward(containers, "serve", "$HOME", "50%", "a: b")
    service = yaml.safe_load(service_files.generate("compose", planned))["services"]["llm"]
    assert service["command"] == ["serve", "$$HOME", "50%", "a: b"]
    assert {"type": "bind", "source": "/mnt/a: $$b 50%", "target": "/data", "read_only": False} in service["volumes"]
    assert any(volume["read_only"] for volume in service["volumes"])  # the drivers


def test_service_files_have_the_rights_and_the_port_of_docker_run(containers: Containers) -> None:
    """Compose files and quadlets take the same rights away, and publish the one port."""
    place = containers.listening("127.0.0.1", 8080)
    planned = containers.server(Service(argv=("s",), model="m"), name="llm", detach=True, listening=place)
    service = yaml.safe_load(service_files.generate("compose", planned))["services"]["llm"]
    assert (service["network_mode"], service["ports"]) == ("bridge", ["127.0.0.1:8080:8080"])
    assert (service["cap_drop"], service["security_opt"], service["pids_limit"]) == (
        ["ALL"],
        ["no-new-privileges:true"],
        4096,
    )
    assert (service["read_only"], len(service["tmpfs"])) == (True, 3)
    assert {volume["target"]: volume["read_only"] for volume in service["volumes"]}.items() >= {
        ("/data", True),
        ("/data/cache", False),
    }
    lines = service_files.generate("quadlet", planned).splitlines()
    wanted = {"PublishPort=127.0.0.1:8080:8080", "DropCapability=all", "NoNewPrivileges=true", "PidsLimit=4096"}
    assert wanted | {"ReadOnly=true"} <= set(lines)
    assert not any(line.startswith("Network=") for line in lines)


def test_service_files_quadlet_expands_nothing(containers: Containers) -> None:
    """A quadlet expands nothing."""
    planned = awkward(containers, "serve", "$HOME", "50%", 'a "b" \\c')
    text = service_files.generate("quadlet", planned, "API_KEY", "MY_KEY")
    assert 'Exec=serve "$$HOME" 50%% "a \\"b\\" \\\\c"' in text.splitlines()
    assert "Mount=type=bind,source=/mnt/a: $$b 50%%,target=/data" in text.splitlines()
    assert "Secret=MY_KEY,type=env,target=API_KEY" in text.splitlines()


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("llama_cpp:1", "docker.io/library/llama_cpp:1"),
        ("dustynv/mlc:1", "docker.io/dustynv/mlc:1"),
        ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("host:5000/x:1", "host:5000/x:1"),
    ],
)
def test_service_files_name_an_image_as_podman_does(image: str, name: str) -> None:
    """Podman's store has the whole name of what Docker calls by a short one."""
    assert service_files.podman_name(image) == name


def test_service_files_quadlet_says_how_the_image_gets_there(containers: Containers) -> None:
    """A quadlet names the image in the store of Podman, and says how to copy it there from that of Docker."""
    planned = containers.server(Service(argv=("serve",), model="m"), name="llm", detach=True)
    lines = service_files.generate("quadlet", planned, "API_KEY", "MY_KEY", gpu=True).splitlines()
    assert "Image=docker.io/library/image:1" in lines
    assert "Pull=never" in lines
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    assert "podman pull docker-daemon:image:1" in comments
    assert "systemctl --user daemon-reload && systemctl --user start llm" in comments
    assert any(line.startswith("loginctl enable-linger") for line in comments)
    assert any(line.startswith("sudo nvidia-ctk cdi generate") for line in comments)
    assert "printenv MY_KEY | podman secret create MY_KEY -" in comments


def unit(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))


def test_service_files_systemd_unit_runs_what_docker_would(containers: Containers) -> None:
    """A unit starts the same container in the foreground, once docker runs, with the key from a file."""
    planned = awkward(containers, "serve", "$HOME", "50%", "a b")
    keys = unit(service_files.generate("systemd", planned, "API_KEY", "MY_KEY", gpu=True))
    words = shlex.split(keys["ExecStart"])
    assert words[:5] == ["/usr/bin/docker", "run", "--rm", "--name", "llm"]
    assert words[-5:] == ["image:1", "serve", "$$HOME", "50%%", "a b"]
    assert "type=bind,source=/mnt/a: $$b 50%%,target=/data" in words
    assert words[words.index("API_KEY") - 1] == "--env"
    assert words[words.index("--runtime") + 1] == "nvidia"
    assert not {"--detach", "--restart"} & set(words)
    assert keys["EnvironmentFile"] == "/etc/jetson-containers/llm.env"
    assert keys["Requires"] == "docker.service"
    assert keys["WantedBy"] == "multi-user.target"


def test_service_files_kube_is_a_pod(containers: Containers) -> None:
    """A pod has the command, mounts, GPU and key; what looks like a variable of Kubernetes stays text."""
    planned = awkward(containers, "serve", "$(HOME)", "50%")
    text = service_files.generate("kube", planned, "API_KEY", "MY_KEY", gpu=True)
    pod = yaml.safe_load(text)
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["hostNetwork"] is True
    assert (container["image"], container["imagePullPolicy"]) == ("docker.io/library/image:1", "Never")
    assert container["args"] == ["serve", "$$(HOME)", "50%"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu=all": 1}}
    paths = {volume["name"]: volume.get("hostPath", {}).get("path") for volume in pod["spec"]["volumes"]}
    mounted = {mount["mountPath"]: paths[mount["name"]] for mount in container["volumeMounts"]}
    assert mounted["/data"] == "/mnt/a: $b 50%"
    assert "/dev/shm" in mounted
    key = next(entry for entry in container["env"] if entry["name"] == "API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "llm-key", "key": "MY_KEY"}
    assert "podman pull docker-daemon:image:1" in text


def test_service_files_compose_asks_whether_the_server_answers(containers: Containers) -> None:
    """A compose file with a health URL has a check that gives a large model time to load; without it there is none."""
    planned = containers.server(Service(argv=("serve",), model="m"), name="llm", detach=True)
    text = service_files.generate("compose", planned, health="http://127.0.0.1:8080/health")
    check = yaml.safe_load(text)["services"]["llm"]["healthcheck"]
    assert check["test"][:3] == ["CMD", "python3", "-c"]
    assert "http://127.0.0.1:8080/health" in check["test"][3]
    compile(check["test"][3], "check", "exec")
    assert "healthcheck" not in service_files.generate("compose", planned)


def test_service_files_systemd_and_kube_take_the_same_rights_away(containers: Containers) -> None:
    """A unit and a pod drop what docker's line drops, and publish the one port on the address it has there."""
    place = containers.listening("127.0.0.1", 8080)
    planned = containers.server(Service(argv=("s",), model="m"), name="llm", detach=True, listening=place)
    words = shlex.split(unit(service_files.generate("systemd", planned))["ExecStart"])
    pairs = set(itertools.pairwise(words))
    assert {("--cap-drop", "all"), ("--security-opt", "no-new-privileges"), ("--network", "bridge")} <= pairs
    assert ("--publish", "127.0.0.1:8080:8080") in pairs
    assert "--read-only" in words
    pod = yaml.safe_load(service_files.generate("kube", planned))
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["hostNetwork"] is False
    assert container["ports"] == [{"containerPort": 8080, "hostPort": 8080, "hostIP": "127.0.0.1"}]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp", "/data"}
