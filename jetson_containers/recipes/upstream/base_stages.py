"""Recipes written for upstream's base stages that stand on ours: what those stages hold is put in front of them.

Upstream's `build-essential`, `pip_cache`, `python` and `cuda` put compilers, `uv`, `git`, `twine`, `tarpack` and many
variables into every image, and recipes call them without a word. Ours are slim, so such a recipe depends on
`upstream-base` here, and where it stands on CUDA on `upstream-cuda` too. Recipes of our own format never do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.platforms.platform import Arch
from jetson_containers.recipes import files
from jetson_containers.recipes.requirement import Dependency
from jetson_containers.recipes.upstream import config_py
from jetson_containers.recipes.upstream.packages import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.types import Package

BASE = "upstream-base"
CUDA = "upstream-cuda"


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What one of the two packages stands for.

    A recipe gets it where one of the families `over` is below it. `words` are programs, variables and paths that
    it brings, each with the family that brings it as well; empty where no other does.
    """

    over: frozenset[str]
    words: Mapping[str, str]


CONTRACTS: Mapping[str, Contract] = {
    BASE: Contract(
        over=frozenset({"build-essential", "cuda", "cuda-runtime", "python"}),
        words={
            **dict.fromkeys(("ccache", "curl", "g++", "gcc", "git", "make", "unzip", "wget"), "build-essential"),
            "uv": "uv",
            **dict.fromkeys(("add-apt-repository", "lsb_release", "tarpack", "twine", "vercmp", "/opt/wheels"), ""),
            **dict.fromkeys(("PIP_INDEX_URL", "PIP_WHEEL_DIR", "TAR_INDEX_URL", "TWINE_REPOSITORY_URL"), ""),
            **dict.fromkeys(("UV_DEFAULT_INDEX", "WGET_FLAGS"), ""),
        },
    ),
    CUDA: Contract(
        over=frozenset({"cuda", "cuda-runtime"}),
        words={
            **dict.fromkeys(("CUDAARCHS", "CUDACXX", "nvcc"), "cuda"),
            "CUDA_HOME": "cuda-runtime",
            **dict.fromkeys(("CMAKE_CUDA_COMPILER", "CUDA_ARCHITECTURES", "CUDA_BIN_PATH"), ""),
            **dict.fromkeys(("CUDA_NVCC_EXECUTABLE", "CUDA_TOOLKIT_ROOT_DIR", "NVCC_PATH"), ""),
        },
    ),
}

_COMMENT = re.compile(r"^[ \t]*#.*$", re.MULTILINE)
_CONTINUED = re.compile(r"\\[ \t]*\n")
_INSTALLED = re.compile(r"\binstall\b([^&|;\n]*)")


@dataclass(frozen=True)
class Provided:
    """All packages of a catalog by name, and the files that decided which recipes get the base stages."""

    packages: dict[str, Package]
    inputs: dict[str, str] = field(default_factory=dict)


def with_base_stages(packages: Mapping[str, Package], plain: Set[str], here: Set[str], platform: Platform) -> Provided:
    """Let recipes written for upstream's base stages depend on what stands for those here.

    These are all of upstream's format, and of the `plain` ones (names of packages with only a header, in a directory
    that the user added) those that name something which nothing below them brings. `here` are those of the two packages
    that the platform has. A recipe gets nothing where no base stage of ours is below it. They come first in its
    `depends`, so that all images with such recipes share them.
    """
    found: dict[str, Package] = dict(packages)
    inputs: dict[str, str] = {}
    offered = [name for name in CONTRACTS if name in here]
    theirs = [item for item in packages.values() if item.adaptable or item.name in plain]
    if not offered or not theirs:
        return Provided(found)
    reach = Reach([*packages.values()], indirect=True)
    foreign = {package.family for package in theirs}
    below_the_base = frozenset[str]().union(*(reach.families(packages[name]) for name in offered))
    for package in theirs:
        below = reach.families(package)
        if package.dockerfile is None or package.family in below_the_base:
            continue
        texts = {} if package.adaptable else _texts(package)
        inputs |= {f"file:{path}": config_py.stamp(f"file:{path}") for path in texts}
        owed = [
            name
            for name in offered
            if CONTRACTS[name].over & (below - foreign)
            and (package.adaptable or missing(list(texts.values()), CONTRACTS[name].words, below))
        ]
        further = tuple(Dependency(family=name) for name in owed if not any(d.family == name for d in package.depends))
        variables = build_variables(platform) if owed else {}
        found[package.name] = replace(package, depends=(*further, *package.depends), variables=variables)
    return Provided(found, inputs)


def build_variables(platform: Platform) -> dict[str, str]:
    """What upstream's images say about servers: given to the commands of a recipe, and left in no image.

    Uploads lead nowhere, and without a server of ready-made archives recipes compile.
    """
    index = "https://pypi.org/simple"
    if platform.arch is Arch.TEGRA and platform.l4t and platform.l4t.major == 36 and platform.cuda:
        index = f"https://pypi.jetson-ai-lab.io/jp6/cu{platform.cuda.major}{platform.cuda.minor}/+simple/"
    servers = {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index, "TWINE_REPOSITORY_URL": "http://localhost:9/"}
    nowhere = dict.fromkeys(("FALLBACK_TAR_INDEX_URL", "TAR_INDEX_URL", "TAR_UPLOAD_URL"), "")
    return {**servers, "TWINE_PASSWORD": "none", "TWINE_USERNAME": "none", **nowhere}


def missing(texts: Sequence[str], words: Mapping[str, str], below: Set[str]) -> list[str]:
    """The words that Dockerfile or scripts use and that neither they nor a family below them bring.

    What stands behind an `install` of apt or pip is brought.
    """
    commands = [_CONTINUED.sub(" ", _COMMENT.sub("", text)) for text in texts]
    brought = {word for text in commands for part in _INSTALLED.findall(text) for word in part.split()}
    return [
        word
        for word, family in words.items()
        if (not family or family not in below)
        and word not in brought
        and any(re.search(rf"(?<![\w./-]){re.escape(word)}(?![\w.-])", text) for text in commands)
    ]


def _texts(package: Package) -> dict[str, str]:
    """The Dockerfile and the shell scripts beside it, but not its tests, by path."""
    tests = {files.program(test) for test in package.test}
    scripts = (path for path in package.path.glob("*.sh") if path.name not in tests)
    found = {}
    for path in (package.path / (package.dockerfile or ""), *sorted(scripts)):
        try:
            found[str(path)] = files.read_text(path, tree=package.tree, errors="replace")
        except RecipeError:
            continue  # the build says what is wrong with it
    return found
