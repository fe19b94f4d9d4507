"""Content keys: what goes into an image, as one hash that any machine computes alike.

Of a context only the files count that COPY, ADD or a bind mount can reach, by relative path, executable bit and
bytes: no times, owners, absolute paths or order of a directory. Files that define a package (header, `config.yaml`,
tests, docs) count only where a Dockerfile names them, so that editing a test does not rebuild anything.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import hashlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import RecipeError
from jetson_containers.core.files import file_digest
from jetson_containers.core.text import shown
from jetson_containers.dockerfile.parser import parse
from jetson_containers.recipes.files import is_there, read_text
from jetson_containers.recipes.shared import PLACE, UNSEEN

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from jetson_containers.dockerfile.parser import Instruction

_Made = TypeVar("_Made")

LARGEST_CONTEXT = 4 << 30  # bytes; all of it is read for the key, before every build
NOTED_CONTEXT = 512 << 20  # bytes from which on that deserves a word
SCHEMA = 1  # raise it when the same inputs shall give other keys; every image is then built again

_DEFINITION = re.compile(r"(?:Dockerfile.*|config\.(?:ya?ml|json|py)|README.*|\.dockerignore)", re.IGNORECASE)
_REMOTE = re.compile(r"(?:https?|git|ssh|ftp)://|git@", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ContextFile:
    """One file of a build context. `path` is relative, with `/`; `content` is the hash of its bytes or link target."""

    path: str
    executable: bool
    content: str
    size: int = field(default=0, compare=False)  # bytes


def digest(payload: object) -> str:
    """Hash data of dicts, lists and scalars: `sha256:` over its canonical JSON."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def stage_key(
    *,
    package: str,
    kind: str,
    dockerfile: Sequence[Sequence[str]],
    context: Sequence[ContextFile],
    args: Mapping[str, str],
    platform: str,
    parent: str,
    artifacts: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> str:
    """Compute the key of one image from its canonical Dockerfile and everything else that reaches the build.

    `platform` is Docker's (`linux/arm64`) and nothing more of the machine: what a recipe takes from the platform
    (CUDA, SM list, Python) reaches the build as text or arguments and is in the key as such. `parent` is the key
    below, or the base image with its digest where known.
    """
    payload: dict[str, Any] = {
        "schema": SCHEMA,
        "package": package,
        "kind": kind,
        "dockerfile": list(map(list, dockerfile)),
        "context": [[file.path, file.executable, file.content] for file in context],
        "args": dict(args),
        "platform": platform,
        "parent": parent,
        "artifacts": list(artifacts),
        "flags": list(flags),
    }
    return digest(payload)


_Listing = list[tuple[str, "Callable[[], ContextFile]"]]


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    """What was read of one tree: contexts by their place, and what was made of an object, which is kept with it."""

    listings: dict[Path, _Listing] = field(default_factory=dict)
    made: dict[tuple[Any, ...], tuple[object, Any]] = field(default_factory=dict)


_remembered: contextvars.ContextVar[_Remembered | None] = contextvars.ContextVar("remembered", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Read each context once while many keys are made of one tree, as lint and plans of everything do.

    A plan of one image reads a package twice, for its compile part and its layer. Not for a build: files may change
    while it runs.
    """
    token = _remembered.set(_Remembered())
    try:
        yield
    finally:
        _remembered.reset(token)


def remembered(owner: object, what: tuple[Hashable, ...], make: Callable[[], _Made]) -> _Made:
    """What `make` gives for an object; the same again for the same `what` within `remembering`."""
    known = _remembered.get()
    if known is None:
        return make()
    key = (id(owner), *what)
    if key not in known.made:
        known.made[key] = (owner, make())  # as long as it lives, no other object has its id
    found: _Made = known.made[key][1]
    return found


def _entries(root: Path) -> _Listing:
    """The files of a context by name, each read when it is asked for; once, where that is to be remembered."""
    known = _remembered.get()
    if known is None:
        return [(name, functools.partial(_entry, root, name, file)) for name, file in _walk(root)]
    if root not in known.listings:
        known.listings[root] = [
            (name, functools.cache(functools.partial(_entry, root, name, file))) for name, file in _walk(root)
        ]
    return known.listings[root]


def context_files(
    root: Path,
    text: str,
    *,
    definition: Iterable[str] = (),
    path: Path | None = None,
    added: Mapping[str, str] | None = None,
    shared: Mapping[str, Path] | None = None,
) -> tuple[ContextFile, ...]:
    """List what a Dockerfile can take from its context, sorted by path.

    `definition` names further files that only describe the package (its tests). `path` is the Dockerfile, for
    errors. `added` are texts of files that stand there only while it is built, `shared` files of elsewhere that do.
    Raises RecipeError for a COPY of something that is not there.
    """
    added, shared = added or {}, shared or {}
    path = path or root / "Dockerfile"
    sources = _sources(text, path)
    if not sources:
        return ()
    ignored = _ignore_rules(root)
    described = frozenset(definition)
    matchers = [(source, _matcher(source)) for source, _ in sources]
    found: dict[str, Callable[[], ContextFile]] = {}
    sizes: dict[str, int] = {}
    for name, read in _with_added(_entries(root), added, shared):
        by = [source for source, matches in matchers if matches(name)]
        hidden = name not in shared and _ignored(name, ignored)  # what is staged is let through `.dockerignore`
        if not by or hidden or (name not in by and _describes(name, described)):
            continue
        found[name] = read
        sizes[name] = len(added[name].encode()) if name in added else _bytes(shared.get(name, root / name))
    _check_size(sizes, root)
    _check_present(root, sources, path, {*added, *shared})
    return tuple(replace(read(), size=sizes[name]) for name, read in found.items())


def takes(text: str, path: Path, name: str) -> bool:
    """Whether a Dockerfile takes a file or directory of its context, or something below it."""
    return any(_matcher(source)(name) or source.startswith(f"{name}/") for source, _ in _sources(text, path))


def _bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0  # reading it says what is wrong


def _check_size(sizes: Mapping[str, int], root: Path) -> None:
    total = sum(sizes.values())
    if total > LARGEST_CONTEXT:
        largest = max(sizes, key=lambda name: sizes[name])
        raise RecipeError(
            f"takes {human_bytes(total)} into the build (largest: `{shown(largest)}`), "
            f"more than the {human_bytes(LARGEST_CONTEXT)} that a recipe may have beside its Dockerfile",
            path=root,
            hint="name the files in COPY, list the others in `.dockerignore`, or fetch large ones while building",
        )


def _with_added(entries: _Listing, added: Mapping[str, str], shared: Mapping[str, Path]) -> _Listing:
    if not added and not shared:
        return entries
    made = {name: ContextFile(path=name, executable=False, content=_text_digest(text)) for name, text in added.items()}
    kept = [entry for entry in entries if entry[0] not in added]
    kept += [entry for name, file in shared.items() for entry in _shared_entry(name, file)]
    return sorted([*kept, *((name, functools.partial(_same, file)) for name, file in made.items())], key=_name)


def _shared_entry(name: str, file: Path) -> _Listing:
    """A file of elsewhere as the build finds it: a link to it is followed."""
    known = _remembered.get()
    if known is None:
        return [(name, functools.partial(_read, name, file))]
    if file not in known.listings:
        known.listings[file] = [(name, functools.cache(functools.partial(_read, name, file)))]
    return known.listings[file]


def _same(file: ContextFile) -> ContextFile:
    return file


def _name(entry: tuple[str, Callable[[], ContextFile]]) -> str:
    return entry[0]


def _text_digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _sources(text: str, path: Path) -> tuple[tuple[str, int], ...]:
    """Name what a Dockerfile takes from its context, with the line: relative paths or patterns, "" for all of it."""
    found: dict[str, int] = {}
    for step in parse(text, path):
        for source in _sources_of(step):
            # A variable may stand for anything, so all of the context counts.
            clean = "" if "$" in source else os.path.normpath(source.lstrip("/") or ".")
            found.setdefault("" if clean == "." else clean, step.line)
    return tuple(found.items())


def _sources_of(step: Instruction) -> Iterator[str]:
    if step.keyword in {"COPY", "ADD"} and step.option("from") is None:
        yield from (word for word in step.words[:-1] if not word.startswith("<<") and not _REMOTE.match(word))
    if step.keyword == "RUN":
        for flag in step.flags:
            options = dict(part.partition("=")[::2] for part in flag.removeprefix("--mount=").split(","))
            if flag.startswith("--mount=") and options.get("type", "bind") == "bind" and "from" not in options:
                yield options.get("source") or options.get("src") or "."


_EVERYTHING = re.compile(".*", re.DOTALL)
_MOST_STARS = 3  # in a pattern: with more of them, matching one name can take minutes


def _matcher(source: str) -> Callable[[str], object]:
    """What tells whether a path is what the source names, or lies below it; a plain name needs no pattern."""
    if source and not any(character in source for character in "*?["):
        below = f"{source}/"
        return lambda name: name == source or name.startswith(below)
    return (_pattern(source) or _EVERYTHING).fullmatch


def _pattern(source: str) -> re.Pattern[str] | None:
    """Match a path that the source names, or that lies below it; None for what is not a pattern that can be matched."""
    if source.count("*") - source.count("**") > _MOST_STARS:
        return None
    try:
        return re.compile(_glob(source) + r"(?:/.*)?" if source else ".*", re.DOTALL)
    except (re.error, RecursionError, OverflowError):
        return None


def _glob(pattern: str) -> str:
    """Translate a Docker pattern: `*` and `?` stay within a path segment, `**` does not."""
    out = []
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/**"):
            position += 3  # the same as one of them
        elif rest.startswith("**/"):
            out.append("(?:.*/)?")
            position += 3
        elif rest.startswith("**"):
            out.append(".*")
            position += 2
        elif found := re.match(r"\[\^?[^\]]+\]", rest):
            out.append(found.group())
            position += found.end()
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0])))
            position += 1
    return "".join(out)


def _ignore_rules(root: Path) -> list[tuple[bool, re.Pattern[str]]]:
    """Read `.dockerignore`: (keep, pattern) in order; the last that matches decides."""
    file = root / ".dockerignore"
    if not is_there(file):
        return []
    lines = read_text(file, tree=root).splitlines()
    rules = []
    for line in lines:
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        keep = rule.startswith("!")
        clean = os.path.normpath(rule.removeprefix("!").strip().lstrip("/"))
        pattern = _pattern(clean)
        if pattern is not None or keep:  # where a pattern says nothing, a file counts
            rules.append((keep, pattern or _EVERYTHING))
    return rules


def _ignored(name: str, rules: Sequence[tuple[bool, re.Pattern[str]]]) -> bool:
    verdict = False
    for keep, pattern in rules:
        if pattern.fullmatch(name):
            verdict = not keep
    return verdict


def _describes(name: str, definition: frozenset[str]) -> bool:
    return name in definition or ("/" not in name and _DEFINITION.fullmatch(name) is not None)


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield files and links below `root` in the order of their relative names; links are not followed."""
    names: list[str] = []
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if entry.name in UNSEEN:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{below}{entry.name}/")
                    elif not entry.name.endswith(".pyc") and (entry.is_symlink() or entry.is_file()):
                        names.append(below + entry.name)
        except OSError as error:
            _unreadable(error)
    for name in sorted(names):
        yield name, root / name


def _unreadable(error: OSError) -> None:
    raise RecipeError(f"cannot be read: {error.strerror}", path=Path(error.filename)) from error


def _entry(root: Path, name: str, path: Path) -> ContextFile:
    if path.is_symlink():
        target = path.resolve()
        inside = target.is_file() and target.is_relative_to(root.resolve())
        link = "link:" + os.readlink(path)  # noqa: PTH115 - Path.readlink would normalize it
        return ContextFile(path=name, executable=False, content=f"{link} {_file_digest(target)}" if inside else link)
    return _read(name, path)


def _read(name: str, path: Path) -> ContextFile:
    return ContextFile(path=name, executable=bool(path.stat().st_mode & 0o100), content=_file_digest(path))


def _file_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path=path) from error


def _is_below(source: str, place: str) -> bool:
    return source == place or source.startswith(f"{place}/")


def _check_present(root: Path, sources: Sequence[tuple[str, int]], path: Path, added: Iterable[str]) -> None:
    for source, line in sources:
        if any(name == source or name.startswith(f"{source}/") for name in added):
            continue
        if _is_below(source, PLACE):
            raise RecipeError(
                f"takes `{source}`, which is not in the recipe's `share`",
                path=path,
                line=line,
                hint=f"`share: [{source.removeprefix(PLACE).strip('/') or 'FILE'}]`",
            )
        literal = source and not source.startswith(".jetson") and not re.search(r"[*?\[]", source)
        if literal and not (root / source).exists() and not (root / source).is_symlink():
            raise RecipeError(
                f"takes `{source}`, which is not in {root}",
                path=path,
                line=line,
                hint="correct the COPY, or add the file",
            )
