"""Checks of the container engine: does it answer, can it build, where does it store, what is left over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from jetson_containers.core import json_text
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import ConfigError, JetsonError
from jetson_containers.doctor.disk_checks import medium_finding, space_finding
from jetson_containers.doctor.types import CheckDefinition, Finding, fail, note, ok, read, skip, warn
from jetson_containers.engine import bridge, emulation
from jetson_containers.host import daemon_config

if TYPE_CHECKING:
    from jetson_containers.doctor.types import DoctorContext
    from jetson_containers.engine.interface import Capabilities

OLDEST_API = "1.41"  # of Docker 20.10, the oldest engine that is tested
MUCH_CACHE = 30_000_000_000  # bytes that can be freed
MANY_CONTAINERS = 10


def _engine(context: DoctorContext) -> Finding:
    try:
        found = context.engine().capabilities
    except JetsonError as error:
        return fail(error.message, error.hint or "./install.sh")
    text = f"docker {found.server_version} (API {found.api_version}) through `{found.client}` {found.client_version}"
    text += ", on another machine" if found.elsewhere else ""
    if _is_older(found.api_version, OLDEST_API):
        return warn(text, "./install.sh  # with Docker 20.10 or newer")
    if found.data_root.startswith(daemon_config.SNAP_DATA):
        text += "; it comes from snap, which sees only what is below /home, and has no NVIDIA runtime"
        return warn(text, "sudo snap remove docker && ./install.sh  # its images go with it")
    return ok(text + (", with sudo" if found.sudo else ""))


def _is_older(version: str, oldest: str) -> bool:
    try:
        return Version(version) < Version(oldest)
    except InvalidVersion:
        return False  # the engine did not say


def _group(context: DoctorContext) -> Finding:
    """Membership counts from the next login on: who belongs by the file alone still needs sudo.

    Who reaches an engine without it (one without root, one on another machine) needs no membership.
    """
    import grp
    import os

    if context.user == 0:
        return ok("root needs no group")
    try:
        group = grp.getgrnam("docker")
    except KeyError:
        return skip("there is no group docker on this machine")
    if group.gr_gid in {os.getegid(), *os.getgroups()}:
        return ok("you are in the group docker")
    if _answers_without_sudo(context):
        return ok("the engine answers you without the group docker")
    return note("you are not in the group docker", 'sudo usermod -aG docker "$USER" && newgrp docker', "docker-group")


def _answers_without_sudo(context: DoctorContext) -> bool:
    try:
        return not context.engine().capabilities.sudo
    except JetsonError:
        return False


def _builder(_context: DoctorContext, found: Capabilities) -> Finding:
    if found.mounts:
        version = f" {'.'.join(map(str, found.buildx))}" if found.buildx else ""
        return ok(f"{found.builder.value}{version}{', several stages at once (bake)' if found.bake else ''}")
    remedy = "sudo apt-get install docker-buildx  # of Docker's own packages: docker-buildx-plugin"
    return warn("only the legacy builder, which has no `RUN --mount`", remedy)


def _storage(_context: DoctorContext, found: Capabilities) -> Finding:
    if found.storage_driver == "vfs":
        return warn(
            "vfs: every layer is a full copy",
            "jetson-containers setup data-root  # to a disk with ext4 or xfs, which overlay2 works on",
        )
    return ok(found.storage_driver)


def _disk(_context: DoctorContext, found: Capabilities) -> Finding:
    return space_finding(Path(found.data_root), "setting data-root of docker", "data-root")


def _medium(context: DoctorContext, found: Capabilities) -> Finding:
    return medium_finding(context, found.data_root, "jetson-containers setup data-root", "data-root")


def _iptables(context: DoctorContext, found: Capabilities) -> Finding:
    """Docker 28 wants iptables' raw table, which stock L4T kernels up to 36.4.3 lack (moby issue 49557)."""
    try:
        wants = bridge.wants_raw_table(context.platform(), found.server_version)
    except JetsonError:
        wants = None
    if wants is None:
        return skip("the platform or the engine's version is unknown")
    if not wants:
        return ok(f"this kernel has what docker {found.server_version} needs")
    if bridge.has_raw_module(context.root):
        return ok("the kernel has the module iptable_raw")
    remedy = "take Docker 27.5.1, or L4T 36.4.4; DOCKER_INSECURE_NO_IPTABLES_RAW=1 for dockerd is less isolated"
    return warn(f"docker {found.server_version} on this kernel may start nothing", remedy)


def _emulation(context: DoctorContext, found: Capabilities) -> Finding:
    other = "linux/amd64" if found.architecture == "aarch64" else "linux/arm64"
    if emulation.runs(other, found.platforms) or other in emulation.emulated_platforms(context.root):
        return ok(f"{other} runs here by emulation")
    return note(f"{other} does not run here", emulation.remedy(other, context.root))


def _command(found: Capabilities, *words: str) -> list[str]:
    return [*(["sudo", "-n"] if found.sudo else []), found.client, *words]


def _containers(context: DoctorContext, found: Capabilities) -> Finding:
    shown = context.ask(_command(found, "ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"))
    names = shown.split()
    if len(names) <= MANY_CONTAINERS:
        return ok(f"{len(names)} stopped containers")
    return note(f"{len(names)} stopped containers, such as {', '.join(names[:3])}", "docker container prune")


def _cache(context: DoctorContext, found: Capabilities) -> Finding:
    shown = context.ask(_command(found, "system", "df", "--format", "{{json .}}"))
    rows = [json_text.parse(line) for line in shown.splitlines() if line.startswith("{")]
    text = ", ".join(f"{row['Type'].lower()} {row['Size']} ({row['Reclaimable']} unused)" for row in rows)
    caches = [row for row in rows if row["Type"] == "Build Cache"]
    if any(_bytes(row["Reclaimable"]) > MUCH_CACHE for row in caches):
        return note(text, "jetson-containers df, then docker builder prune")
    return ok(text or "the engine does not say")


def _bytes(text: str) -> float:
    units = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    number = text.split(" ", maxsplit=1)[0]
    unit = number.lstrip("0123456789.")
    return float(number.removesuffix(unit) or 0) * units.get(unit, 1)


def _log_size(context: DoctorContext, found: Capabilities) -> Finding:
    """Docker's logs of containers grow without end unless its configuration limits them."""
    try:
        options = daemon_config.parse(daemon_text(context, found))
    except ConfigError:
        return skip("the engine's configuration cannot be read")
    driver = options.get("log-driver", "json-file")
    if driver in {"local", "journald", "none"} or "max-size" in options.get("log-opts", {}):
        return ok(f"log driver {driver}, limited")
    logs = list((context.root / found.data_root.lstrip("/")).glob("containers/*/*.log")) if context.is_here else []
    size = f", {human_bytes(sum(path.stat().st_size for path in logs))} now" if logs else ""
    return note(f"logs of containers grow without limit{size}", "jetson-containers setup log-rotation", "log-rotation")


def daemon_text(context: DoctorContext, found: Capabilities) -> str:
    """The text of the configuration that this engine reads; empty where there is none."""
    place = daemon_config.place_of(found.data_root, context.settings.env.get("HOME", "/root"))
    return read(context.root / place.lstrip("/"))


def _configuration(context: DoctorContext) -> Finding:
    """Looked at without an engine, since it does not start with a broken one."""
    text = read(context.root / daemon_config.PLACE.lstrip("/"))
    try:
        options = daemon_config.parse(text)
    except ConfigError as error:
        return fail(error.message, error.hint or f"python3 -m json.tool {daemon_config.PLACE}")
    return ok(f"{daemon_config.PLACE} sets {', '.join(sorted(options))}" if options else "the engine's defaults hold")


CHECKS = (
    CheckDefinition(name="engine", why="Without an engine nothing is built or run.", look=_engine, limit=40),
    CheckDefinition(
        name="engine settings", why="With a broken configuration the engine does not start.", look=_configuration
    ),
    CheckDefinition(
        name="docker group",
        why="Members use docker without sudo; they have root's rights by it.",
        look=_group,
        limit=40,
    ),
    CheckDefinition(
        name="builder",
        why="The legacy builder copies secrets and certificates into layers, and builds one stage at a time.",
        look_at_engine=_builder,
        anywhere=True,
    ),
    CheckDefinition(
        name="storage driver",
        why="vfs needs many times the space and time of overlay2.",
        look_at_engine=_storage,
        anywhere=True,
    ),
    CheckDefinition(
        name="engine disk", why="An image for LLMs has 5 to 15 GB, and a build needs it twice.", look_at_engine=_disk
    ),
    CheckDefinition(
        name="engine medium",
        why="On an SD card pulling and building take many times longer, and it wears out.",
        look_at_engine=_medium,
    ),
    CheckDefinition(
        name="iptables", why="Docker 28 needs a kernel module that older kernels of L4T lack.", look_at_engine=_iptables
    ),
    CheckDefinition(
        name="emulation", why="With it images for a Jetson are built and tested on a PC.", look_at_engine=_emulation
    ),
    CheckDefinition(
        name="stopped containers",
        why="Each keeps its image and its own layer.",
        look_at_engine=_containers,
        anywhere=True,
    ),
    CheckDefinition(
        name="engine use", why="Build caches fill the disk unseen.", look_at_engine=_cache, anywhere=True, limit=20
    ),
    CheckDefinition(
        name="container logs", why="One server that prints much can fill the disk.", look_at_engine=_log_size
    ),
)
