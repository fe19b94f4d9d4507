"""A planned server as a file that starts it after each reboot: compose, quadlet (Podman's unit), systemd, kube.

The first lines of each say where it goes, and how the image gets to the engine that will run it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.text import is_number
from jetson_containers.launch.parts import Mount
from jetson_containers.launch.podman import PODMAN_NETWORK

if TYPE_CHECKING:
    from jetson_containers.launch.command import Launch

# Places in the container of a terminal's or session's own things, which are not there after a reboot.
_SESSION = ("/tmp/", "/run/user/")  # noqa: S108 - compared only
_PLAIN = re.compile(r"[\w@%+=:,./-]+")


KINDS = ("compose", "quadlet", "systemd", "kube")
OF_DOCKER = ("compose", "systemd")
_NETWORKS = {PODMAN_NETWORK: "bridge"}
_CDI = "nvidia.com/gpu=all"


def generate(
    kind: str, planned: Launch, key_env: str = "", key_name: str = "", *, gpu: bool = False, health: str = ""
) -> str:
    """Write the file; `kind` is one of KINDS.

    `gpu`: the platform has one, so the file asks for it also where the engine that planned it (a PC's) has none.
    `health`: URL that answers 200 once the model is loaded.

    Secrets stay references: the server finds its key in `key_env`, the user keeps it under `key_name`.
    """
    options = _Options.of(planned)
    options = options.with_gpu() if gpu else options
    if kind == "compose":
        return _compose(options, planned, key_env, key_name or key_env, health)
    write = {"quadlet": _quadlet, "systemd": _systemd, "kube": _kube}[kind]
    return write(options, planned, key_env, key_name or key_env)


def podman_name(image: str) -> str:
    """The full name that an image of Docker's store has in Podman's: Docker leaves out its own registry."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"


@dataclass(frozen=True, kw_only=True)
class _Options:
    """The options of a docker command line that a service file must say in its own words."""

    mounts: tuple[Mount, ...]
    env: tuple[str, ...]
    devices: tuple[str, ...]
    runtime: str
    gpus: bool
    network: str
    shm: str
    user: str
    groups: tuple[str, ...]
    ports: tuple[str, ...]
    dropped: tuple[str, ...]
    security: tuple[str, ...]
    pids: str
    read_only: bool
    tmpfs: tuple[str, ...]

    @classmethod
    def of(cls, planned: Launch) -> _Options:
        from jetson_containers.launch import docker_options

        line = docker_options.parse(planned.argv[planned.argv.index("run") + 1 :])
        network = line.last("network") or "host"
        known = {mount.argv[1] for mount in planned.mounts}
        own = [_mount(volume) for volume in line.values("volume") if volume not in known]
        lasting = [mount for mount in (*planned.mounts, *own) if not mount.volatile]
        return cls(
            mounts=tuple(mount for mount in lasting if not mount.target.startswith(_SESSION)),
            env=tuple(line.values("env")), devices=tuple(line.values("device")), runtime=line.last("runtime") or "",
            gpus=bool(line.values("gpus")), network=_NETWORKS.get(network, network), shm=line.last("shm-size") or "",
            user=line.last("user") or "", groups=tuple(line.values("group-add")), ports=tuple(line.values("publish")),
            dropped=tuple(line.values("cap-drop")), security=tuple(line.values("security-opt")),
            pids=line.last("pids-limit") or "", read_only=line.is_on("read-only"), tmpfs=tuple(line.values("tmpfs")),
        )  # fmt: skip

    @property
    def uses_gpu(self) -> bool:
        return self.runtime == "nvidia" or self.gpus or any(device.startswith("nvidia.com/") for device in self.devices)

    def with_gpu(self) -> _Options:
        """The same with NVIDIA's runtime, where nothing asks for a GPU yet."""
        if self.runtime or self.uses_gpu:
            return self
        visible = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all")
        return replace(self, runtime="nvidia", env=(*self.env, *visible))


def _mount(volume: str) -> Mount:
    source, target, *flags = volume.split(":")
    return Mount(source=source, target=target, readonly="ro" in flags)


def _compose(options: _Options, planned: Launch, key_env: str, key_name: str, health: str) -> str:
    import yaml

    service: dict[str, Any] = {
        "image": planned.image,
        "container_name": planned.name,
        "command": list(planned.command),
        "restart": "unless-stopped",
        "network_mode": options.network,
        # The long form: a path may hold colons and spaces.
        "volumes": [
            {"type": "bind", "source": mount.source, "target": mount.target, "read_only": mount.readonly}
            for mount in options.mounts
        ],
        "environment": [entry for entry in options.env if "=" in entry],
    }
    further: dict[str, Any] = {
        "shm_size": options.shm,
        "user": options.user,
        "runtime": options.runtime,
        "devices": list(options.devices),
        "group_add": list(options.groups),
        "ports": list(options.ports),
        "cap_drop": [name.upper() for name in options.dropped],
        "security_opt": [f"{name}:true" if name == "no-new-privileges" else name for name in options.security],
        "pids_limit": int(options.pids or 0),
        "read_only": options.read_only,
        "tmpfs": list(options.tmpfs),
    }
    if health:
        if options.network != "host":  # in the container the port is at its own loopback
            health = re.sub(r"//(?:\[[^]]*\]|[^/:]+)", "//127.0.0.1", health, count=1)
        asks = f"import urllib.request as r; r.urlopen('{health}', timeout=5)"
        further["healthcheck"] = {
            "test": ["CMD", "python3", "-c", asks], "interval": "30s", "timeout": "10s", "start_period": "10m",
        }  # fmt: skip
    service = _literal(service | {key: value for key, value in further.items() if value})
    if key_env:
        service["environment"].append(f"{key_env}=${{{key_name}:?set it in the environment or in .env}}")
    if options.gpus:
        reservation = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [reservation]}}}
    text: str = yaml.safe_dump({"services": {planned.name: service}}, sort_keys=False, width=120)
    return "# Save it as compose.yaml, then: docker compose up -d\n" + text.rstrip()


def _literal(value: Any) -> Any:
    """Text in which compose puts in no variables."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _quadlet(options: _Options, planned: Launch, key_env: str, key_name: str) -> str:
    image = podman_name(planned.image)
    lines = [
        *_for_podman(planned, options, key_name if key_env else ""),
        f"# Save it as ~/.config/containers/systemd/{planned.name}.container, then:",
        f"#   systemctl --user daemon-reload && systemctl --user start {shlex.quote(planned.name)}",
        "#   loginctl enable-linger    # so that it starts at boot, before anyone logs in",
        "[Unit]",
        f"Description={planned.name}",
        "",
        "[Container]",
        f"Image={image}",
        "Pull=never",  # the registry in its name has no such image
        f"ContainerName={planned.name}",
        "Exec=" + " ".join(map(_word, planned.command)),
    ]
    if options.network != "bridge":  # Podman's own default is a network of the container's own, without root too
        lines.append(f"Network={options.network}")
    lines += [f"PublishPort={port}" for port in options.ports]
    lines += [f"DropCapability={name}" for name in options.dropped]
    lines += ["NoNewPrivileges=true"] if "no-new-privileges" in options.security else []
    lines += [f"PidsLimit={options.pids}"] if options.pids else []
    lines += ["ReadOnly=true"] if options.read_only else []
    lines += [f"Tmpfs={place}" for place in options.tmpfs]
    lines += [_quadlet_mount(mount) for mount in options.mounts]
    lines += [f"Environment={_word(entry)}" for entry in options.env if "=" in entry]
    lines += [f"Secret={key_name},type=env,target={key_env}"] if key_env else []
    devices = list(options.devices)
    if options.uses_gpu and not any(device.startswith("nvidia.com/") for device in devices):
        devices.append(_CDI)  # Podman reaches the GPU by CDI only
    lines += [f"AddDevice={device}" for device in devices]
    lines += [f"GroupAdd={group}" for group in options.groups]
    lines += [f"ShmSize={options.shm}"] if options.shm else []
    lines += [f"User={options.user.partition(':')[0]}"] if options.user else []
    return "\n".join([*lines, "", "[Service]", "Restart=always", "", "[Install]", "WantedBy=default.target"])


def _for_podman(planned: Launch, options: _Options, secret: str) -> list[str]:
    """Comments: what Podman needs before it can start this."""
    copied = shlex.join(["podman", "pull", f"docker-daemon:{_tagged(planned.image)}"])
    lines = ["# Podman keeps images of its own; this copies the image from Docker's:", f"#   {copied}"]
    if options.uses_gpu:
        lines += ["# The GPU, once and after each update of the driver:"]
        lines += ["#   sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"]
    if secret:
        lines += ["# The key that clients must show:", f"#   printenv {secret} | podman secret create {secret} -"]
    return lines


def _tagged(image: str) -> str:
    """An image's name with the tag that docker assumes."""
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _systemd(options: _Options, planned: Launch, key_env: str, _key_name: str) -> str:
    """A unit that starts the container with docker and takes it away at its end."""
    name, secrets = planned.name, f"/etc/jetson-containers/{planned.name}.env"
    words = ["/usr/bin/docker", "run", "--rm", "--name", name, "--network", options.network]
    words += [word for mount in options.mounts for word in mount.argv]
    words += [word for entry in options.env if "=" in entry for word in ("--env", entry)]
    words += ["--env", key_env] if key_env else []
    words += [word for device in options.devices for word in ("--device", device)]
    words += [word for group in options.groups for word in ("--group-add", group)]
    repeated = {
        "--publish": options.ports, "--cap-drop": options.dropped, "--security-opt": options.security,
        "--tmpfs": options.tmpfs,
    }  # fmt: skip
    words += [word for flag, values in repeated.items() for value in values for word in (flag, value)]
    words += ["--read-only"] * options.read_only
    flags = {
        "--pids-limit": options.pids,
        "--runtime": options.runtime,
        "--gpus": "all" * options.gpus,
        "--shm-size": options.shm,
        "--user": options.user,
    }
    words += [word for flag, value in flags.items() if value for word in (flag, value)]
    words += [planned.image, *planned.command]
    lines = [f"# Save it as /etc/systemd/system/{name}.service, then:"]
    lines += [f"#   sudo systemctl daemon-reload && sudo systemctl enable --now {shlex.quote(name)}"]
    lines += [f"# It reads the key from {secrets} (mode 0600), a line {key_env}=…"] if key_env else []
    lines += ["[Unit]", f"Description={name}", "Requires=docker.service", "After=docker.service", "", "[Service]"]
    lines += [f"EnvironmentFile={secrets}"] if key_env else []
    lines += [f"ExecStartPre=-/usr/bin/docker rm --force {_word(name)}", "ExecStart=" + " ".join(map(_word, words))]
    lines += [f"ExecStop=/usr/bin/docker stop {_word(name)}", "Restart=always", "RestartSec=5"]
    return "\n".join([*lines, "TimeoutStartSec=0", "", "[Install]", "WantedBy=multi-user.target"])


def _kube(options: _Options, planned: Launch, key_env: str, key_name: str) -> str:
    """A pod for `podman kube play` or Kubernetes."""
    import yaml

    name = re.sub(r"[^a-z0-9-]+", "-", planned.name.lower()).strip("-")[:63].strip("-")
    volumes = [(f"v{number}", mount) for number, mount in enumerate(options.mounts)]
    container: dict[str, Any] = {
        "name": name,
        "image": podman_name(planned.image),
        "imagePullPolicy": "Never",
        "args": [word.replace("$(", "$$(") for word in planned.command],
        "env": [
            dict(zip(("name", "value"), entry.split("=", 1), strict=True)) for entry in options.env if "=" in entry
        ],
        "volumeMounts": [
            {"name": volume, "mountPath": mount.target, "readOnly": mount.readonly} for volume, mount in volumes
        ],
    }
    for entry in container["env"]:
        entry["value"] = entry["value"].replace("$(", "$$(")
    if key_env:
        secret = {"name": f"{name}-key", "key": key_name}
        container["env"].append({"name": key_env, "valueFrom": {"secretKeyRef": secret}})
    if options.uses_gpu:
        container["resources"] = {"limits": {_CDI: 1}}
    if security := _pod_security(options):
        container["securityContext"] = security
    if ports := [_pod_port(port) for port in options.ports]:
        container["ports"] = ports
    places = [{"name": volume, "hostPath": {"path": mount.source}} for volume, mount in volumes]
    pod: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "hostNetwork": options.network == "host", "restartPolicy": "Always", "containers": [container],
            "volumes": places,
        },
    }  # fmt: skip
    memory = {place.partition(":")[0]: "" for place in options.tmpfs}
    memory |= {"/dev/shm": options.shm} if options.shm else {}  # noqa: S108 - in the container
    for number, (path, size) in enumerate(memory.items()):
        limit = re.sub(r"([kmgKMG])[bB]?$", lambda unit: unit[1].upper() + "i", size)
        container["volumeMounts"].append({"name": f"memory{number}", "mountPath": path})
        kind = {"medium": "Memory"} | ({"sizeLimit": limit} if limit else {})
        places.append({"name": f"memory{number}", "emptyDir": kind})
    head = [*_for_podman(planned, options, "")]
    head += [f"# The key: a secret `{name}-key` with an entry `{key_name}`."] if key_env else []
    head += [f"# Save it as {name}.yaml, then: podman kube play {name}.yaml"]
    head += [f"# In Kubernetes the GPU is called `nvidia.com/gpu`, not `{_CDI}`."] if options.uses_gpu else []
    text: str = yaml.safe_dump(pod, sort_keys=False, width=120)
    return "\n".join([*head, text.rstrip()])


def _pod_security(options: _Options) -> dict[str, Any]:
    """What the container may not do, and as whom it runs."""
    user, _, group = options.user.partition(":")
    ids = {"runAsUser": user, "runAsGroup": group}
    chosen: dict[str, Any] = {key: int(value) for key, value in ids.items() if is_number(value)}
    if options.dropped:
        chosen["capabilities"] = {"drop": [name.upper() for name in options.dropped]}
    if "no-new-privileges" in options.security:
        chosen["allowPrivilegeEscalation"] = False
    if options.read_only:
        chosen["readOnlyRootFilesystem"] = True
    return chosen


def _pod_port(published: str) -> dict[str, Any]:
    """`[ADDRESS:]HOST:CONTAINER` of docker in words of a pod."""
    *address, outside, inside = published.rsplit(":", 2)
    found: dict[str, Any] = {"containerPort": int(inside), "hostPort": int(outside)}
    return found | ({"hostIP": address[0].strip("[]")} if address else {})


def _quadlet_mount(mount: Mount) -> str:
    """One key of the unit: `Volume=`, or for a path with a colon `Mount=`."""
    option, value = mount.argv
    return f"{'Mount' if option == '--mount' else 'Volume'}={_unexpanded(value)}"


def _word(text: str) -> str:
    """One word of a unit's command line (systemd.syntax(7)): quoted where needed, nothing in it expanded."""
    if _PLAIN.fullmatch(text):
        return _unexpanded(text)
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_unexpanded(escaped)}"'


def _unexpanded(text: str) -> str:
    """Specifiers (`%h`) and variables (`$HOME`) as the text they are."""
    return text.replace("%", "%%").replace("$", "$$")
