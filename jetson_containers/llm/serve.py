"""Serve a prepared model: in the foreground, detached, or as a compose file or quadlet that survives a reboot."""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.errors import NotReadyError, StepError, UsageError
from jetson_containers.llm import container
from jetson_containers.llm import prepare as preparing
from jetson_containers.llm import session as sessions
from jetson_containers.llm.openai import Client
from jetson_containers.runtimes.base import ServeOptions

if TYPE_CHECKING:
    from jetson_containers.launch import Launch
    from jetson_containers.llm.prepare import Prepared, World
    from jetson_containers.llm.request import Request

DEFAULT_PORT = 8080
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ServeRequest:
    """Where to listen and how. `port` 0: 8080, or the next free one. `api_key_env` names the variable with the key."""

    port: int = 0
    host: str = "127.0.0.1"
    detach: bool = False
    name: str = ""
    generate: str = ""  # "compose" or "quadlet"
    api_key_env: str = ""


@dataclass(frozen=True)
class Served:
    """A server that runs. `health` and `url` answer on this machine."""

    name: str
    url: str
    health: str
    model: str
    image: str
    runtime: str


def serve(request: Request, wanted: ServeRequest, world: World, *, dry_run: bool = False) -> Served | None:
    """Prepare, start, say when it answers. In the foreground until Ctrl-C, whose end is no error.

    Raises UsageError for a port that is taken, NotReadyError for a key that is not set, else as `prepare`.
    """
    key = _key(wanted, world)
    _check_port(wanted, dry_run=dry_run)  # before the hours that a model may take
    prepared = preparing.prepare(request, world, dry_run=dry_run)
    _check_port(wanted, dry_run=dry_run)
    port = wanted.port or (DEFAULT_PORT if dry_run else next_free(wanted.host))
    options = ServeOptions(port, wanted.host, request.threads, api_key=bool(wanted.api_key_env))
    service = prepared.runtime.serve(prepared.job, options)
    if dry_run or prepared.containers is None:
        preparing.show(prepared, service.argv, world.console)
        return None
    if wanted.host not in _LOOPBACK and not wanted.api_key_env:
        world.console.warning(
            f"everybody who reaches {wanted.host}:{port} can use this server", "--api-key-env NAME asks for a key"
        )
    name = wanted.name or f"jetson-llm-{prepared.runtime.name}-{port}"
    planned = prepared.containers.server(service, name=name, detach=wanted.detach or bool(wanted.generate), api_key=key)
    if wanted.generate:
        gpu = prepared.containers.platform.has_gpu
        world.console.result(generate(wanted.generate, planned, service.key_env if key else "", gpu=gpu))
        return None
    if wanted.name or not wanted.detach:  # a detached server of ours on the same port is replaced
        _check_name(planned)
    address = "127.0.0.1" if wanted.host in {"0.0.0.0", "::", ""} else wanted.host  # noqa: S104 - compared, not bound
    served = Served(
        name, f"http://{address}:{port}/v1", f"http://{address}:{port}{service.health}", service.model,
        prepared.containers.image, prepared.runtime.name,
    )  # fmt: skip
    client = Client(address, port, service.model, key)
    if wanted.detach:
        _detach(planned, client, service.health, world)
    else:
        _foreground(planned, client, service.health, served, prepared, world)
    return served


def _check_port(wanted: ServeRequest, *, dry_run: bool) -> None:
    """Raise UsageError for a port that is taken; a service file may be for another machine, or for later."""
    if wanted.port and not dry_run and not wanted.generate and not _is_free(wanted.host, wanted.port):
        raise UsageError(f"port {wanted.port} is taken", hint="`--port 0` takes the next free one from 8080 on")


def _check_name(planned: Launch) -> None:
    """Raise UsageError for the name of a container that is there: ending ours would remove it, whosever it is."""
    if container.docker(planned, "ps", "--all", "--quiet", "--filter", f"name=^/?{re.escape(planned.name)}$").strip():
        raise UsageError(
            f"a container `{planned.name}` is there already",
            hint=f"another --name, or, if it is not needed: docker rm -f {planned.name}",
        )


def next_free(host: str) -> int:
    """The first port from 8080 on that nobody listens on; raises NotReadyError after a hundred."""
    for port in range(DEFAULT_PORT, DEFAULT_PORT + 100):
        if _is_free(host, port):
            return port
    raise NotReadyError(f"no free port from {DEFAULT_PORT} to {DEFAULT_PORT + 99}", hint="--port N")


def generate(kind: str, planned: Launch, key_env: str = "", *, gpu: bool = False) -> str:
    """A compose file or a quadlet (Podman's systemd unit) of a planned container; secrets stay references.

    `gpu`: the platform has one, so the file asks for it also where the engine that planned it (a PC's) has no GPU.
    """
    options = _Options.of(planned)
    if gpu:
        options = options.with_gpu()
    if kind == "quadlet":
        return _quadlet(options, planned, key_env)
    return _compose(options, planned, key_env)


@dataclass(frozen=True)
class _Options:
    """The options of a docker command line that a service file must say in its own words."""

    volumes: tuple[str, ...]
    env: tuple[str, ...]
    devices: tuple[str, ...]
    runtime: str
    gpus: bool
    network: str
    shm: str
    user: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, planned: Launch) -> _Options:
        from jetson_containers import dockerargs  # noqa: PLC0415 - only for service files

        line = dockerargs.parse(planned.argv[planned.argv.index("run") + 1 :])
        # A terminal's or session's own things are not there after a reboot.
        volumes = tuple(
            volume
            for volume in line.values("volume")
            if not volume.split(":")[1].startswith(("/tmp/", "/run/user/"))  # noqa: S108 - places in the container
        )
        return cls(
            volumes, tuple(line.values("env")), tuple(line.values("device")), line.last("runtime") or "",
            bool(line.values("gpus")), line.last("network") or "host", line.last("shm-size") or "",
            line.last("user") or "", tuple(line.values("group-add")),
        )  # fmt: skip

    def with_gpu(self) -> _Options:
        """The same with NVIDIA's runtime, where nothing asks for a GPU yet."""
        if self.runtime or self.gpus or any(device.startswith("nvidia.com/") for device in self.devices):
            return self
        visible = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=all")
        return replace(self, runtime="nvidia", env=(*self.env, *visible))


def _compose(options: _Options, planned: Launch, key_env: str) -> str:
    import yaml  # noqa: PLC0415 - start-up time

    service: dict[str, Any] = {
        "image": planned.image,
        "container_name": planned.name,
        "command": [word.replace("$", "$$") for word in planned.command],
        "restart": "unless-stopped",
        "network_mode": options.network,
        "volumes": list(options.volumes),
        "environment": [entry for entry in options.env if "=" in entry],
    }
    if key_env:
        service["environment"].append(f"{key_env}=${{{key_env}:?set it in the environment or in .env}}")
    further: dict[str, Any] = {
        "shm_size": options.shm,
        "user": options.user,
        "runtime": options.runtime,
        "devices": list(options.devices),
        "group_add": list(options.groups),
    }
    service |= {key: value for key, value in further.items() if value}
    if options.gpus:
        reservation = {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [reservation]}}}
    text: str = yaml.safe_dump({"services": {planned.name: service}}, sort_keys=False, width=120)
    return "# docker compose up -d\n" + text.rstrip()


def _quadlet(options: _Options, planned: Launch, key_env: str) -> str:
    lines = [
        "# ~/.config/containers/systemd/" + planned.name + ".container, then: systemctl --user daemon-reload",
        "[Unit]",
        f"Description={planned.name}",
        "",
        "[Container]",
        f"Image={planned.image}",
        f"ContainerName={planned.name}",
        "Exec=" + shlex.join(word.replace("%", "%%") for word in planned.command),
        f"Network={options.network}",
    ]
    lines += [f"Volume={volume}" for volume in options.volumes]
    lines += [f"Environment={shlex.quote(entry)}" for entry in options.env if "=" in entry]
    lines += [f"Secret={key_env},type=env,target={key_env}"] if key_env else []
    devices = list(options.devices)
    if (options.runtime == "nvidia" or options.gpus) and not devices:
        devices.append("nvidia.com/gpu=all")  # Podman reaches the GPU by CDI only
    lines += [f"AddDevice={device}" for device in devices]
    lines += [f"GroupAdd={group}" for group in options.groups]
    lines += [f"ShmSize={options.shm}"] if options.shm else []
    lines += [f"User={options.user.partition(':')[0]}"] if options.user else []
    return "\n".join([*lines, "", "[Service]", "Restart=always", "", "[Install]", "WantedBy=default.target"])


def _detach(planned: Launch, client: Client, health: str, world: World) -> None:
    container.docker(planned, "rm", "--force", planned.name)
    environment = {**container.without_tokens(os.environ), **planned.env_additions}
    done = subprocess.run(
        planned.argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise StepError("the server did not start", details=done.stderr.strip().splitlines()[-5:])
    with subprocess.Popen(
        [*planned.argv[: planned.argv.index("run")], "wait", planned.name],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as waiting:  # fmt: skip
        log = container.log_of(world.settings, planned.name)
        try:
            sessions.wait_until_ready(client, health, waiting, log)
        except StepError:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(_logs_of(planned), encoding="utf-8")
            container.docker(planned, "rm", "--force", planned.name)
            raise sessions.server_failed(1, log) from None
        finally:
            waiting.terminate()
    log.unlink(missing_ok=True)  # the engine keeps what the server says from here on
    world.console.ok(f"serving; `docker logs -f {planned.name}` shows its log, `docker rm -f {planned.name}` ends it")


def _logs_of(planned: Launch) -> str:
    client = planned.argv[: planned.argv.index("run")]
    done = subprocess.run(
        [*client, "logs", planned.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", check=False,
    )  # fmt: skip
    return done.stdout


def _foreground(planned: Launch, client: Client, health: str, served: Served, prepared: Prepared, world: World) -> None:
    log = container.log_of(world.settings, planned.name)
    with container.running(planned, log) as process:
        sessions.wait_until_ready(client, health, process, log)
        world.console.ok(f"{prepared.title} at {served.url} (model `{served.model}`); Ctrl-C ends it")
        if not world.console.as_json:
            world.console.result(served.url)
            sys.stdout.flush()
        try:
            process.wait()
        except KeyboardInterrupt:
            world.console.info("ended")
            return
    raise sessions.server_failed(process.returncode, log)


def _key(wanted: ServeRequest, world: World) -> str:
    if not wanted.api_key_env:
        return ""
    value = {**world.settings.env, **os.environ}.get(wanted.api_key_env, "")
    if not value:
        raise NotReadyError(
            f"the variable {wanted.api_key_env} that should hold the server's key is empty",
            hint=f"export {wanted.api_key_env}=…  (for instance: {secrets.token_urlsafe(8)}…, longer)",
        )
    return value


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host in {"0.0.0.0", "::"} else "127.0.0.1", port))  # noqa: S104 - compared; bound to see
        except OSError:
            return False
    return True
