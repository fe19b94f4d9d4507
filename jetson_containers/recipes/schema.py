"""The keys of a recipe: what each may hold, and how its text is read.

Values come from `yaml_lines`, so every scalar is text as written; the readers here turn it into switches, sizes, times.
"""

from __future__ import annotations

import enum
import re
import shlex
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RequirementSyntaxError
from jetson_containers.core.text import shown
from jetson_containers.core.versions import LONGEST
from jetson_containers.recipes import rules, shared, templating
from jetson_containers.recipes.requirement import NAME, Dependency

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ValueKind(enum.Enum):
    """What a key may hold."""

    TEXT = "text"
    TEXTS = "text or a list of texts"
    DEPENDS = "a package or a list of packages"
    RULES = "a rule or a list of rules"
    ARGS = "a mapping of names to texts"
    MAPPING = "a mapping"
    FLAG = "true or false"
    DEFAULT = "true, false or the rules under which it is the default"
    SIZE = "a size such as `1.5G`"
    SECONDS = "a time such as `5400` (seconds), `90m` or `2h`"
    NAME = "a name of letters, digits and `_.+-`"
    ARTIFACTS = "a Dockerfile, or a mapping with `dockerfile` and `depends`"
    VERSIONS = "a list of mappings, each with a `version`"
    PLATFORMS = "a list of mappings, each with `requires`"
    VARIANTS = "a mapping of variant names to mappings"
    NETWORK = "`none`, `bridge` or `default`; the host's own network is the user's to give"
    FLAGS = "options of docker build"
    SHARE = "a file or directory of the tree's `shared/`, or a list of them"


# Upstream's spelling → ours, where both are accepted.
SYNONYMS = {"alias": "aliases", "build_args": "args"}

VARIANT_KEYS: Mapping[str, ValueKind] = {
    "args": ValueKind.ARGS,
    "artifacts": ValueKind.ARTIFACTS,
    "build_args": ValueKind.ARGS,
    "build_flags": ValueKind.FLAGS,
    "build_size": ValueKind.SIZE,
    "build_time": ValueKind.SECONDS,
    "caution": ValueKind.TEXTS,
    "coexist": ValueKind.FLAG,
    "depends": ValueKind.DEPENDS,
    "disabled": ValueKind.FLAG,
    "dockerfile": ValueKind.TEXT,
    "docs": ValueKind.TEXTS,
    "gpu_at_build": ValueKind.FLAG,
    "license": ValueKind.TEXTS,
    "memory_per_job": ValueKind.SIZE,
    "network": ValueKind.NETWORK,
    "notes": ValueKind.TEXTS,
    "postfix": ValueKind.TEXT,
    "prefix": ValueKind.TEXT,
    "requires": ValueKind.RULES,
    "share": ValueKind.SHARE,
    "source": ValueKind.MAPPING,
    "test": ValueKind.TEXTS,
    "timeout": ValueKind.SECONDS,
}
VERSION_KEYS: Mapping[str, ValueKind] = {
    **VARIANT_KEYS,
    "alias": ValueKind.TEXTS,
    "aliases": ValueKind.TEXTS,
    "default": ValueKind.DEFAULT,
    "version": ValueKind.NAME,
}
# `buildkit_device` is upstream's and without effect: our recipes need no GPU while building (see `gpu_at_build`).
HEADER_KEYS: Mapping[str, ValueKind] = {
    **VARIANT_KEYS,
    "alias": ValueKind.TEXTS,
    "aliases": ValueKind.TEXTS,
    "buildkit_device": ValueKind.TEXT,
    "config": ValueKind.TEXTS,
    "default": ValueKind.DEFAULT,
    "group": ValueKind.TEXTS,
    "name": ValueKind.NAME,
    "platforms": ValueKind.PLATFORMS,
    "variants": ValueKind.VARIANTS,
    "versions": ValueKind.VERSIONS,
}


# A check returns None when the value is right, "" for the general message of its kind, or a message of its own.
def _text_problem(value: Any) -> str | None:
    return None if value is None or isinstance(value, str) else ""


def _each(parse: Callable[[str], object]) -> Callable[[Any], str | None]:
    """A text that `parse` must accept unless it is a template; lists are checked item by item."""

    def problem(value: Any) -> str | None:
        if not value or not isinstance(value, str) or templating.is_template(value):
            return _text_problem(value)
        try:
            parse(value)
        except RequirementSyntaxError as error:
            return error.message
        return None

    return problem


def _name_problem(value: Any) -> str | None:
    return None if isinstance(value, str) and is_name(value) else ""


def is_name(text: str, *, upstream: bool = False) -> bool:
    """Whether a text can name a package: `family` or `family:version`, each short enough for an image's name.

    Upstream's versions may have further colons (`torchcodec:0.9-pytorch:2.9`).
    """
    versions = "*" if upstream else "?"
    return len(max(text.split(":"), key=len)) <= LONGEST and bool(re.fullmatch(rf"{NAME}(?::{NAME}){versions}", text))


def _default_problem(value: Any) -> str | None:
    return None if _text_problem(value) is None and flag(value) is not None else _each(rules.parse)(value)


def _parsed(parse: Callable[[str], object]) -> Callable[[Any], str | None]:
    def problem(value: Any) -> str | None:
        return None if value is None or (isinstance(value, str) and parse(value) is not None) else ""

    return problem


NETWORKS = frozenset({"", "none", "bridge", "default"})

# What a recipe may ask of docker build, and whether a value follows. Everything that reaches files, secrets, devices,
# networks or rights of the host, or other images, is left to the user: `--secret`, `--ssh`, `--file`, `--output`, …
_FLAGS = {
    "--build-arg": True, "--compress": False, "--cpu-period": True, "--cpu-quota": True, "--cpu-shares": True,
    "--cpuset-cpus": True, "--cpuset-mems": True, "--force-rm": False, "--memory": True, "--memory-swap": True,
    "--no-cache": False, "--no-cache-filter": True, "--pull": False, "--rm": False, "--shm-size": True,
    "--squash": False, "--target": True, "--ulimit": True,
}  # fmt: skip
_SWITCHED = frozenset({"true", "false", "1", "0"})


def build_flags(text: str) -> list[str]:
    """A recipe's options of docker build as words. Raises ValueError for one that only the user may give."""
    words = shlex.split(text)
    remaining = iter(words)
    for word in remaining:
        name, glued, value = word.partition("=")
        if name not in _FLAGS:
            raise ValueError(f"a recipe may not ask for `{shown(word)}`: only a user may give it, with --build-flags")
        if _FLAGS[name]:
            value = value if glued else next(remaining, "")
        elif glued and value not in _SWITCHED:
            raise ValueError(f"`{name}` takes no value")
        if _FLAGS[name] and not value:
            raise ValueError(f"`{name}` needs a value")
        if name == "--build-arg" and "=" not in value:  # docker would take it from the user's environment
            raise ValueError(f"`--build-arg {shown(value)}` has no value; write `args:`")
    return words


def _flags_problem(value: Any) -> str | None:
    if not value or not isinstance(value, str) or templating.is_template(value):
        return _text_problem(value)
    try:
        build_flags(value)
    except ValueError as error:
        return f"`build_flags`: {error}"
    return None


_SWITCHES = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flag(value: str | None) -> bool | None:
    """Read a switch as YAML 1.1 does; nothing is False, and None is "no switch"."""
    return False if value is None or value == "" else _SWITCHES.get(value.lower())


_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


def size(value: str) -> int | None:
    """Read a size in bytes: `1.5G` is 1.5 GiB, as container engines count memory. None when it is none."""
    match = _SIZE.fullmatch(value.strip())
    return round(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else None


_TIME = re.compile(r"([0-9]{1,9})\s*([smh]?)", re.IGNORECASE)


def seconds(value: str) -> int | None:
    """Read a duration in seconds: `5400`, `90m`, `2h`. None when it is none."""
    match = _TIME.fullmatch(value.strip())
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2].lower()] if match else None


def texts(value: Any) -> list[str]:
    """The items of a text or a list of texts; nothing and empty items are left out."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if item]


# How texts that are given as a list become one.
JOINED = {"caution": "; ", "docs": "\n", "group": ", ", "license": " AND ", "notes": "; "}


def joined(value: Any, key: str) -> str:
    """The text of a key of JOINED, which may be given as a list; two licenses both hold, as SPDX writes it."""
    return JOINED[key].join(str(item) for item in texts(value))


# Kinds whose value may be a list, each item of which is checked as the value alone would be.
LISTS = frozenset({ValueKind.TEXTS, ValueKind.DEPENDS, ValueKind.RULES, ValueKind.DEFAULT, ValueKind.SHARE})

PROBLEMS: Mapping[ValueKind, Callable[[Any], str | None]] = {
    ValueKind.TEXT: _text_problem,
    ValueKind.TEXTS: _text_problem,
    ValueKind.DEPENDS: _each(Dependency.parse),
    ValueKind.RULES: _each(rules.parse),
    ValueKind.ARGS: lambda value: None if value is None else "",
    ValueKind.MAPPING: lambda value: None if value is None or isinstance(value, dict) else "",
    ValueKind.FLAG: lambda value: None if _text_problem(value) is None and flag(value) is not None else "",
    ValueKind.DEFAULT: _default_problem,
    ValueKind.SIZE: _parsed(size),
    ValueKind.SECONDS: _parsed(seconds),
    ValueKind.NAME: _name_problem,
    ValueKind.NETWORK: lambda value: None if value is None or value in NETWORKS else "",
    ValueKind.FLAGS: _flags_problem,
    ValueKind.SHARE: _each(shared.check),
    ValueKind.ARTIFACTS: lambda value: None if isinstance(value, str) and value else "",
    ValueKind.VERSIONS: lambda _: "",
    ValueKind.VARIANTS: lambda _: "",
}
