"""Small helpers of upstream's that recipes import beside the platform's values. Child process only.

They read the recorded environment, the target and what they are given, and nothing else.
"""

from __future__ import annotations

import os.path
import typing
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from jetson_containers.recipes.upstream.merge import is_definition, listed, with_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ON = frozenset({"1", "enabled", "on", "true", "yes"})
OFF = frozenset({"0", "disabled", "false", "no", "none", "off"})

# Of each architecture of CUDA that of docker, as upstream's table has them.
DOCKER_ARCHES = {"tegra-aarch64": "arm64", "aarch64": "arm64", "x86_64": "amd64"}
PYTHONS = {"18.04": "3.6", "20.04": "3.8", "22.04": "3.10", "24.04": "3.12", "26.04": "3.14"}

# Names of other packages that a star import of upstream's leaves in a recipe.
BORROWED = {
    "SpecifierSet": SpecifierSet,
    "Version": Version,
    **{name: getattr(typing, name) for name in ("Any", "Dict", "List", "Union")},
}


def namespace(
    facts: Mapping[str, Any],
    environ: Mapping[str, str],
    repository: str,
    available: Callable[[Mapping[str, Any]], bool],
    base_image: Callable[[], str],
) -> dict[str, Any]:
    """The helpers by name. `repository` is the directory above the tree, `available` judges a definition."""
    return {
        **BORROWED,
        **_of_environment(environ),
        **_of_target(facts, available, base_image),
        **_of_directories(repository),
        "CUDA_ARCHS": dict(DOCKER_ARCHES),
        "DEFAULT_PYTHON_VERSIONS": {ubuntu: Version(python) for ubuntu, python in PYTHONS.items()},
        "SYSTEM_ARCH_LIST": [name for pair in DOCKER_ARCHES.items() for name in pair],
        "TEGRA": "tegra",
        "group_packages": group_packages,
        "to_bool": to_bool,
        "validate_dict": is_definition,
        "validate_lists": validate_lists,
    }


def _of_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    def get_env(key: Any, default: Any = None, type: Any = str) -> Any:  # noqa: A002 - the parameter's name is upstream's
        value = next((environ[name] for name in listed(key) if environ.get(name)), None)
        if value is None:
            return default
        if type is bool:
            return to_bool(value, default)
        try:
            return value if type is None else type(value)
        except (TypeError, ValueError):
            return default

    def get_env_flag(key: Any, default: bool = False) -> Any:
        return get_env(key, default, bool)

    return {"get_env": get_env, "get_env_flag": get_env_flag}


def _of_target(
    facts: Mapping[str, Any], available: Callable[[Mapping[str, Any]], bool], base_image: Callable[[], str]
) -> dict[str, Any]:
    def check_arch(arch: str, system_arch: str | None = None) -> bool:
        machine = facts["machine"]
        return arch == system_arch if system_arch else arch in {machine, DOCKER_ARCHES[machine]}

    def check_requirement(requires: Any, *_: Any, **__: Any) -> bool:
        return available({"requires": str(requires)})

    def check_requirements(package: Mapping[str, Any]) -> bool:
        return available({"requires": package.get("requires")})

    def get_l4t_base(l4t_version: Any = None) -> str:
        del l4t_version
        return base_image()

    return {
        "check_arch": check_arch,
        "check_requirement": check_requirement,
        "check_requirements": check_requirements,
        "get_l4t_base": get_l4t_base,
    }


def _of_directories(repository: str) -> dict[str, Any]:
    def get_repo_dir() -> str:
        return repository

    def get_dir(key: str, root: str | None = None) -> str:
        root = root or repository
        return root if key.lower() == "repo" else os.path.join(root, key.lower())  # noqa: PTH118 - recipes expect text

    return {"get_repo_dir": get_repo_dir, "get_dir": get_dir}


def to_bool(value: Any, default: Any = None) -> Any:
    """Whether a text says yes; the default where it says neither. Raises ValueError without one."""
    word = str(value).lower()
    if word in ON | OFF:
        return word in ON
    if default is None:
        raise ValueError(f"`{value}` is neither yes nor no")
    return default


def validate_lists(package: dict[str, Any]) -> dict[str, Any]:
    """The package, which is changed: text that stands for a list becomes one."""
    package.update(with_lists(package))
    return package


def group_packages(
    packages: Mapping[str, Mapping[str, Any]], key: str, default: Any = ""
) -> dict[Any, dict[str, Mapping[str, Any]]]:
    """The packages by the value of a key; those without it are left out unless there is a default."""
    result: dict[Any, dict[str, Mapping[str, Any]]] = {}
    for name, value in _values(packages, key, default):
        result.setdefault(value, {})[name] = packages[name]
    return result


def _values(packages: Mapping[str, Mapping[str, Any]], key: str, default: Any) -> Iterable[tuple[str, Any]]:
    for name, package in packages.items():
        value = package.get(key, default)
        if key in package or default:
            yield name, value
