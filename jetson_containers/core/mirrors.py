"""The setting `mirrors`: other servers for what builds fetch. They are used in builds alone, never in images or keys.

    mirrors:
      git: {https://github.com/: https://git.example/mirror/}
      python: https://pypi.example/simple

`git` maps beginnings of addresses to others, as git's `url.insteadOf` does; `python` is an index for pip and uv.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = ("git", "python")
_ADDRESS = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"=@]*"


def parse(raw: Any) -> dict[str, Any]:
    """Read the setting: a mapping, or the same as text in JSON. Raises ValueError or TypeError.

    >>> parse('{"git": {"https://github.com/": "git://127.0.0.1/"}}')
    {'git': {'https://github.com/': 'git://127.0.0.1/'}}
    """
    data = json_text.parse(raw) if isinstance(raw, str) and raw.strip() else raw or {}
    if not isinstance(data, dict) or not data.keys() <= set(KINDS):
        raise ValueError(raw)
    git, python = data.get("git") or {}, data.get("python") or ""
    if not isinstance(git, dict) or not isinstance(python, str):
        raise TypeError(raw)
    if not all(isinstance(word, str) and re.fullmatch(_ADDRESS, word) for pair in git.items() for word in pair):
        raise ValueError(raw)
    if python and not re.fullmatch(_ADDRESS, python):
        raise ValueError(raw)
    return {kind: value for kind, value in (("git", dict(git)), ("python", python)) if value}


def git_variables(prefixes: Mapping[str, str]) -> dict[str, str]:
    """What makes git ask the mirrors: read by every release, where GIT_CONFIG_COUNT needs git 2.31."""
    if not prefixes:
        return {}
    items = (f"'url.{mirror}.insteadOf={prefix}'" for prefix, mirror in sorted(prefixes.items()))
    return {"GIT_CONFIG_PARAMETERS": " ".join(items)}
