"""Whether a definition that a recipe looks up is available on the target. Child process only, and loaded on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.recipes import rules
from jetson_containers.recipes.upstream.merge import listed, switched_on

if TYPE_CHECKING:
    from collections.abc import Mapping


def platform_of(exact: Mapping[str, Any]) -> Platform:
    """The target again, from `Platform.build_facts`."""
    return Platform(
        arch=Arch(exact["arch"]),
        l4t=Version(exact["l4t"]) if exact["l4t"] else None,
        jetpack=exact["jetpack"],
        cuda=Version(exact["cuda"]) if exact["cuda"] else None,
        driver_cuda=None,
        python=Version(exact["python"]),
        distro=exact["distro"],
        distro_version=exact["distro_version"],
        sm=tuple(exact["sm"]),
    )


def is_available(definition: Mapping[str, Any], platform: Platform) -> bool:
    """Whether it is enabled and all that it requires holds; a rule nobody can read does not."""
    if switched_on(definition.get("disabled")):
        return False
    try:
        return rules.holds([str(rule) for rule in listed(definition.get("requires"))], platform)
    except RequirementSyntaxError:
        return False
