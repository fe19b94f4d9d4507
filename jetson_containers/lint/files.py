"""The files of recipes, each read once, and what a RUN really does: the scripts of the context it starts included."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.dockerfile.parser import parse, split_lines, stages
from jetson_containers.lint import shell
from jetson_containers.recipes import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.dockerfile.parser import BuildStage, Instruction
    from jetson_containers.lint.shell import Command

UNSEEN = frozenset({".git", "__pycache__", ".jetson", "node_modules"})
_SHELLS = frozenset({"bash", "sh", "dash", "source", "."})


@dataclass(frozen=True)
class Step:
    """One command of a RUN or script, with the file it stands in."""

    command: Command
    file: Path

    @property
    def name(self) -> str:
        """The program's name."""
        return self.command.name


@dataclass
class Files:
    """Texts by path, read once; `texts` holds all that were looked at."""

    texts: dict[Path, str] = field(default_factory=dict)
    _shell: dict[Path, tuple[Command, ...]] = field(default_factory=dict)

    def text(self, path: Path) -> str:
        """A file's text. Raises RecipeError when it cannot be read."""
        if path not in self.texts:
            self.texts[path] = files.read_text(path)
        return self.texts[path]

    def script(self, path: Path) -> tuple[Command, ...]:
        """The commands of a shell script."""
        if path not in self._shell:
            self._shell[path] = shell.commands(self.text(path))
        return self._shell[path]

    def folder(self, path: Path, shared: Mapping[str, Path] | None = None) -> Folder:
        """One package directory; `shared` are the files it shares with others, by their path in a build context."""
        return Folder(path=path, files=self, shared=shared or {})


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A package directory: its files and scripts, those that it shares with others included."""

    path: Path
    files: Files
    shared: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def listing(self) -> tuple[Path, ...]:
        """All files, sorted; directories of other packages and of tools left out, and none behind a link."""
        return () if self.path.is_symlink() else tuple(sorted(_walk(self.path, top=True)))

    def file(self, name: str) -> Path:
        """The file that a path in the build context means, whether it is there or not."""
        return self.shared.get(name, self.path / name)

    @cached_property
    def scripts(self) -> tuple[Path, ...]:
        """The shell scripts: by name, or by their first line."""
        files = (*self.listing, *self.shared.values())
        return tuple(path for path in files if path.suffix in {".sh", ".bash"} or _has_shebang(path))

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        return {path.name: path for path in reversed(self.scripts)}  # the recipe's own before a shared one

    def expand(self, commands: Sequence[Command], file: Path, seen: frozenset[Path] = frozenset()) -> list[Step]:
        """The commands with those of the scripts they start, each after the one that starts it."""
        steps: list[Step] = []
        for command in commands:
            steps.append(Step(command, file))
            script = self._started(command)
            if script is not None and script not in seen:
                steps += self.expand(self.files.script(script), script, seen | {script})
        return steps

    def _started(self, command: Command) -> Path | None:
        words = command.words
        if command.name in _SHELLS:
            words = tuple(word for word in words[1:] if not word.startswith("-"))
        return self._by_name.get(words[0].rpartition("/")[2]) if words else None


@dataclass(frozen=True, kw_only=True)
class Text:
    """A Dockerfile, parsed. `steps_of` gives what a RUN does."""

    path: Path
    text: str
    folder: Folder

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """All of it. Raises RecipeError."""
        return parse(self.text, self.path)

    @cached_property
    def stages(self) -> tuple[BuildStage, ...]:
        """Its build stages; the last one makes the image."""
        return stages(self.instructions)

    def steps_of(self, run: Instruction) -> list[Step]:
        """The commands of a RUN with their lines, and those of the scripts it starts."""
        if run.arguments.startswith("["):
            commands: tuple[Command, ...] = (shell.Command(words=run.words, line=run.line, end=run.end),)
        else:
            commands = shell.commands(self._shell_text(run), run.line)
        return self.folder.expand(commands, self.path)

    def _shell_text(self, run: Instruction) -> str:
        """The lines of a RUN as its shell sees them, with as many lines as the file has."""
        lines = split_lines(self.text)[run.line - 1 : run.end]
        first = re.sub(r"^\s*RUN\s+(?:--[a-z]+(?:=\S+)?\s+)*", "", lines[0], flags=re.IGNORECASE)
        rest = ["\\" if not line.strip() or line.lstrip().startswith("#") else line for line in lines[1:]]
        return "\n".join([first, *rest])


def _walk(folder: Path, *, top: bool) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=folder) from None
    if not top and any(entry.name == "config.yaml" or entry.name.startswith("Dockerfile") for entry in entries):
        return
    for entry in entries:
        if entry.name in UNSEEN:
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry, top=False)
        elif entry.is_file():
            yield entry


def _has_shebang(path: Path) -> bool:
    if path.suffix:
        return False
    with path.open("rb") as file:
        return bool(re.match(rb"#!\s*\S*(?:/|env\s+)(?:ba|da)?sh\b", file.readline(80)))
