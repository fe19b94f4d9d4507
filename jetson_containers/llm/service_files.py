"""A planned server as a compose file or a quadlet (Podman's systemd unit), which survive a reboot."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.launch.parts import Mount

if TYPE_CHECKING:
    from jetson_containers.launch.command import Launch

# Places in the container of a terminal's or session's own things, which are not there after a reboot.
_SESSION = ("/tmp/", "/run/user/")  # noqa: S108 - compared only
_PLAIN = re.compile(r"[\w@%+=:,./-]+")


def generate(kind: str, planned: Launch, key_env: str = "", key_name: str = "", *, gpu: bool = False) -> str:
    """Write the file; `kind` is "compose" or "quadlet".

    `gpu`: the platform has one, so the file asks for it also where the engine that planned it (a PC's) has none.

    Secrets stay references: the server finds its key in `key_env`, the user keeps it under `key_name`.
    """
    options = _Options.of(planned)
    options = options.with_gpu() if gpu else options
    write = _quadlet if kind == "quadlet" else _compose
    return write(options, planned, key_env, key_name or key_env)


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
        known = {mount.argv[1] for mount in planned.mounts}
        own = [_mount(volume) for volume in line.values("volume") if volume not in known]
        lasting = [mount for mount in (*planned.mounts, *own) if not mount.volatile]
        return cls(
            mounts=tuple(mount for mount in lasting if not mount.target.startswith(_SESSION)),
            env=tuple(line.values("env")), devices=tuple(line.values("device")), runtime=line.last("runtime") or "",
            gpus=bool(line.values("gpus")), network=line.last("network") or "host", shm=line.last("shm-size") or "",
            user=line.last("user") or "", groups=tuple(line.values("group-add")), ports=tuple(line.values("publish")),
            dropped=tuple(line.values("cap-drop")), security=tuple(line.values("security-opt")),
            pids=line.last("pids-limit") or "", read_only=line.is_on("read-only"), tmpfs=tuple(line.values("tmpfs")),
        )  # fmt: skip

    def with_gpu(self) -> _Options:
        """The same with NVIDIA's runtime, where nothing asks for a GPU yet."""
        if self.runtime or self.gpus or any(device.startswith("nvidia.com/") for device in self.devices):
            return self
        visible = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all")
        return replace(self, runtime="nvidia", env=(*self.env, *visible))


def _mount(volume: str) -> Mount:
    source, target, *flags = volume.split(":")
    return Mount(source=source, target=target, readonly="ro" in flags)


def _compose(options: _Options, planned: Launch, key_env: str, key_name: str) -> str:
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
    service = _literal(service | {key: value for key, value in further.items() if value})
    if key_env:
        service["environment"].append(f"{key_env}=${{{key_name}:?set it in the environment or in .env}}")
    if options.gpus:
        reservation = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [reservation]}}}
    text: str = yaml.safe_dump({"services": {planned.name: service}}, sort_keys=False, width=120)
    return "# docker compose up -d\n" + text.rstrip()


def _literal(value: Any) -> Any:
    """Text in which compose puts in no variables."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def _quadlet(options: _Options, planned: Launch, key_env: str, key_name: str) -> str:
    lines = [
        "# ~/.config/containers/systemd/" + planned.name + ".container, then: systemctl --user daemon-reload",
        "[Unit]",
        f"Description={planned.name}",
        "",
        "[Container]",
        f"Image={planned.image}",
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
    if (options.runtime == "nvidia" or options.gpus) and not devices:
        devices.append("nvidia.com/gpu=all")  # Podman reaches the GPU by CDI only
    lines += [f"AddDevice={device}" for device in devices]
    lines += [f"GroupAdd={group}" for group in options.groups]
    lines += [f"ShmSize={options.shm}"] if options.shm else []
    lines += [f"User={options.user.partition(':')[0]}"] if options.user else []
    return "\n".join([*lines, "", "[Service]", "Restart=always", "", "[Install]", "WantedBy=default.target"])


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
