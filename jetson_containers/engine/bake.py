"""What `docker buildx bake` is given: several builds as one definition, linked where one stands on another.

Pure functions. `docker buildx bake` reads JSON in which `${` and `%{` begin a template, names targets by
`[a-zA-Z0-9_-]+`, and until buildx 0.17 takes the network only from a compose file, which therefore stands beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.engine import argv
from jetson_containers.engine.interface import Builder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.engine.context import Prepared
    from jetson_containers.engine.interface import Capabilities

GROUP = "stages"
_RESERVED = frozenset({GROUP, "default", "internal", "auth"})  # words that stand where buildx shows a target's name
_ALLOW_FROM = (0, 17)  # version of buildx since which a definition has to be allowed the host's network
_ENV = {  # no check of which files a definition reads: this program has written it
    "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
}


@dataclass(frozen=True, kw_only=True)
class BakeFiles:
    """The definition, the compose file with its networks, and the values that come from the environment."""

    definition: Mapping[str, Any]
    networks: Mapping[str, Any]
    env: Mapping[str, str]


def target_names(tags: Iterable[str]) -> dict[str, str]:
    """Give each image a target's name of its own.

    >>> target_names(["jetson-containers/stage:torch-2.11-ab", "jetson-containers/stage:torch-2_11-ab"])
    {'jetson-containers/stage:torch-2.11-ab': 'torch-2_11-ab', 'jetson-containers/stage:torch-2_11-ab': 'torch-2_11-ab-2'}
    """  # noqa: E501
    names: dict[str, str] = {}
    taken = set(_RESERVED)
    for tag in tags:
        slug = re.sub(r"[^a-zA-Z0-9_-]", "_", tag.rpartition("/")[2].removeprefix("stage:")) or "stage"
        name, number = slug, 1
        while name in taken:
            number += 1
            name = f"{slug}-{number}"
        taken.add(name)
        names[tag] = name
    return names


def files(builds: Sequence[Prepared], names: Mapping[str, str], wanted: Iterable[str]) -> BakeFiles:
    """Write down builds; what one `needs` of the others is linked, everything else is in the local store.

    The tags `wanted` come to the store. Of the other builds bake makes what those stand on, and no image.
    A proxy's address may hold a password: such a value is a variable, which bake takes from its environment.
    """
    variables: dict[str, str] = {}
    builds = _with_all_caches(builds)
    targets = {names[build.request.tag]: _target(build, names, variables) for build in builds}
    definition: dict[str, Any] = {"group": {GROUP: {"targets": [names[tag] for tag in wanted]}}, "target": targets}
    if variables:
        definition["variable"] = {name: {"default": ""} for name in variables}
    networks = {
        names[build.request.tag]: {"build": {"context": str(build.context), "network": build.request.network}}
        for build in builds
        if build.request.network
    }
    return BakeFiles(
        definition=definition, networks={"services": networks}, env={**_ENV, "BUILDKIT_PROGRESS": "plain", **variables}
    )


def command(
    capabilities: Capabilities, files_at: Sequence[str], *, docker_context: str, env: Mapping[str, str], network: bool
) -> list[str]:
    """Make the argv of one bake. `network` says that a target uses the host's."""
    allow = ["--allow", "network.host"] if network and capabilities.buildx >= _ALLOW_FROM else []
    words = ["buildx", "bake", "--builder", docker_context, "--progress", "rawjson", *allow]
    for path in files_at:
        words += ["--file", path]
    hidden = [name for name in env if name not in _ENV]
    return argv.docker(capabilities, *words, GROUP, env=_ENV, keep=sorted(hidden))


def escaped(value: Any) -> Any:
    """Let bake read every text of a value as it is.

    >>> escaped({"RUN": ["echo ${HOME} %{x}"]})
    {'RUN': ['echo $${HOME} %%{x}']}
    """
    if isinstance(value, str):
        return value.replace("${", "$${").replace("%{", "%%{")
    if isinstance(value, dict):
        return {escaped(key): escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value


def _target(build: Prepared, names: Mapping[str, str], variables: dict[str, str]) -> dict[str, Any]:
    request = build.request
    inline = argv.INLINE_CACHE in request.cache_to
    args = {**request.build_args, **build.build_args, **({"BUILDKIT_INLINE_CACHE": "1"} if inline else {})}
    hidden = argv.by_name(args)
    target: dict[str, Any] = {
        "context": str(build.context),
        "dockerfile": str(build.dockerfile),
        "contexts": {need: _linked(need, names) for need in request.needs},
        "args": {name: value for name, value in sorted(args.items()) if name not in hidden},
        "labels": dict(sorted(request.labels.items())),
        "tags": [request.tag],
        "secret": argv.secrets(Builder.BUILDX, request)[1::2],
        "cache-from": list(request.cache_from),
        "cache-to": [entry for entry in request.cache_to if entry != argv.INLINE_CACHE],
        "platforms": [request.platform] if request.platform else [],
        "output": ["type=docker"],
    }
    found: dict[str, Any] = escaped({name: value for name, value in target.items() if value})
    if request.no_cache:
        found["no-cache"] = True
    for name, value in sorted(hidden.items()):
        found.setdefault("args", {})[name] = f"${{{_variable(name, value, variables)}}}"
    if request.flags:
        raise UsageError(f"bake takes no options of `docker build`: {' '.join(request.flags)}")
    return found


def _with_all_caches(builds: Sequence[Prepared]) -> list[Prepared]:
    """Let each build look for its cache where any of them looks.

    BuildKit goes through a command once for all targets that have it, and with the sources of whichever asks first.
    """
    sources = tuple(dict.fromkeys(entry for build in builds for entry in build.request.cache_from))
    return [replace(build, request=replace(build.request, cache_from=sources)) for build in builds]


def _linked(need: str, names: Mapping[str, str]) -> str:
    return f"target:{names[need]}" if need in names else f"docker-image://{need}"


def _variable(name: str, value: str, variables: dict[str, str]) -> str:
    """The variable of a value; another one for another value of the same build argument."""
    for number in range(1, len(variables) + 2):
        candidate = f"jetson_{name}_{number}"
        if variables.setdefault(candidate, value) == value:
            return candidate
    raise AssertionError("one more name than variables is free")
