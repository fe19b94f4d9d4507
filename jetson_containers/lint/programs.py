"""Programs that a recipe calls and that neither it nor a package below it brings, such as `git` on a bare `python`.

A program counts as brought where its name, or that of an apt package with it, stands behind any command: in a list for
apt or pip, in `command -v git`, in a variable. So a recipe that says how it gets a program has no finding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.lint import rules_shared
from jetson_containers.lint.files import Files, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.lint.files import Step
    from jetson_containers.recipes.package import Package

# What plain distributions lack, and the words that bring it besides its own name.
BROUGHT_BY: Mapping[str, tuple[str, ...]] = {
    "cargo": ("rustup", "rust"),
    "cmake": (),
    "curl": (),
    "g++": ("build-essential",),
    "gcc": ("build-essential", "g++"),
    "git": (),
    "make": ("build-essential",),
    "ninja": ("ninja-build",),
    "nvcc": ("cuda",),
    "pip": ("python3-pip", "python", "pip3"),
    "pip3": ("python3-pip", "python", "pip"),
    "twine": (),
    "unzip": (),
    "uv": (),
    "wget": (),
}
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


@dataclass
class Programs:
    """What Dockerfiles call and bring, each read once."""

    files: Files
    _calls: dict[tuple[Path, str], tuple[dict[str, int], frozenset[str]]] = field(default_factory=dict)

    def missing(self, package: Package, dockerfile: str, below: Sequence[Package]) -> Iterator[tuple[str, Path, int]]:
        """Program, file and line of each first call of one that nothing brings. Raises RecipeError."""
        calls, brought = self._of(package, dockerfile)
        words = set(brought) | {package.family}
        for other in below:
            words |= {other.family}
            if other.dockerfile and other is not package:
                words |= self._of(other, other.dockerfile)[1]
        for program, line in calls.items():
            if not words & {program, *BROUGHT_BY[program]}:
                yield program, package.path / dockerfile, line

    def _of(self, package: Package, dockerfile: str) -> tuple[dict[str, int], frozenset[str]]:
        key = (package.path, dockerfile)
        if key not in self._calls:
            self._calls[key] = self._read(package, dockerfile)
        return self._calls[key]

    def _read(self, package: Package, dockerfile: str) -> tuple[dict[str, int], frozenset[str]]:
        """The programs called with their first lines, and all words that may bring one.

        Nothing is said of a template, and of stages that stand on another image than the one below.
        """
        folder = self.files.folder(package.path, rules_shared.shared_of([package]))
        path = package.path / dockerfile
        text = Text(path=path, text=self.files.text(path), folder=folder)
        brought = set(_WORD.findall(" ".join(package.build_args.values())))
        calls: dict[str, int] = {}
        if path.suffix == ".j2":
            return {}, frozenset(_WORD.findall(text.text))
        plain = len(text.stages) == 1 and "BASE_IMAGE" in text.stages[0].base
        for instruction in text.instructions:
            if instruction.keyword != "RUN":
                brought |= set(_WORD.findall(instruction.arguments))
                continue
            for step in text.steps_of(instruction):
                brought |= _words(step)
                if plain and step.name in BROUGHT_BY:
                    calls.setdefault(step.name, instruction.line)
        return calls, frozenset(brought)


def _words(step: Step) -> set[str]:
    command = step.command
    texts = (*command.words[1:], *command.assignments, command.body)
    return {word for text in texts for word in _WORD.findall(text)}


def check(
    programs: Programs, package: Package, below: Sequence[Package], compiling: Sequence[Package]
) -> Iterator[tuple[str, int, str]]:
    """File, line and message of each program that a package calls and nothing brings."""
    dockerfiles = [(package.dockerfile, below)]
    if package.artifacts:
        dockerfiles.append((package.artifacts.dockerfile, compiling))
    for dockerfile, under in dockerfiles:
        if not dockerfile:
            continue
        try:
            for program, file, line in programs.missing(package, dockerfile, under):
                yield str(file), line, f"calls `{program}`, which neither it nor a package below it brings"
        except RecipeError:
            continue  # the rules that read it say so
