"""The docker command lines, as pure functions: capabilities and request in, argv and environment out.

Nothing secret is ever put into an argv: `/proc` shows it to every user of the machine. Build arguments are not
secret by definition (they stay in the image's history); what is comes as `BuildRequest.secrets`, by file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.engine.interface import Builder, BuildRequest, Capabilities, RunCapabilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

INLINE_CACHE = "type=inline"
_PROXY = re.compile(r"^(https?|ftp|all)_proxy$", re.IGNORECASE)


def docker(
    capabilities: RunCapabilities, *args: str, env: Mapping[str, str] | None = None, keep: Sequence[str] = ()
) -> list[str]:
    """`[sudo [env K=V…]] docker ARGS`: sudo drops the environment, so what docker needs of it stands behind.

    `keep` are variables that sudo hands on by name, because their values must not be seen.
    """
    prefix: list[str] = []
    if capabilities.sudo:
        kept = [f"--preserve-env={','.join(keep)}"] if keep else []
        prefix = ["sudo", *kept, *(["env", *(f"{k}={v}" for k, v in sorted(env.items()))] if env else [])]
    return [*prefix, capabilities.client, *args]


def builder_env(builder: Builder) -> dict[str, str]:
    """The environment that selects a builder, and keeps its output readable line by line."""
    if builder is Builder.LEGACY:
        return {"DOCKER_BUILDKIT": "0"}
    env = {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"}
    if builder is Builder.BUILDX:
        # An attestation would turn the image into an index whose digest changes with every build.
        env["BUILDX_NO_DEFAULT_ATTESTATIONS"] = "1"
    return env


def build(
    capabilities: Capabilities,
    request: BuildRequest,
    *,
    dockerfile: Path | str,
    context: Path | str,
    docker_context: str = "default",
    build_args: Mapping[str, str] | None = None,
) -> list[str]:
    """Make the argv of one build. `build_args` come on top of the request's.

    `docker_context` is the name of the docker context in use: buildx names its docker-driver builder after it, and
    only that builder sees the local store's images in FROM. Raises NotReadyError for a feature that the builder
    does not have.
    """
    builder = capabilities.builder
    args = ["buildx", "build", "--builder", docker_context, "--load"] if builder is Builder.BUILDX else ["build"]
    args += ["--tag", request.tag, "--file", str(dockerfile)]
    args += _where(request)
    args += _cache(builder, request)
    merged = {**request.build_args, **(build_args or {}), **_inline_cache(builder, request)}
    hidden = by_name(merged)
    for name, value in sorted(merged.items()):
        args += ["--build-arg", name if name in hidden else f"{name}={value}"]
    for name, value in sorted(request.labels.items()):
        args += ["--label", f"{name}={value}"]
    args += secrets(builder, request)
    if builder is Builder.LEGACY:
        args += ["--force-rm"]  # else a failed step's container stays
    return docker(capabilities, *args, *request.flags, str(context), env=builder_env(builder), keep=sorted(hidden))


def by_name(build_args: Mapping[str, str]) -> dict[str, str]:
    """Build arguments whose values docker takes from its environment: a proxy's address may hold a password."""
    return {name: value for name, value in build_args.items() if _PROXY.match(name)}


def label(
    capabilities: Capabilities,
    target: str,
    labels: Mapping[str, str],
    *,
    platform: str | None = None,
    docker_context: str = "default",
) -> list[str]:
    """Argv of a build that reads `FROM source` from stdin and only adds labels."""
    builder = capabilities.builder
    args = ["buildx", "build", "--builder", docker_context, "--load"] if builder is Builder.BUILDX else ["build"]
    args += ["--tag", target, "--network", "none"]
    if platform:
        args += ["--platform", platform]
    for name, value in sorted(labels.items()):
        args += ["--label", f"{name}={value}"]
    if builder is Builder.LEGACY:
        args += ["--force-rm"]
    return docker(capabilities, *args, "-", env=builder_env(builder))


def run(
    capabilities: Capabilities, image: str, command: Sequence[str], *, name: str, options: Sequence[str] = ()
) -> list[str]:
    """Make the argv of `docker run`. `--rm` is left out: how a container ended is asked before it is removed."""
    kept = [option for option in options if option != "--rm"]
    named = [] if container_name(options) else ["--name", name]
    return docker(capabilities, "run", *named, *kept, image, *command)


def container_name(options: Sequence[str]) -> str | None:
    """Find the name that `docker run` options give a container."""
    for index, option in enumerate(options):
        if option == "--name" and index + 1 < len(options):
            return options[index + 1]
        if option.startswith("--name="):
            return option.partition("=")[2]
    return None


def _where(request: BuildRequest) -> list[str]:
    args = []
    if request.platform:
        args += ["--platform", request.platform]
    if request.network:
        args += ["--network", request.network]
    if request.jobs:
        from jetson_containers.dockerfile.inject import jobs_host

        args += ["--add-host", jobs_host(request.jobs)]
    if request.no_cache:
        args += ["--no-cache"]
    return args


def _cache(builder: Builder, request: BuildRequest) -> list[str]:
    args = []
    for source in request.cache_from:
        if builder is Builder.LEGACY and "type=" in source and "type=registry" not in source:
            raise NotReadyError(f"--cache-from {source} needs BuildKit", hint="sudo apt-get install docker-buildx")
        args += ["--cache-from", _reference(source) if builder is Builder.LEGACY else source]
    for target in request.cache_to:
        if target == INLINE_CACHE and builder is not Builder.LEGACY:
            continue  # a build argument, which every BuildKit knows
        if builder is not Builder.BUILDX:
            raise NotReadyError(
                f"--cache-to {target} needs buildx; `{builder.value}` cannot export a cache",
                hint="sudo apt-get install docker-buildx, or --cache-to type=inline where BuildKit is used",
            )
        args += ["--cache-to", target]
    return args


def _reference(source: str) -> str:
    """Turn `type=registry,ref=X` into X, as the legacy builder wants it."""
    for part in source.split(","):
        key, _, value = part.partition("=")
        if key.strip() == "ref":
            return value
    return source


def _inline_cache(builder: Builder, request: BuildRequest) -> dict[str, str]:
    inline = INLINE_CACHE in request.cache_to and builder is not Builder.LEGACY
    return {"BUILDKIT_INLINE_CACHE": "1"} if inline else {}


def secrets(builder: Builder, request: BuildRequest) -> list[str]:
    """Make the `--secret` options of a build."""
    if request.secrets and builder is Builder.LEGACY:
        names = ", ".join(sorted(name for name, _ in request.secrets))
        raise NotReadyError(
            f"the legacy builder cannot keep a secret out of the image ({names})",
            hint="sudo apt-get install docker-buildx, or leave --secret out",
        )
    args = []
    for name, path in sorted(request.secrets):
        if "," in str(path) or "," in name:
            raise UsageError(f"secret `{name}`: docker cannot take a path with a comma", hint=f"move `{path}`")
        args += ["--secret", f"id={name},src={path}"]
    return args
