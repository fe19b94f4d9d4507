"""Names of apt packages that the distribution of a platform does not have (`facts/apt.yaml`)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.core.facts import load_facts
from jetson_containers.dockerfile.parser import parse
from jetson_containers.lint import shell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def absent(package: Package, platform: Platform) -> Iterator[str]:
    """What each Dockerfile of a package installs by a name that its distribution does not have, as messages.

    Only what a RUN says itself is judged: a script may ask the distribution first.
    """
    names = [package.dockerfile, package.artifacts.dockerfile if package.artifacts else None]
    for path in (package.path / name for name in names if name and not name.endswith(".j2")):
        for name in _installed(path, {key: str(value) for key, value in package.build_args.items()}):
            if message := _problem(name, f"{platform.distro}:{platform.distro_version}"):
                yield message


def _problem(name: str, distribution: str) -> str:
    row = load_facts("apt").get(name, {})
    if distribution not in row.get("absent", ()):
        return ""
    instead = f"; it has `{row['instead']}`" if "instead" in row else ""
    return f"{distribution} has no package `{name}`{instead}"


def _installed(path: Path, values: Mapping[str, str]) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return  # the rules that read it say so
    try:
        runs = [step for step in parse(text, path) if step.keyword == "RUN"]
    except RecipeError:
        return
    for run in runs:
        for command in shell.commands(run.arguments):
            if command.name in {"apt-get", "apt"} and "install" in command.words:
                for word in command.words[command.words.index("install") + 1 :]:
                    filled = _VARIABLE.sub(lambda match: values.get(match[1] or match[2], match[0]), word)
                    yield from (name.partition("=")[0] for name in filled.split() if _NAME.match(name))
