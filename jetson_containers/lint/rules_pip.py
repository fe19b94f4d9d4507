"""Rules about pip: what it may install is pinned, and its cache does not stay in a layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.lint import shell
from jetson_containers.lint.findings import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.lint.files import Step
    from jetson_containers.lint.findings import LintFinding

# options whose value is the next word
_VALUES = re.compile(
    r"-[rcdwtfiC]|--(?:requirement|constraint|dest|wheel-dir|target|find-links|(?:extra-)?index-url|(?:default-)?index"
    r"|prefix|root|python|platform|python-version|no-binary|only-binary|config-settings|global-option|build-option"
    r"|progress-bar|retries|timeout|cert|proxy|trusted-host|upgrade-strategy|src|abi|implementation|report"
    r"|no-build-isolation-package|torch-backend|index-strategy|prerelease)"
)
_EXACT = re.compile(r"[A-Za-z0-9_.-]+(?:\[[^\]]*\])?\s*===?\s*[^,*]+(?:\s*;.*)?")
_LOCAL = re.compile(r"(?:\.{0,2}/|\.$|\$\{?\w+\}?/|file:).*|.*\.(?:whl|tar\.gz|zip)(?:\[[\w,-]+\])?$")
_VARIABLE = re.compile(r"\$\{?(\w+)(?:\[[@*]\])?\}?")
_GIT = re.compile(r"(?:[\w.-]+\s*@\s*)?git\+\S+?@(?:[0-9a-f]{40}|\$\{?\w+\}?)(?:#.*)?$")
_HASHED_URL = re.compile(r"\S*https?://\S+#sha256=[0-9a-f$]\S+")


def unpinned(steps: Sequence[Step]) -> Iterator[LintFinding]:
    """What pip or uv installs without an exact version, hash or file."""
    values = shell.assignments(tuple(step.command for step in steps))
    wrappers = _wrappers(steps)
    for step in steps:
        words = _arguments(step.command.words, wrappers)
        if words is None or {"--require-hashes", "--no-index"} & set(words):
            continue
        for problem in _problems(words, step, values):
            yield finding("pip-unpinned", step.file, step.command.line, problem, end=step.command.end)


def cache(steps: Sequence[Step]) -> Iterator[LintFinding]:
    """Installs that leave pip's cache behind. Judges only what runs where PIP_NO_CACHE_DIR is not set."""
    if any(step.name == "rm" and any(".cache" in word for word in step.command.words) for step in steps):
        return
    for step in steps:
        words = _arguments(step.command.words, {})
        variables = " ".join((*step.command.assignments, *step.command.words))
        if words is not None and not {"--no-cache-dir", "--no-cache"} & set(words) and "NO_CACHE" not in variables:
            command = step.command
            yield finding("pip-cache", step.file, command.line, "pip's cache stays in the layer", end=command.end)


def _arguments(words: Sequence[str], wrappers: Mapping[str, list[str]]) -> list[str] | None:
    """What follows `pip install` (download, wheel), however pip is started; None for any other command."""
    if words and words[0] in wrappers:
        return [*wrappers[words[0]], *words[1:]]
    rest = list(words)
    for position, word in enumerate(rest[:8]):
        name = word.rpartition("/")[2]
        is_pip = re.fullmatch(r"pip(?:3(?:\.[0-9]+)?)?", name) and (position == 0 or rest[position - 1] != "install")
        if is_pip:
            verb = next((at for at, item in enumerate(rest[position + 1 :], position + 1) if item[:1] != "-"), None)
            if verb is not None and rest[verb] in {"install", "download", "wheel"}:
                return [*rest[position + 1 : verb], *rest[verb + 1 :]]
            return None
    return None


def _wrappers(steps: Sequence[Step]) -> dict[str, list[str]]:
    """Functions that hand their arguments to pip: `pip_install() { pip install --no-deps "$@"; }`."""
    found = {}
    for step in steps:
        words = _arguments(step.command.words, {})
        if step.command.function and words is not None and "$@" in words:
            found[step.command.function] = [word for word in words if word != "$@"]
    return found


def _problems(words: Sequence[str], step: Step, values: Mapping[str, list[str]]) -> Iterator[str]:
    complete = "--no-deps" in words
    skip = False
    for index, word in enumerate(words):
        if skip:
            skip = False
            continue
        if _VALUES.fullmatch(word):
            skip = True
            if word in {"-r", "--requirement"} and index + 1 < len(words):
                yield from _requirements(words[index + 1], step)
        elif word in {"-e", "--editable"} or word.startswith("-"):
            continue
        elif _LOCAL.match(word):
            if not complete and word.endswith((".", "/")):
                yield f"`{word}` brings dependencies that are not pinned: --no-deps, and a lock for them"
        elif not _is_exact(word, values):
            yield f"`{word}` is not pinned"


def _is_exact(word: str, values: Mapping[str, list[str]], depth: int = 0) -> bool:
    if word in {"$@", "$*", "$1"} or _EXACT.fullmatch(word) or _GIT.fullmatch(word) or _HASHED_URL.fullmatch(word):
        return True
    variable = _VARIABLE.fullmatch(word)
    if variable is None or depth > 3:
        return False
    known = [item for value in values.get(variable[1], ()) for item in value.strip("()").split()]
    return bool(known) and all(_LOCAL.match(item) or _is_exact(item.strip("\"'"), values, depth + 1) for item in known)


def _requirements(name: str, step: Step) -> Iterator[str]:
    """A requirements file of the context whose lines are not exact; one that is only there at build time is not."""
    path = step.file.parent / name.rpartition("/")[2]
    if "$" in path.name or not path.is_file():
        yield f"`-r {name}` without --require-hashes"
        return
    try:
        lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot be read: {error}", path=path) from None
    for line in lines:
        text = line.partition(" #")[0].strip()
        if text and not text.startswith(("#", "-")) and not _EXACT.match(text.partition("--hash")[0].strip()):
            yield f"`{text}` of {path.name} is not pinned"
