"""The setting `mirrors`: other servers for what builds fetch. They are used in builds alone, never in images or keys.

    mirrors:
      preset: china
      git: {https://github.com/: https://git.example/mirror/}
      apt: {http://ports.ubuntu.com/ubuntu-ports/: https://apt.example/ubuntu-ports/}
      files: {https://github.com/: https://files.example/github/}
      registries: {nvcr.io: registry.example/nvcr}
      python: https://pypi.example/simple
      npm: https://npm.example/
      crates: sparse+https://crates.example/index/
      hub: https://hub.example

`git`, `apt` and `files` map beginnings of addresses to others, the longest that fits counts; `registries` maps hosts of
image names. The others are one address each: a package index for pip and uv, an npm registry, a cargo registry, and
the model hub. A preset of `facts/mirrors.yaml` is a name, alone or with settings that go over it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIXES = ("git", "apt", "files")
ADDRESSES = ("python", "npm", "crates", "hub")
REGISTRIES = "registries"
PRESET = "preset"
HUB_VARIABLE = "HF_ENDPOINT"
KINDS = (*PREFIXES, REGISTRIES, *ADDRESSES)
IN_BUILDS = (*PREFIXES, *ADDRESSES)  # what the commands of a build are told; images are pulled by the engine
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"=@\\]*"
_WEB = r"(?:sparse\+)?https?://[^/\s'\"=@\\][^\s'\"=@\\]*"  # what pip, npm, cargo and the hub's clients read
_IMAGES = r"[a-z0-9.-]+(?::[0-9]+)?(?:/[a-z0-9._/-]+)?"


def parse(raw: Any) -> dict[str, Any]:
    """Read the setting: a mapping, the same as text in JSON, or a preset's name. Raises ValueError or TypeError.

    >>> parse('{"git": {"https://github.com/": "git://127.0.0.1/"}}')
    {'git': {'https://github.com/': 'git://127.0.0.1/'}}
    """
    data = raw or {}
    if isinstance(raw, str) and raw.strip():
        data = json_text.parse(raw) if raw.lstrip().startswith(("{", "[", '"')) else {PRESET: raw.strip()}
    if not isinstance(data, dict) or not data.keys() <= {*KINDS, PRESET}:
        raise ValueError(raw)
    given = {kind: _checked(kind, data.get(kind)) for kind in KINDS}
    if PRESET in data:
        given = _over(_preset(data[PRESET]), given)
    return {kind: value for kind, value in given.items() if value}


def _checked(kind: str, value: Any) -> Any:
    if kind in ADDRESSES:
        if value and not (isinstance(value, str) and re.fullmatch(_WEB, value)):
            raise ValueError(value)
        return value or ""
    if value is not None and not isinstance(value, dict):
        raise TypeError(value)
    form = _IMAGES if kind == REGISTRIES else _ADDRESS
    words = [word for pair in (value or {}).items() for word in pair]
    if not all(isinstance(word, str) and re.fullmatch(form, word) for word in words):
        raise ValueError(value)
    return dict(value or {})


def _preset(name: Any) -> dict[str, Any]:
    from jetson_containers.core.facts import load_facts

    rows = load_facts("mirrors")["presets"]
    if not isinstance(name, str) or name not in rows:
        raise ValueError(name)
    return {kind: _checked(kind, rows[name].get(kind)) for kind in KINDS}


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    return {
        kind: {**lower[kind], **upper[kind]} if isinstance(upper[kind], dict) else upper[kind] or lower[kind]
        for kind in KINDS
    }


def git_variables(prefixes: Mapping[str, str]) -> dict[str, str]:
    """What makes git ask the mirrors: read by every release, where GIT_CONFIG_COUNT needs git 2.31."""
    if not prefixes:
        return {}
    items = (f"'url.{mirror}.insteadOf={prefix}'" for prefix, mirror in sorted(prefixes.items()))
    return {"GIT_CONFIG_PARAMETERS": " ".join(items)}


def image_at(reference: str, registries: Mapping[str, str]) -> str:
    """Where an image is pulled from: its name on the mirror of its registry, or the same name.

    A name with a digest stays: no other image can be given it.

    >>> image_at("ubuntu:24.04", {"docker.io": "mirror.example/hub"})
    'mirror.example/hub/library/ubuntu:24.04'
    >>> image_at("nvcr.io/nvidia/cuda:13.0", {"docker.io": "mirror.example"})
    'nvcr.io/nvidia/cuda:13.0'
    """
    host, path = _split(reference)
    mirror = registries.get(host)
    return f"{mirror}/{path}" if mirror and "@" not in reference else reference


def host_of(reference: str) -> str:
    """The registry that an image's name means.

    >>> host_of("dustynv/mlc:r36.4"), host_of("localhost:5000/a")
    ('docker.io', 'localhost:5000')
    """
    return _split(reference)[0]


def _split(reference: str) -> tuple[str, str]:
    """The registry's host and the rest of an image's name, as Docker reads it."""
    first, slash, rest = reference.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = "docker.io", reference
    if host in {"docker.io", "index.docker.io"}:
        return "docker.io", path if "/" in path else f"library/{path}"
    return host, path
