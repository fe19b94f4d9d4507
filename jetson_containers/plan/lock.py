"""What a plan was made of, written down, so that another machine makes the same images or says what differs.

The file is JSON. It holds what was asked for, and of each stage everything that its key is made of: the Dockerfile, the
files of the context, build arguments, sources with commits and checksums, and the hashes of Python packages. A
difference of two keys can therefore be told by its cause.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.core import json_text
from jetson_containers.core.errors import ConfigError, UsageError, command
from jetson_containers.core.files import read_regular
from jetson_containers.core.text import shown
from jetson_containers.dockerfile import inject
from jetson_containers.plan import keys
from jetson_containers.plan.planner import context_of, is_content
from jetson_containers.recipes import files, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage

SCHEMA = 1
LARGEST = 64 << 20  # bytes of a lock file
MOST_SHOWN = 40  # differences that an error lists
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*==[^\s;\\]+)((?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
REQUEST: dict[str, type] = {
    "packages": list,
    "target": str,
    "base": str,
    "name": str,
    "skip": list,
    "build_args": dict,
    "build_flags": list,
    "variables": dict,
    "upstream": str,
}


def document(
    plan: BuildPlan, request: Mapping[str, Any], *, base_digest: str, resolve: Callable[[str, str], str]
) -> dict[str, Any]:
    """Write down a plan. `request` has the entries of `REQUEST`.

    `resolve` gives the commit of a repository's branch or tag, for recipes that name no commit; `""` where it cannot.
    """
    return {
        "schema": SCHEMA,
        "tool": __version__,
        "request": dict(request),
        "platform": plan.platform.to_json(),
        "base": {"reference": plan.base, "digest": base_digest},
        "final": plan.final,
        "stages": [_stage(stage, resolve) for stage in plan.stages],
    }


def _stage(stage: Stage, resolve: Callable[[str, str], str]) -> dict[str, Any]:
    found: dict[str, Any] = {"package": stage.package, "kind": stage.kind.value, "key": stage.key, "tree": stage.tree}
    package = stage.definition
    if package is None or stage.context is None:
        return found
    found["dockerfile"] = keys.digest(inject.canonical(stage.dockerfile))
    found["context"] = {file.path: file.content for file in context_of(package, stage.dockerfile)}
    found["args"] = arguments(stage)
    found["source"] = package.source
    if moving := _branch(package.source):
        found["resolved"] = {f"{moving[0]} {moving[1]}": resolve(*moving)}
    texts = {name: files.read_text(path) for name, path in sorted(locks.locks_of(package).items())}
    found["python"] = {name: hashes(text) for name, text in texts.items()}
    return found


def arguments(stage: Stage) -> dict[str, str]:
    """The build arguments that are part of a stage's key, without the names of the images it stands on."""
    images = {"BASE_IMAGE", "ARTIFACT_IMAGE"}  # which hold the keys of other stages
    return {n: value for n, value in sorted(stage.build_args.items()) if n not in images and is_content(n, value)}


def _branch(source: Mapping[str, Any]) -> tuple[str, str] | None:
    """The repository and the branch or tag of a source that names no commit."""
    repository = source.get("git") or source.get("repository")
    if not isinstance(repository, str) or _COMMIT.fullmatch(str(source.get("commit", ""))):
        return None
    return repository, str(source.get("ref") or source.get("branch") or "HEAD")


def hashes(text: str) -> dict[str, list[str]]:
    r"""The packages of a pip lock with the hashes of their files.

    >>> hashes("a==1 \\\n    --hash=sha256:" + "0" * 64 + "\n")["a==1"][0][:11]
    'sha256:0000'
    """
    return {match[1]: sorted(_HASH.findall(match[2])) for match in _PACKAGE.finditer(text)}


def read(path: Path) -> dict[str, Any]:
    """Read a lock. Raises ConfigError for one that cannot be used."""
    hint = command("jetson-containers", "lock", "PACKAGE", "-o", str(path)) + " writes one"
    try:
        found = json_text.parse(read_regular(path, LARGEST).decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: is not JSON: {shown(str(error))}", hint=hint) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise ConfigError(f"{path}: is not a lock of this format (schema {SCHEMA})", hint=hint)
    if problem := next(_malformed(found), ""):
        raise ConfigError(f"{path}: `{problem}` is missing or of another form", hint=hint)
    return found


def _malformed(found: Mapping[str, Any]) -> Iterator[str]:
    """The entries that a build reads and that are not as `document` writes them."""
    forms = {"request": dict, "base": dict, "stages": list, "tool": str, "final": str, "platform": dict}
    yield from (name for name, kind in forms.items() if not isinstance(found.get(name), kind))
    request, base = found["request"], found["base"]
    yield from (f"request.{name}" for name, kind in REQUEST.items() if not isinstance(request.get(name), kind))
    for name in ("packages", "skip", "build_flags"):
        if not all(isinstance(word, str) for word in request[name]):
            yield f"request.{name}"
    for name in ("build_args", "variables"):
        if not all(isinstance(word, str) for pair in request[name].items() for word in pair):
            yield f"request.{name}"
    yield from (f"base.{name}" for name in ("reference", "digest") if not isinstance(base.get(name), str))
    for number, stage in enumerate(found["stages"]):
        if not isinstance(stage, dict) or not all(isinstance(stage.get(name), str) for name in ("package", "key")):
            yield f"stages[{number}]"


def check(locked: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError with the differences where what would be built is not what was locked."""
    found = differences(locked, now)
    if not found:
        return
    left = len(found) - MOST_SHOWN
    more = [f"and {left} more"] if left > 0 else []
    raise UsageError(
        f"{path}: what would be built is not what was locked",
        details=[*found[:MOST_SHOWN], *more],
        hint="bring back what the lock says (- is locked, + is here), or make a new one: "
        + command("jetson-containers", "lock", *now["request"]["packages"], "-o", str(path)),
    )


def differences(locked: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs, a line with `-` for the lock and one with `+` for here.

    >>> differences({"tool": "1", "stages": []}, {"tool": "2", "stages": []})
    ['- tool: 1', '+ tool: 2']
    """
    before, after = dict(_flat(_by_name(locked))), dict(_flat(_by_name(now)))
    found: list[str] = []
    for name in sorted(before.keys() | after.keys(), key=_causes_first):
        if before.get(name) != after.get(name):
            found += [f"- {name}: {before[name]}"] if name in before else []
            found += [f"+ {name}: {after[name]}"] if name in after else []
    return found


def _by_name(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its stages by package, and without what only repeats or describes."""
    stages = {f"{stage['package']} ({stage.get('kind', '')})": stage for stage in document["stages"]}
    rest = {name: value for name, value in document.items() if name not in {"stages", "schema", "request", "platform"}}
    order = [stage["package"] for stage in document["stages"]]
    return {**rest, "order": order, "stage": {name: _without(stage) for name, stage in stages.items()}}


def _without(stage: Mapping[str, Any]) -> dict[str, Any]:
    # The place of a tree does not reach the image; a lock of pip counts as a file of the context.
    return {name: value for name, value in stage.items() if name not in {"tree", "package", "kind", "python"}}


def _causes_first(name: str) -> tuple[bool, str]:
    return name.endswith(" key"), name


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name} {key}".strip())
    elif isinstance(value, list) and not all(isinstance(item, str) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{name} {number}".strip())
    else:
        yield name, shown(" ".join(value) if isinstance(value, list) else str(value))


def pinned(base: Mapping[str, str]) -> str:
    """The locked base image by its digest, as it is pulled; `""` where no registry knows it."""
    reference, digest = base["reference"], base["digest"]
    made_here = not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or "@" in reference
    name, colon, tag = reference.rpartition(":")
    repository = name if colon and "/" not in tag else reference
    return "" if made_here else f"{repository}@{digest}"


def request_of(values: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """The entries of `REQUEST` in their order, with what was not given left empty."""
    return {name: values.get(name) or kind() for name, kind in REQUEST.items()} | {"packages": list(packages)}
