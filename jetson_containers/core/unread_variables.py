"""Environment variables that look as if they were for us and are not read: typos of ours, and those of upstream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.settings import OPTIONS, PREFIX
from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

_INDEX = "JETSON_CONTAINERS_INDEX_URL names another index of packages"
# Read by the launchers (VENV, PYTHON), settings (CONFIG), the downloader (OWNER), the reader of recipes and the tests.
_OURS = frozenset({"VENV", "PYTHON", "CONFIG", "OWNER", "NO_SANDBOX", "STRICT_SKIPS"})
# What upstream's build reads, with what does it here. `USE_OLLAMA` and the like are read by recipes of upstream's tree.
_UPSTREAM = {
    "BUILD_DELAY": "",
    "BUILDKIT_DEVICE": "",
    "DEVPI_URL": _INDEX,
    "DOCKER_CCACHE": "",
    "DOCKER_CCACHE_DIR": "",
    "DOCKER_CCACHE_MAXSIZE": "",
    "DOCKERHUB_CACHE": "",
    "DOCKERHUB_TOKEN": "`docker login` is used",
    "INDEX_HOST": _INDEX,
    "JC_BUILD_FAILURE_WEBHOOK_URL": "",
    "JC_BUILD_SUCCESS_WEBHOOK_URL": "",
    "LOCAL_PIP_INDEX_REPO": _INDEX,
    "LOCAL_PIP_INDEX_URL": _INDEX,
    "LOCAL_TAR_INDEX_URL": "",
    "PIP_UPLOAD_HOST": "",
    "PIP_UPLOAD_PASS": "",
    "PIP_UPLOAD_REPO": "",
    "PIP_UPLOAD_USER": "",
    "SCP_UPLOAD_HOST": "",
    "SCP_UPLOAD_KEY": "",
    "SCP_UPLOAD_PASS": "",
    "SCP_UPLOAD_URL": "",
    "SCP_UPLOAD_USER": "",
    "TAR_UPLOAD_URL": "",
}
_OF_RECIPES = ("CUDA_PACKAGES", "ENABLE_DISTRIBUTED_JETSON_NCCL", "FORCE_BUILD", "PYTORCH_FORCE_BUILD", "USE_OLLAMA")


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Variables with our prefix that set nothing."""
    known = {*(name.upper() for name in OPTIONS), *_OURS}
    return sorted(name for name in names if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in known)


def unknown_settings_hint(names: Iterable[str]) -> str:
    """Which settings may be meant, else where all of them are shown."""
    known = [name.upper() for name in OPTIONS]
    asked = (did_you_mean(name.removeprefix(PREFIX), known, style=f"`{PREFIX}{{}}`") for name in names)
    return "; ".join(dict.fromkeys(filter(None, asked))) or "`jetson-containers info --config` shows all settings"


def of_upstream(names: Iterable[str], *, own_tree: bool) -> list[str]:
    """Variables that upstream's build reads and ours does not; `own_tree`: no other recipes are read than ours."""
    unread = {*_UPSTREAM, *(_OF_RECIPES if own_tree else ())}
    return sorted(unread & set(names))


def of_upstream_hint(names: Iterable[str]) -> str | None:
    """What does here what some of them do there."""
    return "; ".join(dict.fromkeys(text for name in names if (text := _UPSTREAM.get(name)))) or None
