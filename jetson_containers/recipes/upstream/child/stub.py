"""What upstream's `config.py` files import from `jetson_containers`: platform values and helpers. Child process only.

Every helper does what recipes expect of it without the network and without touching a file. The values are those of
the target, never of the host.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.recipes.upstream.child.guard import NetworkRefusedError
from jetson_containers.recipes.upstream.merge import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Warn = Callable[[str], None]
    Add = Callable[[Any, str], None]

# The modules upstream's names live in; recipes import from either place.
SUBMODULES = ("container", "l4t_version", "logging", "network", "packages", "pypi_utils", "utils")

ARCHES = ("tegra-aarch64", "aarch64", "x86_64", "arm64", "amd64")
CODENAMES = {
    "16.04": "xenial",
    "18.04": "bionic",
    "20.04": "focal",
    "22.04": "jammy",
    "24.04": "noble",
    "26.04": "resolute",
}


def constants(facts: Mapping[str, Any], free_threading: bool) -> dict[str, Any]:
    """The platform values under upstream's names; `facts` are those of `config_py.facts`."""
    cuda = Version(facts["cuda"])
    return {
        "L4T_VERSION": Version(facts["l4t"]),
        "JETPACK_VERSION": Version(facts["jetpack"]),
        "CUDA_VERSION": cuda,
        "CUDA_SHORT_VERSION": cuda_short_version(cuda),
        "CUDA_ARCHITECTURES": list(facts["sm"]),
        "CUDA_ARCH": facts["cuda_arch"],
        "PYTHON_VERSION": Version(facts["python"]),
        "PYTHON_FREE_THREADING": free_threading,
        "SYSTEM_ARCH": facts["machine"],
        "SYSTEM_ARM": facts["machine"] == "aarch64",
        "SYSTEM_X86": facts["machine"] == "x86_64",
        "DOCKER_ARCH": "amd64" if facts["machine"] == "x86_64" else "arm64",
        "IS_TEGRA": facts["cuda_arch"] == "tegra-aarch64",
        "IS_SBSA": facts["cuda_arch"] == "aarch64",
        "LSB_RELEASE": facts["ubuntu"],
        "LSB_RELEASES": dict(CODENAMES),
        "LSB_CODENAME": CODENAMES.get(facts["ubuntu"], ""),  # upstream documents it and has it not
    }


def cuda_short_version(cuda_version: Any) -> str:
    """`12.6` as `cu126`."""
    version = Version(str(cuda_version))
    return f"cu{version.major}{version.minor}"


def update_dependencies(old: Any, new: Any, warn: Warn) -> list[str]:
    """`old` with each package of `new` in its version: in the place of the same package, else at the end.

    Upstream replaces bare names only, so that two versions of one package stood in the list. A bare name is content
    with any version that is there.
    """
    result = listed(old)
    for wanted in listed(new):
        family = _family(wanted)
        places = [index for index, entry in enumerate(result) if _family(entry) == family]
        if places and wanted == family:
            continue
        for index in places:
            if ":" in result[index] and result[index] != wanted:
                warn(f"`{result[index]}` gives way to `{wanted}`: one image has one version of a package")
        result = [entry for index, entry in enumerate(result) if index not in places[1:]]
        if places:
            result[places[0]] = wanted
        else:
            result.append(wanted)
    return result


def package_depends(package: dict[str, Any], depends: Sequence[Any], warn: Warn) -> dict[str, Any]:
    """The package, which is changed, with further dependencies: names, or lists of them."""
    wanted = [item for entry in depends for item in listed(entry)]
    package["depends"] = update_dependencies(package.get("depends"), wanted, warn)
    return package


def package_requires(package: Any, requires: Any = None, system_arch: Any = None, unless: Any = None) -> Any:
    """The package, or each of a list of them, which is changed, with a further requirement.

    An architecture is not added where the package names one already, and nothing is where it has one of `unless`.
    """
    if isinstance(package, list | tuple):
        for entry in package:
            package_requires(entry, requires, system_arch, unless)
        return package
    have = [str(item) for item in listed(package.get("requires"))]
    wanted = [str(item) for item in (*listed(requires), *listed(system_arch))]
    if any(item.lstrip("=!") in ARCHES for item in have):
        wanted = [item for item in wanted if item.lstrip("=!") not in ARCHES]
    if not any(str(item) in have for item in listed(unless)):
        package["requires"] = [*have, *(item for item in wanted if item not in have)]
    return package


def namespace(
    facts: Mapping[str, Any],
    environ: Mapping[str, str],
    find: Callable[[Sequence[str], Sequence[str]], dict[str, Any]],
    warn: Warn,
    refused: Warn,
    add: Add,
) -> dict[str, Any]:
    """Everything a recipe may import, by name.

    `find` looks up packages by patterns and exceptions from them, `warn` hears what deserves a notice, `refused` what
    was not done. `add` takes a file for the build context and its text.
    """
    result = constants(facts, _free_threading(environ))

    def find_packages(packages: Any, skip: Any = (), **_: Any) -> dict[str, Any]:
        return find(listed(packages), listed(skip))

    def find_package(package: str, **_: Any) -> dict[str, Any]:
        return copy.deepcopy(next(iter(find([package], ()).values())))

    def nv_tegra_release(version_file: Any = None, dst: Any = None) -> str:
        del version_file
        text = _release_file(facts)
        if dst:
            add(dst, text)
        return text

    def get_cuda_arch(l4t_version: Any = None, cuda_version: Any = None, format: Any = list) -> Any:  # noqa: A002
        del l4t_version, cuda_version
        arches = list(facts["sm"])
        return ";".join(f"{arch / 10:.1f}" for arch in arches) if format is str else arches

    def short_version(cuda_version: Any = None) -> str:
        return cuda_short_version(cuda_version or result["CUDA_VERSION"])

    def depends_updated(old: Any, new: Any) -> list[str]:
        return update_dependencies(old, new, warn)

    def depends_added(package: dict[str, Any], *depends: Any) -> dict[str, Any]:
        return package_depends(package, depends, warn)

    result.update(
        find_package=find_package,
        find_packages=find_packages,
        update_dependencies=depends_updated,
        package_depends=depends_added,
        package_requires=package_requires,
        cuda_short_version=short_version,
        get_cuda_arch=get_cuda_arch,
        nv_tegra_release=nv_tegra_release,
    )
    result.update({f"get_{name.lower()}": _getter(result[name]) for name in _GETTERS})
    result.update({name: _offline(name, refused) for name in _NETWORK_HELPERS})
    result.update({name: _empty_handed(name, refused) for name in _PATIENT_HELPERS})
    result.update(dict.fromkeys(_SILENT, _silent), colorize=_plain)
    result.update({f"log_{level}": _warner(warn) for level in ("warning", "error")})
    return result


# Of these upstream has a function each that tells the value.
_GETTERS = ("L4T_VERSION", "JETPACK_VERSION", "CUDA_VERSION", "LSB_RELEASE", "PYTHON_VERSION")
# What recipes tell those who watch, and nobody watches here.
_SILENT = (
    *(
        f"log_{kind}"
        for kind in ("block", "config", "debug", "info", "status", "success", "table", "verbose", "versions")
    ),
    *("cprint", "pprint_debug", "print_log"),
)
# Without the network upstream's helpers of the first kind raise a RuntimeError, those of the second return None.
_NETWORK_HELPERS = (
    "get_json_value_from_url",
    "github_api",
    "github_latest_commit",
    "github_latest_tag",
    "handle_json_request",
)
_PATIENT_HELPERS = ("find_container", "get_latest_version", "get_package_info", "handle_text_request")


class HelperRefusedError(NetworkRefusedError, RuntimeError):
    """The network was asked for through a helper of upstream's; recipes catch what that one raises."""


def _release_file(facts: Mapping[str, Any]) -> str:
    """What `/etc/nv_tegra_release` says on the target; the same each time, because images are made of it."""
    version = Version(facts["l4t"])
    machine = facts["machine"]
    return (
        f"# R{version.major} (release), REVISION: {version.minor}.{version.micro}, GCID: 0, BOARD: generic, "
        f"EABI: {machine}, DATE: Thu Jan  1 00:00:00 UTC 1970\n"
        "# KERNEL_VARIANT: oot\n"
        "TARGET_USERSPACE_LIB_DIR=nvidia\n"
        f"TARGET_USERSPACE_LIB_DIR_PATH=/usr/lib/{machine}-linux-gnu/nvidia\n"
    )


def _getter(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def _offline(name: str, refused: Warn) -> Callable[..., Any]:
    def refuse(*args: object, **_: object) -> None:
        raise HelperRefusedError(f"no network while recipes are read: {_asked(name, args, refused)}")

    return refuse


def _empty_handed(name: str, refused: Warn) -> Callable[..., None]:
    def refuse(*args: object, **_: object) -> None:
        _asked(name, args, refused)

    return refuse


def _asked(name: str, args: Sequence[object], refused: Warn) -> str:
    what = f"the network (`{name}({', '.join(repr(arg) for arg in args[:2])})`)"
    refused(what)
    return what


def _silent(*_: object, **__: object) -> None:
    pass


def _plain(text: Any, *_: object, **__: object) -> str:
    return str(text)


def _warner(warn: Warn) -> Callable[..., None]:
    def tell(*args: object, **_: object) -> None:
        warn(" ".join(map(str, args)))

    return tell


def _family(name: Any) -> str:
    return str(name).partition(":")[0]


def _free_threading(environ: Mapping[str, str]) -> bool:
    version = environ.get("PYTHON_VERSION") or ""
    switch = (environ.get("PYTHON_FREE_THREADING") or "").lower()
    return version.endswith(("t", "-nogil")) or switch in {"1", "true", "yes", "on"}
