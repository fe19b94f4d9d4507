"""Checks of what is reached over the network: names, registries, package index, hub, proxy, clock, token."""

from __future__ import annotations

import os
import socket
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from jetson_containers.core.errors import JetsonError
from jetson_containers.doctor.types import CheckDefinition, Finding, bare_command, fail, ok, skip, warn
from jetson_containers.hub.transfer import credentials
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.registry.types import ClockError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.doctor.types import DoctorContext

OFFLINE = "offline mode"
HUB = "https://huggingface.co"
INDEX = "https://pypi.org/simple/"
REGISTRY_HOSTS = {"docker.io": "registry-1.docker.io"}
BUILT = 1_735_689_600  # 2025-01-01: a clock before it was never set
OFF = 300  # seconds; signatures and certificates fail with more


def _online(look: Callable[[DoctorContext], Finding]) -> Callable[[DoctorContext], Finding]:
    def checked(context: DoctorContext) -> Finding:
        return skip(OFFLINE) if context.settings["offline"] else look(context)

    return checked


def _reached(context: DoctorContext, url: str, purpose: str) -> Finding:
    host = urlsplit(url).netloc.rpartition("@")[2] if _is_url(url) else ""
    if not host:
        return warn(f"{purpose}: `{url}` is not an address", "write it with its scheme: https://HOST/")
    try:
        context.reach(url)
    except JetsonError as error:
        return warn(f"{purpose}: {error.message.removeprefix('registry ')}", _network_remedy(context, host))
    return ok(f"{host} answers")


def _is_url(text: str) -> bool:
    try:
        return urlsplit(text).scheme in {"http", "https"}
    except ValueError:
        return False


def _network_remedy(context: DoctorContext, host: str) -> str:
    proxied = any(context.settings.env.get(name) for name in ("https_proxy", "HTTPS_PROXY"))
    test = bare_command("curl", "-I", f"https://{host}/")
    return f"{test}; behind a proxy: export https_proxy=http://HOST:PORT" if not proxied else f"{test}; check the proxy"


def _dns(context: DoctorContext) -> Finding:
    url = _index_url(context)
    host = (urlsplit(url).hostname if _is_url(url) else None) or "pypi.org"
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        if _proxy(context):
            return ok(f"{host} cannot be resolved here; the proxy resolves names")
        return warn(f"{host} cannot be resolved: {error.strerror or error}", "resolvectl status; cat /etc/resolv.conf")
    return ok(f"{host} is resolved")


def _registries(context: DoctorContext) -> Finding:
    hosts = dict.fromkeys(str(name).split("/")[0] for name in context.settings["registries"])
    silent: dict[str, list[str]] = {}  # by the reason, which is mostly the same for all
    remedies = []
    for host in hosts:
        server = REGISTRY_HOSTS.get(host, host)
        found = _reached(context, f"https://{server}/v2/", host)
        if found.remedy:
            silent.setdefault(found.text.removeprefix(f"{host}: ").removeprefix(f"{server}: "), []).append(host)
            remedies.append(found.remedy)
    if silent:
        each = [f"{'each of ' * (len(names) > 1)}{', '.join(names)}: {reason}" for reason, names in silent.items()]
        return warn("; ".join(each), remedies[0])
    return ok(f"{', '.join(hosts)} answer")


def _index_url(context: DoctorContext) -> str:
    return str(context.settings["index_url"] or INDEX)


def _index(context: DoctorContext) -> Finding:
    return _reached(context, _index_url(context), "package index")


def _hub(context: DoctorContext) -> Finding:
    return _reached(context, context.settings.env.get("HF_ENDPOINT") or HUB, "hub of models")


def _proxy(context: DoctorContext) -> str:
    env = context.settings.env
    return env.get("https_proxy") or env.get("HTTPS_PROXY") or env.get("all_proxy") or env.get("ALL_PROXY") or ""


def _proxy_answers(context: DoctorContext) -> Finding:
    address = _proxy(context)
    if not address:
        return ok("no proxy is set")
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        place = (parts.hostname or "", parts.port or 8080)
    except ValueError as error:
        return warn(f"the proxy has an invalid address: {error}", "export https_proxy=http://HOST:PORT")
    shown = f"{place[0]}:{place[1]}"
    try:
        socket.create_connection(place, timeout=5).close()
    except OSError as error:
        return warn(f"the proxy {shown} does not answer: {error.strerror or error}", "unset https_proxy HTTPS_PROXY")
    return ok(f"the proxy {shown} answers; builds use it with --use-proxy")


def _token(context: DoctorContext) -> Finding:
    try:
        token = credentials.find_token(env=context.settings.env)
    except DownloadError as error:
        return warn(str(error), "export HF_TOKEN=hf_…")
    if not token:
        return ok("no token of the hub is set; public models need none")
    for name in credentials.FILE_VARIABLES:
        place = context.settings.env.get(name, "")
        if place and os.path.isfile(place) and os.stat(place).st_mode & 0o077:  # noqa: PTH113, PTH116 - any text
            return warn(f"others on this machine can read {place}", bare_command("chmod", "600", place))
    return ok(f"{token} is set")


def _clock(context: DoctorContext) -> Finding:
    now = context.now()
    remedy = "sudo timedatectl set-ntp true"
    if now < BUILT:
        return fail("the clock was never set: it stands before 2025", remedy)
    if context.settings["offline"]:
        return ok("the clock is set")
    try:
        date = context.reach(_index_url(context))
        there = parsedate_to_datetime(date).timestamp()
    except ClockError as error:
        return fail(error.message, remedy)
    except (JetsonError, ValueError, TypeError):
        return ok("the clock is set; no server to compare it with")
    if abs(there - now) > OFF:
        return fail(f"the clock is {abs(there - now) / 60:.0f} minutes off", remedy)
    return ok("the clock agrees with the network")


CHECKS = (
    CheckDefinition(name="dns", why="Builds and downloads resolve names.", look=_online(_dns)),
    CheckDefinition(
        name="registries", why="Base images and prebuilt images come from there.", look=_online(_registries), limit=40
    ),
    CheckDefinition(name="package index", why="Builds install wheels from there.", look=_online(_index)),
    CheckDefinition(name="hub", why="Models are downloaded from there.", look=_online(_hub)),
    CheckDefinition(name="proxy", why="A proxy that is gone fails every download.", look=_online(_proxy_answers)),
    CheckDefinition(name="hub token", why="Gated models need one, and it is a secret.", look=_token),
    CheckDefinition(name="clock", why="With a wrong clock certificates and apt's lists are invalid.", look=_clock),
)
