"""Where the layer cache of each stage is kept: `--cache-to` and `--cache-from` name one place, a plan has many stages.

An export replaces what stood at its place, so the last stage would leave nothing of the others. Each stage has a place
of its own below the one that is named: a tag in the registry's repository, or a folder in the folder. It bears the
stage's name and platform and not its key, because the cache is there for what has changed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.images.name import platform_tag
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jetson_containers.builder.graph import Node

LONGEST_TAG = 128


def exports(entries: Iterable[str], node: Node) -> tuple[str, ...]:
    """The `--cache-to` of a stage."""
    return tuple(_moved(entry, node, "dest") or entry for entry in entries)


def imports(entries: Iterable[str], node: Node) -> tuple[str, ...]:
    """The `--cache-from` of a stage: its own place, then the one that was named (an image with an inline cache)."""
    found: list[str] = []
    for entry in entries:
        own = _moved(entry, node, "src")
        folder = _fields(own or "").get("src")
        # Not every builder goes on when a folder is missing; a tag that is missing is only a warning.
        if own and (folder is None or Path(folder, "index.json").is_file()):
            found.append(own)
        found.append(entry)
    return tuple(dict.fromkeys(found))


def _moved(entry: str, node: Node, folder: str) -> str | None:
    """An entry with the stage's own place; None for a kind that has no places (inline, GitHub's, S3)."""
    fields = _fields(entry)
    kind = fields.get("type")
    if kind == "registry" and fields.get("ref"):
        fields["ref"] = _tagged(fields["ref"], _slug(node))
    elif kind == "local" and fields.get(folder):
        fields[folder] = str(Path(fields[folder], _slug(node)))
    elif kind is None and entry and "=" not in entry:
        return _tagged(entry, _slug(node))
    else:
        return None
    return ",".join(f"{name}={value}" for name, value in fields.items())


def _fields(entry: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in entry.split(","))
    return {name.strip().lower(): value for name, equals, value in pairs if equals}


def _tagged(reference: str, slug: str) -> str:
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    tag = f"{tag[: LONGEST_TAG - 1 - len(slug)]}-{slug}" if tag else slug
    return f"{folder}{slash}{repository}:{tag}"


def _slug(node: Node) -> str:
    stage = node.stage
    compiled = "-artifacts" if stage.kind is StageKind.ARTIFACT else ""
    package = re.sub(r"[^a-z0-9._]+", "-", stage.package.lower()).strip("-._")
    return f"{package[:60]}{compiled}-{platform_tag(node.plan.platform)}"[:100]
