"""What a shell offers after TAB: names of packages, targets, boards, images, models, runtimes and settings.

click's completion knows commands and options; which values a parameter takes is told here by its name. Nothing is
built, pulled or asked over the network, and what fails offers nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

from jetson_containers.cli.app import App

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CATALOG_OPTIONS = frozenset({"target", "tree", "package_dirs"})
DOCKER_PATIENCE = 3  # seconds
_IMAGE_NAMES = ["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]


class _WithValues(ShellComplete):
    """A shell's completion with the values of parameters."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """The values of the parameter at hand, else what click offers: commands, options, choices, files."""
        context = click.shell_completion._resolve_context(self.cli, self.ctx_args, self.prog_name, args)  # noqa: SLF001
        found, word = click.shell_completion._resolve_incomplete(context, args, incomplete)  # noqa: SLF001
        if isinstance(found, click.Parameter) and (values := _values_of(context, found)) is not None:
            begun, _, last = word.rpartition(",") if found.name in LISTS else ("", "", word)
            before = f"{begun}," if begun else ""
            try:
                every = set(values(_app(context), last))
                names = sorted(name for name in every if name.startswith(last))
                names = names or sorted(name for name in every if name.lower().startswith(last.lower()))
            except Exception:  # noqa: BLE001 - a shell waits for names; an error in their place would be typed into the line
                names = []
            return [CompletionItem(before + name) for name in names]
        return list(super().get_completions(args, incomplete))


class BashValues(_WithValues, BashComplete):
    """Bash, which takes words apart at `:` and `=` before it asks, and completes only the last part."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Join what bash took apart."""
        words = click.shell_completion.split_arg_string(os.environ["COMP_WORDS"])
        current = int(os.environ["COMP_CWORD"])
        here = [*words[1:current], words[current] if current < len(words) else ""]
        joined: list[str] = []
        for word in here:
            glued = joined and (word in {":", "="} or joined[-1].endswith((":", "=")))
            joined[len(joined) - 1 if glued else len(joined) :] = [joined[-1] + word if glued else word]
        self._cut = joined[-1].rpartition(":")[0] if ":" in joined[-1] else ""
        return joined[:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """The part that bash is to put in the place of the last one."""
        value = str(item.value)
        cut = f"{self._cut}:" if self._cut else ""
        return f"{item.type},{value.removeprefix(cut)}"


class ZshValues(_WithValues, ZshComplete):
    """Zsh, whose words are whole; a `:` in a name would begin its description."""

    def format_completion(self, item: CompletionItem) -> str:
        """Type, value and description, a line each."""
        value = str(item.value).replace(":", "\\:") if item.help else str(item.value)
        return f"{item.type}\n{value}\n{item.help or '_'}"


class FishValues(_WithValues, FishComplete):
    """Fish, whose words are whole."""


SHELLS: dict[str, type[_WithValues]] = {"bash": BashValues, "zsh": ZshValues, "fish": FishValues}


def register() -> None:
    """Let click answer shells with our classes."""
    for name, kind in SHELLS.items():
        add_completion_class(kind, name)


def _app(context: click.Context) -> App:
    """The options given so far: `--target` and `--packages` decide which packages there are."""
    app = App()
    places = [context]
    while (parent := places[-1].parent) is not None:
        places.append(parent)
    for place in reversed(places):  # as they are parsed: what stands behind the command comes last
        app.update({name: value for name, value in place.params.items() if name in CATALOG_OPTIONS})
    return app


def _values_of(context: click.Context, parameter: click.Parameter) -> Callable[[App, str], Iterable[str]] | None:
    """Where the values of a parameter come from; None where click knows."""
    command = context.command.name or ""
    if (command, parameter.name) == ("set", "value"):
        return _switch if _is_switch(str(context.params.get("setting") or "")) else None
    return BY_COMMAND.get((command, parameter.name or "")) or BY_NAME.get(parameter.name or "")


def _is_switch(setting: str) -> bool:
    from jetson_containers.core.settings import OPTIONS

    return setting in OPTIONS and OPTIONS[setting].kind is bool


def _switch(_app: App, _begun: str) -> Iterable[str]:
    return ("on", "off")


def packages(app: App, begun: str) -> Iterator[str]:
    """Families; behind a `:` their versions."""
    for package in app.catalog.available.values():
        if ":" in begun:
            yield package.name
        else:
            yield package.name.partition(":")[0]


def targets(_app: App, _begun: str) -> Iterator[str]:
    """L4T releases, boards and CUDA versions, as parts of `--target`."""
    from jetson_containers.platforms import tables
    from jetson_containers.platforms.target import SUPPORTED_TARGETS

    yield from SUPPORTED_TARGETS
    yield from (f"r{row.l4t}" for row in tables.releases())
    yield from tables.board_ids()
    yield from (f"cu{version.major}{version.minor}" for version in tables.toolkits())


def boards(_app: App, _begun: str) -> Iterable[str]:
    """Boards and their other spellings."""
    from jetson_containers.platforms import tables

    return tables.board_ids()


def images(_app: App, begun: str) -> list[str]:
    """Images of the local store; nothing where the engine does not answer at once."""
    return [name for name in _docker(*_IMAGE_NAMES, *_filter(begun)) if "<none>" not in name]


def _docker(*words: str) -> list[str]:
    client = shutil.which("docker")
    if client is None:
        return []
    done = subprocess.run(
        [client, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=DOCKER_PATIENCE
    )
    return done.stdout.split()


def servers(_app: App, _begun: str) -> list[str]:
    """Containers of `llm serve`."""
    from jetson_containers.llm.containers import SERVER

    return _docker("ps", "--all", "--filter", f"label={SERVER}", "--format", "{{.Names}}")


def stored_models(app: App, _begun: str) -> set[str]:
    """Models of which something is stored here."""
    from jetson_containers.llm import context, stored

    return {one.model for one in stored.listing(app.settings.path("data"), context.downloads(app.settings))}


def _filter(begun: str) -> list[str]:
    """Fewer images are looked at where the beginning is known; behind a `:` the engine takes no pattern."""
    return ["--filter", f"reference={begun}*"] if re.fullmatch(r"[\w.-]+", begun) else []


def run_image(app: App, begun: str) -> list[str]:
    """The image of `run`; behind it everything belongs to the container."""
    return images(app, begun)


def models(app: App, begun: str) -> Iterator[str]:
    """Models that are known, and those that are here."""
    from jetson_containers.llm.models import known

    yield "tiny"
    yield from (name if "/" in begun else name.rpartition("/")[2] for name in known.configs())
    folder = app.settings.path("data") / "models"
    if folder.is_dir():
        yield from (str(path) for path in folder.glob("*.gguf"))
    yield from _downloaded(app)


def _downloaded(app: App) -> Iterator[str]:
    from jetson_containers.llm import context

    yield from (name for name, _, _ in context.downloads(app.settings))


def runtimes(_app: App, _begun: str) -> Iterable[str]:
    """Runtimes of language models."""
    from jetson_containers.llm.request import RUNTIMES

    return RUNTIMES


def setup_steps(_app: App, _begun: str) -> Iterable[str]:
    """Steps of `setup`."""
    from jetson_containers.cli.setup import NAMES

    return NAMES


def settings(_app: App, _begun: str) -> Iterable[str]:
    """Names of settings."""
    from jetson_containers.core.settings import OPTIONS

    return OPTIONS


def builds(app: App, _begun: str) -> Iterable[str]:
    """Builds that left a record, for `report`."""
    from jetson_containers.builder import records

    return (path.stem for path in records.listed(records.folder(app.settings.path("cache") / "build")))


LISTS = frozenset({"target", "skip_packages", "skip_tests"})  # parameters with several values in one word
BY_NAME: dict[str, Callable[[App, str], Iterable[str]]] = {
    "target": targets,
    "board": boards,
    "packages": packages,
    "patterns": packages,
    "names": packages,
    "skip_packages": packages,
    "skip_tests": packages,
    "image": images,
    "base": images,
    "model": models,
    "repositories": models,
    "runtime": runtimes,
    "steps": setup_steps,
    "setting": settings,
}
BY_COMMAND: dict[tuple[str, str], Callable[[App, str], Iterable[str]]] = {
    ("show", "name"): packages,
    ("why", "name"): packages,
    ("context", "name"): packages,
    ("pull", "name"): packages,
    ("report", "build"): builds,
    ("rm", "model"): stored_models,
    ("stop", "server"): servers,
    ("logs", "server"): servers,
    ("metrics", "server"): servers,
    ("run", "arguments"): run_image,
}


def source(cli: click.Command, shell: str, program: str) -> str:
    """The script that connects a shell's completion with a program."""
    variable = f"_{program}_COMPLETE".replace("-", "_").upper()
    return SHELLS[shell](cli, {}, program, variable).source()
