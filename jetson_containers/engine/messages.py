"""What an engine said, as one of our errors.

Only causes that lie outside the recipe are recognized here: the engine, its disk, its registry, the kernel. What
went wrong inside a recipe is read from its log by `diagnosis`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from jetson_containers.core.errors import (
    BuildError,
    DiskSpaceError,
    EngineMissingError,
    EnginePermissionError,
    ImageInUseError,
    JetsonError,
    LayerBudgetError,
    NotReadyError,
    RegistryError,
    UsageError,
)
from jetson_containers.engine.interface import OutOfMemoryError

DETAIL_LINES = 12  # last lines of output that an error shows


@dataclass(frozen=True, kw_only=True)
class MessageRule:
    """A pattern over the output and what it means. The first rule that matches decides."""

    pattern: str  # compiled when there is an output: most commands never see a failure
    error: type[JetsonError]
    message: str
    hint: str
    anywhere: bool = False  # also when a recipe's own command printed it


def _rule(pattern: str, error: type[JetsonError], message: str, hint: str, *, anywhere: bool = False) -> MessageRule:
    return MessageRule(pattern=pattern, error=error, message=message, hint=hint, anywhere=anywhere)


# `{0}`, `{1}` stand for the pattern's groups. Messages of engines 18.09 to 29; moby #49557 for the raw table.
RULES = (
    _rule(
        r"(?:mkdir|open|write) (\S*)/docker-build-temp\S*: "
        r"(read-only file system|no space left on device|permission denied)",
        NotReadyError,
        "docker's client cannot write temporary files to `{0}`: {1}",
        "free some space there, or choose another folder: `export TMPDIR=DIR`",
    ),
    _rule(
        r"no space left on device",
        DiskSpaceError,
        "the disk with the engine's images is full",
        "jetson-containers df shows what takes the space, jetson-containers prune frees it",
        anywhere=True,
    ),
    _rule(
        r"(?:unknown or invalid runtime name|unknown runtime specified):? ?([\w-]+)",
        NotReadyError,
        "the engine has no container runtime `{0}`",
        "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker"
        " && sudo systemctl restart docker",
    ),
    _rule(
        r"could not select device driver .*\[\[gpu\]\]",
        NotReadyError,
        "the engine cannot pass GPUs to containers: the NVIDIA container toolkit is not installed",
        "sudo apt-get install nvidia-container-toolkit && sudo systemctl restart docker",
    ),
    _rule(
        r"(?:iptables.*(?:table `?raw|\braw\b)|can't initialize iptables table|failed to set up container networking)",
        NotReadyError,
        "the engine cannot set up a container's network on this kernel (Docker 28 needs iptables' raw table, which"
        " the kernel of JetPack 6.2 lacks)",
        "update to L4T 36.4.4, or use Docker 27.5.1, or set DOCKER_INSECURE_NO_IPTABLES_RAW=1 for dockerd >= 28.0.2",
    ),
    _rule(
        r"(?:max depth exceeded|exceeds maximum.*layers|too many layers)",
        LayerBudgetError,
        "the image has more layers than the engine can stack (125)",
        "leave packages out, or start from a base image with fewer layers",
    ),
    _rule(
        r"(?:toomanyrequests|429 too many requests|pull rate limit)",
        RegistryError,
        "the registry's rate limit for downloads is reached",
        "raise the limit with docker login, or wait and run the same command again",
    ),
    _rule(
        r"pull access denied for (jetson-containers/\S+?),? ",
        NotReadyError,
        "the builder cannot see `{0}`, an image in this machine's local store",
        "run docker buildx use default: a builder with another driver than `docker` has its own store",
    ),
    _rule(
        r"(?:pull access denied for|repository does not exist|manifest (?:for .* )?(?:unknown|not found)"
        r"|(?:repository )?name (?:not known|unknown)"
        r"|failed to resolve (?:reference|source metadata) [^\n]*: not found)",
        RegistryError,
        "the registry has no such image, or this user may not read it",
        "check the spelling; for a private image run docker login REGISTRY first",
    ),
    _rule(
        r"(?:unauthorized: |no basic auth credentials|denied: requested access|authentication required)",
        RegistryError,
        "the registry refuses this user",
        "docker login REGISTRY, with an account that may read (or push) this image",
    ),
    _rule(
        r"no matching manifest for (\S+)",
        RegistryError,
        "the image exists, but not for {0}",
        "choose an image of this architecture, or build it",
    ),
    _rule(
        r"server gave http response to https client",
        RegistryError,
        "the registry speaks plain HTTP, and the engine expects HTTPS",
        'add it to "insecure-registries" in /etc/docker/daemon.json and restart the engine',
    ),
    _rule(
        r"x509: [^\n]*",
        RegistryError,
        "the certificate of a registry is not trusted by the engine",
        "put its CA into /etc/docker/certs.d/REGISTRY/ca.crt",
    ),
    _rule(
        r"https?://([^/\"]+)/[^\n]*(?:dial tcp|lookup)[^\n]*"
        r"(?:connection refused|i/o timeout|no such host|misbehaving|is unreachable|no route to host)",
        RegistryError,
        "the registry `{0}` cannot be reached",
        "check the network, or use --offline with images that are here already",
    ),
    _rule(
        r"(?:tls handshake timeout|request canceled while waiting for connection|context deadline exceeded)",
        RegistryError,
        "a registry did not answer in time",
        "check the network, or use --offline with images that are here already",
    ),
    _rule(
        r"permission denied while trying to connect|got permission denied|dial unix \S+: connect: permission denied",
        EnginePermissionError,
        "this user is not allowed to use the Docker engine",
        "sudo usermod -aG docker $USER && newgrp docker",
    ),
    _rule(
        r"(?:cannot connect to the docker daemon|error during connect|is the docker daemon running"
        r"|did not answer within [0-9.]+ s$)",
        EngineMissingError,
        "the Docker engine does not answer (any more)",
        "./install.sh starts it; jetson-containers doctor shows what is wrong",
    ),
    _rule(
        r"(?:container (\w+) is using its referenced image|image is being used by (?:running|stopped) container (\w+))",
        ImageInUseError,
        "the container `{0}{1}` uses the image",
        "`docker rm -f {0}{1}` stops and removes that container",
    ),
    _rule(
        r"no such image:? (\S+?)\.?$",
        NotReadyError,
        "no image `{0}` in the local store",
        "jetson-containers images lists those that are; jetson-containers pull gets one",
    ),
    _rule(
        r"exec format error",
        NotReadyError,
        "the image is for another architecture, and this machine has no emulator for it",
        "sudo apt-get install qemu-user-static",
    ),
    _rule(
        r"cache export (?:feature )?is (?:currently )?not supported for (?:the )?docker driver",
        NotReadyError,
        "this engine's image store exports no build cache; the containerd image store does",
        'set {{"features": {{"containerd-snapshotter": true}}}} in /etc/docker/daemon.json and restart the engine'
        " (images of the present store are not seen then), or use --cache-to type=inline and push the image",
    ),
    _rule(
        r"buildkit is enabled but the buildx component is missing",
        NotReadyError,
        "this docker client cannot use BuildKit without its buildx plugin",
        "use --engine legacy, or sudo apt-get install docker-buildx",
    ),
    _rule(
        r"(?:unknown flag|unknown shorthand flag|invalid argument .* for|flag needs an argument):? ([^\n]*)",
        UsageError,
        "docker does not know one of the --build-flags: {0}",
        "docker build --help lists them",
    ),
)  # fmt: skip

_STEP_FAILED = re.compile(r"returned a non-zero code: [0-9]+|executor failed running|did not complete successfully")
_KILLED_CODE = re.compile(r"exit code: 137\b|non-zero code: 137\b|signal: killed")
_KILLED_CHILD = re.compile(r"fatal error: Killed signal|\bKilled$|\bKilled +\S+.*$|Cannot allocate memory")
_KILLED_WITHIN = 60  # lines from the end; what was killed earlier did not end the build


def killed(output: str) -> bool:
    """Whether the kernel killed a process for want of memory, as far as the output tells.

    Under `make`, the compiler is killed and the step ends with make's own exit code.
    """
    end = output.splitlines()[-_KILLED_WITHIN:]
    return any(_KILLED_CODE.search(line) or _KILLED_CHILD.search(line) for line in end)


def translate(output: str, what: str = "") -> JetsonError:
    """Turn the output of a failed docker command into an error.

    `what` names what was tried ("building `numpy`"). OutOfMemoryError for a kill; a plain BuildError when nothing
    is recognized. `details` are the last lines of the output.
    """
    details = [line for line in output.splitlines() if line.strip()][-DETAIL_LINES:]
    prefix = f"{what}: " if what else ""
    if killed(output):
        return OutOfMemoryError(
            f"{prefix}a process was killed, most likely because memory ran out (exit code 137)",
            hint="build with --jobs 1, close other programs, or add swap",
            details=details,
        )
    inside = bool(_STEP_FAILED.search(output))
    for rule in RULES:
        if inside and not rule.anywhere:
            continue
        if match := re.search(rule.pattern, output, re.IGNORECASE | re.MULTILINE):
            groups = [group or "" for group in match.groups()]
            hint = rule.hint.format(*(group and shlex.quote(group) for group in groups))
            return rule.error(f"{prefix}{rule.message.format(*groups)}", hint=hint, details=details)
    return BuildError(f"{what or 'docker'} failed", details=details)
