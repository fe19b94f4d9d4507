"""Which docker client to use and what it can do, found by asking each one on PATH rather than by its name.

Two clients can be installed side by side (a distribution's 20.10 with BuildKit inside, and a newer one without
buildx that cannot use BuildKit at all), and the first on PATH is not always the one that can build. Evidence for
the version rules: a client from 23.0 on needs the buildx plugin for BuildKit; before that BuildKit is inside.
"""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jetson_containers.core import json_text
from jetson_containers.core.errors import ConfigError, EngineMissingError, EnginePermissionError, NotReadyError
from jetson_containers.engine import cdi
from jetson_containers.engine.emulation import emulated_platforms
from jetson_containers.engine.interface import Builder, Capabilities, RunCapabilities
from jetson_containers.platforms.platform import MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

TIMEOUT = 60  # seconds an answer may take: a store of thousands of images on an SD card is slow
DEFAULT_SOCKET = "unix:///var/run/docker.sock"
BUILDKIT_NEEDS_PLUGIN_FROM = 23  # major version of the client
ORDER = {Builder.BUILDX: 0, Builder.BUILDKIT: 1, Builder.LEGACY: 2}
CHOICES = ("auto", "bake", "buildx", "buildkit", "legacy")
BAKE_FROM = (0, 13)  # version of buildx since which it reports by `--progress rawjson`
LINKS_FROM = 23  # major version of the engine since which one build can stand on another of the same command

_ADMIT = "sudo usermod -aG docker $USER && newgrp docker"
_INSTALL = "./install.sh installs one; by hand: sudo apt-get install docker.io"


@dataclass(frozen=True, kw_only=True)
class ProbeAnswer:
    """What a probing command said."""

    exit_code: int
    out: str
    err: str


def _ask(argv: Sequence[str], env: Mapping[str, str]) -> ProbeAnswer:
    try:
        done = subprocess.run(
            list(argv), env=dict(env), capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False,
            stdin=subprocess.DEVNULL, start_new_session=argv[0] != "sudo",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ProbeAnswer(exit_code=124, out="", err=f"`{' '.join(argv)}` did not answer within {TIMEOUT} s")
    except OSError as error:
        return ProbeAnswer(exit_code=127, out="", err=str(error))
    return ProbeAnswer(exit_code=done.returncode, out=done.stdout, err=done.stderr)


@dataclass(frozen=True, kw_only=True)
class ProbedHost:
    """What probing reads of this machine; tests make their own."""

    env: Mapping[str, str]
    uid: int
    interactive: bool  # whether sudo could ask for a password
    root: Path = Path("/")
    name: str = field(default_factory=lambda: os.uname().nodename)
    run: Callable[[Sequence[str], Mapping[str, str]], ProbeAnswer] = _ask

    def ask(self, argv: Sequence[str]) -> ProbeAnswer:
        """Run a probing command."""
        return self.run(argv, self.env)

    @classmethod
    def real(cls, env: Mapping[str, str] | None = None) -> ProbedHost:
        """This machine."""
        return cls(
            env=dict(os.environ if env is None else env),
            uid=os.geteuid(),
            interactive=sys.stdin is not None and sys.stdin.isatty(),
        )


@dataclass(frozen=True, kw_only=True)
class Client:
    """One docker client that reaches an engine. `builders` are those it can use, best first."""

    path: str
    version: str
    builders: tuple[Builder, ...]
    endpoint: str  # "unix:///var/run/docker.sock", "tcp://…", "ssh://…"
    context: str  # name of the docker context, which is also the name of its docker-driver builder
    sudo: bool
    server: Mapping[str, Any] = field(default_factory=dict)
    buildx: tuple[int, ...] = ()  # version of its plugin

    @property
    def bakes(self) -> bool:
        """Whether several linked stages can be built by one command."""
        return self.buildx >= BAKE_FROM and major(str(self.server.get("Version", ""))) >= LINKS_FROM


def probe(wanted: str = "auto", host: ProbedHost | None = None) -> tuple[Capabilities, Client]:
    """Choose a client. `wanted` is the setting `engine`.

    Raises EngineMissingError (nothing installed, or no daemon answers), EnginePermissionError (sudo is needed and
    cannot be had), NotReadyError (no client can build the wanted way), ConfigError (no such way).
    """
    host = host or ProbedHost.real()
    _check_wanted(wanted)
    paths = find_clients(host)
    if not paths:
        raise _no_client(host)
    found = [examine(path, host) for path in paths]
    clients = [client for client in found if isinstance(client, Client)]
    if not clients:
        raise next(failure for failure in found if isinstance(failure, NotReadyError))
    client, builder = choose(clients, wanted)
    return _capabilities(client, builder, host, bake=wanted in {"auto", "bake"} and client.bakes), client


def find_clients(host: ProbedHost) -> list[str]:
    """Every file called `docker` on PATH, in PATH order; one that several entries lead to is named once."""
    found: dict[Path, str] = {}
    for entry in host.env.get("PATH", os.defpath).split(os.pathsep):
        path = Path(entry or ".") / "docker"
        if _is_program(path):
            found.setdefault(path.resolve(), str(path))
    return list(found.values())


def _is_program(path: Path) -> bool:
    """Whether this user can execute a file; a directory of PATH that is closed to him has none."""
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except OSError:
        return False


def unprobed_client(host: ProbedHost) -> str | None:
    """The first client on PATH, where it can be used without probing; None where only probing tells.

    Not without probing: what may be Podman's, and a client that a docker context leads to another engine.
    """
    path = next(iter(find_clients(host)), None)
    if path is None or _is_podman_file(Path(path)) or _has_context(host.env):
        return None
    endpoint = host.env.get("DOCKER_HOST") or DEFAULT_SOCKET
    socket = host.root / endpoint.removeprefix("unix:///")
    return None if "podman" in endpoint or "podman" in os.path.realpath(socket) else path


def run_capabilities(path: str, host: ProbedHost) -> RunCapabilities | None:
    """Ask an unprobed client for what starting a container needs; None when it does not reach an engine."""
    info = _info([path], host)
    if not info.get("ServerVersion"):
        return None
    elsewhere = _is_elsewhere(host.env.get("DOCKER_HOST") or DEFAULT_SOCKET, info, host)
    return RunCapabilities(
        client=path,
        sudo=False,
        runtimes=_runtimes(info),
        cdi_devices=_cdi_devices(info, None if elsewhere else host.root),
        elsewhere=elsewhere,
    )


def may_be_elsewhere(env: Mapping[str, str]) -> bool:
    """Whether it takes a question to know that the engine is on this machine, as nearly all are."""
    return _has_context(env) or not (env.get("DOCKER_HOST") or DEFAULT_SOCKET).startswith("unix:")


def _is_elsewhere(endpoint: str, info: Mapping[str, Any], host: ProbedHost) -> bool:
    """Whether an engine is on another machine. Behind a port of this one may be a tunnel: its name tells."""
    if endpoint.startswith(("unix:", "npipe:")):
        return False
    try:
        address = urlsplit(endpoint).hostname or ""
        is_here = address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True
    return not is_here or info.get("Name") != host.name


def _is_podman_file(path: Path) -> bool:
    """Whether a client is the script or link that podman-docker installs."""
    try:
        with path.open("rb") as stream:
            start = stream.read(1024)
    except OSError:
        return True
    return path.resolve().name.startswith("podman") or (start.startswith(b"#!") and b"podman" in start)


def _has_context(env: Mapping[str, str]) -> bool:
    """Whether another docker context than the default one may be in use; DOCKER_HOST comes before all contexts."""
    if env.get("DOCKER_HOST"):
        return False
    folder = env.get("DOCKER_CONFIG") or os.path.join(env.get("HOME") or "/", ".docker")  # noqa: PTH118 - as docker
    try:
        data = _json((Path(folder) / "config.json").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        data = {}
    return (env.get("DOCKER_CONTEXT") or data.get("currentContext") or "default") != "default"


def examine(path: str, host: ProbedHost) -> Client | NotReadyError:
    """Ask one client for versions and builders; an error object when it reaches no engine."""
    prefix: list[str] = []
    answer = host.ask([path, "version", "--format", "{{json .}}"])
    if _denied(answer) and host.uid != 0:
        prefix = _sudo(host, path)
        if not prefix:
            return _no_permission(path, answer)
        answer = host.ask([*prefix, path, "version", "--format", "{{json .}}"])
    versions = _json(answer.out)
    if _is_podman(path, answer, host):
        return EngineMissingError(
            f"`{path}` is Podman, which cannot build here: builds rely on Docker",
            hint=f"{_INSTALL}; `./run.sh --podman IMAGE` starts an image with Podman",
        )
    server = versions.get("Server")
    endpoint, context = _endpoint(path, host)
    if answer.exit_code != 0 or not server:
        return _permission_or_daemon(path, answer, endpoint, host)
    version = str(versions.get("Client", {}).get("Version", ""))
    buildx = _buildx([*prefix, path], host)
    return Client(
        path=path,
        version=version,
        builders=_builders(version, buildx),
        endpoint=endpoint,
        context=context,
        sudo=bool(prefix),
        server=server,
        buildx=buildx or (),
    )


def choose(clients: Sequence[Client], wanted: str) -> tuple[Client, Builder]:
    """Pick the client with the best builder, PATH order deciding between equals; `wanted` limits the builders."""
    allowed = {
        "auto": set(Builder),
        "buildkit": {Builder.BUILDKIT, Builder.BUILDX},
        "bake": {Builder.BUILDX},
        "buildx": {Builder.BUILDX},
        "legacy": {Builder.LEGACY},
    }[wanted]
    ways = [(client, builder) for client in clients for builder in client.builders if builder in allowed]
    if wanted == "bake":
        ways = [way for way in ways if way[0].bakes]
    if not ways:
        names = ", ".join(f"`{client.path}` ({client.version})" for client in clients)
        if wanted == "bake":
            version = clients[0].server.get("Version", "?")
            raise NotReadyError(
                f"no docker client here can build with bake, which takes engine {LINKS_FROM} (here: {version}) and"
                f" buildx {'.'.join(map(str, BAKE_FROM))}: {names}",
                hint="update Docker with its buildx plugin, or use --engine auto",
            )
        raise NotReadyError(
            f"no docker client here can build with {wanted}: {names}",
            hint="sudo apt-get install docker-buildx (or docker-buildx-plugin), or use --engine auto",
        )
    if wanted == "buildkit":  # the one inside the client, when there is one, was asked for by its name
        return min(ways, key=lambda way: way[1] is not Builder.BUILDKIT)
    return min(ways, key=lambda way: (ORDER[way[1]], wanted == "auto" and not way[0].bakes))


def major(version: str) -> int:
    """Read the first number of a version, 0 when there is none."""
    match = re.match(r"v?([0-9]+)", version)
    return int(match.group(1)) if match else 0


def _check_wanted(wanted: str) -> None:
    if wanted not in CHOICES:
        raise ConfigError(f"unknown builder `{wanted}`", hint=f"--engine takes {', '.join(CHOICES)}")


def _buildx(command: Sequence[str], host: ProbedHost) -> tuple[int, ...] | None:
    """The version of the buildx plugin; empty when it does not say, None without one."""
    answer = host.ask([*command, "buildx", "version"])
    if answer.exit_code != 0 or "buildx" not in answer.out:
        return None
    found = re.search(r"\bv?([0-9]+)\.([0-9]+)\.([0-9]+)", answer.out)
    return tuple(map(int, found.groups())) if found else ()


def _builders(version: str, buildx: tuple[int, ...] | None) -> tuple[Builder, ...]:
    found = [Builder.BUILDX] if buildx is not None else []
    if 18 <= major(version) < BUILDKIT_NEEDS_PLUGIN_FROM:
        found.append(Builder.BUILDKIT)
    return (*found, Builder.LEGACY)


def _capabilities(client: Client, builder: Builder, host: ProbedHost, *, bake: bool) -> Capabilities:
    prefix = ["sudo"] if client.sudo else []
    info = _info([*prefix, client.path], host)
    architecture = str(info.get("Architecture") or client.server.get("Arch", ""))
    elsewhere = _is_elsewhere(client.endpoint, info, host)
    machine = MACHINES.get(architecture, architecture)
    native = "linux/arm64" if machine == "aarch64" else "linux/amd64"
    emulated = () if elsewhere else emulated_platforms(host.root)
    return Capabilities(
        client=client.path,
        client_version=client.version,
        server_version=str(client.server.get("Version", "")),
        api_version=str(client.server.get("ApiVersion", "")),
        builder=builder,
        sudo=client.sudo,
        runtimes=_runtimes(info),
        cdi_devices=_cdi_devices(info, None if elsewhere else host.root),
        elsewhere=elsewhere,
        storage_driver=str(info.get("Driver", "")),
        data_root=str(info.get("DockerRootDir", "")),
        architecture=machine,
        platforms=tuple(dict.fromkeys((native, *emulated))),
        buildx=client.buildx if builder is Builder.BUILDX else (),
        bake=bake and builder is Builder.BUILDX,
    )


def _info(command: Sequence[str], host: ProbedHost) -> dict[str, Any]:
    return _json(host.ask([*command, "info", "--format", "{{json .}}"]).out)


def _runtimes(info: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(info.get("Runtimes") or ()))


def _cdi_devices(info: Mapping[str, Any], root: Path | None) -> tuple[str, ...]:
    """Engine 28.3 lists them; before that (from 25) it only says where their specifications are."""
    listed = [str(entry.get("ID", "")) for entry in info.get("DiscoveredDevices") or () if entry.get("Source") == "cdi"]
    if listed or root is None:
        return tuple(sorted(listed))
    return cdi.devices_of([str(directory) for directory in info.get("CDISpecDirs") or ()], root)


def _endpoint(path: str, host: ProbedHost) -> tuple[str, str]:
    """Resolve where this client talks to: DOCKER_HOST, else the context in use (which it alone knows)."""
    if chosen := host.env.get("DOCKER_HOST"):
        return chosen, "default"
    answer = host.ask([path, "context", "inspect", "--format", "{{.Name}} {{.Endpoints.docker.Host}}"])
    name, _, endpoint = answer.out.strip().partition(" ")
    return (endpoint, name) if answer.exit_code == 0 and endpoint else (DEFAULT_SOCKET, "default")


def _sudo(host: ProbedHost, path: str) -> list[str]:
    """`sudo` when it works without a password, or when somebody is there to type one."""
    if host.ask(["sudo", "-n", path, "version", "--format", "{{json .Client}}"]).exit_code == 0:
        return ["sudo"]
    if host.interactive and host.ask(["sudo", "-V"]).exit_code == 0:
        return ["sudo"]
    return []


def _denied(answer: ProbeAnswer) -> bool:
    return answer.exit_code != 0 and "permission denied" in (answer.out + answer.err).lower()


def _is_podman(path: str, answer: ProbeAnswer, host: ProbedHost) -> bool:
    """Distinguish the `docker` that podman-docker installs, and a Docker client that talks to Podman's socket."""
    if "podman" in (answer.out + answer.err).lower():
        return True
    return answer.exit_code != 0 and "podman" in host.ask([path, "--version"]).out.lower()


def _permission_or_daemon(path: str, answer: ProbeAnswer, endpoint: str, host: ProbedHost) -> NotReadyError:
    if _denied(answer):
        return _no_permission(path, answer)
    said = (answer.err or answer.out).strip().splitlines()
    detail = said[-1] if said else f"exit code {answer.exit_code}"
    if answer.exit_code < 0 or answer.exit_code in {126, 127} or answer.exit_code > 128:  # not a word of docker's own
        return EngineMissingError(
            f"`{path}` does not work",
            hint="reinstall it (sudo apt-get install --reinstall docker.io), or remove it from PATH",
            details=(detail,),
        )
    if "is too old" in detail:
        return EngineMissingError(
            f"the Docker client `{path}` is too old for the engine at {endpoint}",
            hint="update the client: sudo apt-get install --only-upgrade docker-ce-cli (or docker.io)",
            details=(detail,),
        )
    context = host.env.get("DOCKER_CONTEXT", "")
    if context and "context" in detail and "not found" in detail.lower():
        return EngineMissingError(f"docker has no context `{context}` ($DOCKER_CONTEXT)", hint="docker context ls")
    if endpoint != DEFAULT_SOCKET:
        origin = "$DOCKER_HOST" if host.env.get("DOCKER_HOST") else "the docker context"
        return EngineMissingError(
            f"no Docker engine answers at {endpoint} ({origin})",
            hint="start that engine, or unset DOCKER_HOST and DOCKER_CONTEXT to use this machine's own",
            details=(detail,),
        )
    return EngineMissingError(
        f"Docker is installed (`{path}`), but its daemon does not answer",
        hint=start_hint(host),
        details=(detail,),
    )


def start_hint(host: ProbedHost) -> str:
    """Say how to start the daemon on this machine, with or without systemd."""
    sudo = "" if host.uid == 0 else "sudo "
    if (host.root / "run/systemd/system").is_dir():
        start = f"{sudo}systemctl start docker"
    elif (host.root / "etc/init.d/docker").exists():
        start = f"{sudo}service docker start"
    else:
        start = f"{sudo}sh -c 'dockerd >/var/log/dockerd.log 2>&1 &'"
    return f"{start} (or ./install.sh, which installs what is missing and starts it)"


def _no_client(host: ProbedHost) -> NotReadyError:
    for entry in host.env.get("PATH", os.defpath).split(os.pathsep):
        podman = Path(entry or ".") / "podman"
        if _is_program(podman):
            return EngineMissingError(
                f"no `docker` on PATH; `{podman}` is there, but Podman cannot build here",
                hint=f"{_INSTALL}; `./run.sh --podman IMAGE` starts an image with Podman",
            )
    return EngineMissingError("no container engine: there is no `docker` on PATH", hint=_INSTALL)


def _no_permission(path: str, answer: ProbeAnswer) -> EnginePermissionError:
    said = (answer.err or answer.out).strip().splitlines()
    return EnginePermissionError(
        f"this user is not allowed to use the Docker engine (`{path}`), and sudo needs a password here",
        hint=_ADMIT,
        details=said[-1:],
    )


def _json(text: str) -> dict[str, Any]:
    try:
        data = json_text.parse(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
