"""The record of a build: what was asked for, what became of each stage and when, and where the logs are.

One JSON file per build, `<cache>/build/records/YYYYmmdd_HHMMSS.json`, kept when the logs are removed. At most MOST of
them stay, the newest ones. What is read is checked: a record may come from another machine, or be damaged.
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, files, json_text
from jetson_containers.core.errors import ConfigError, NothingMatchedError, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.builder.state import BuildState

SCHEMA = 1
MOST = 100  # records that are kept
LARGEST = 16 << 20  # bytes of one record
ROOM = 64 << 20  # bytes of all of them
NEWEST = "latest"
_NAME = re.compile(r"([0-9]{8}_[0-9]{6})(?:_([0-9]{1,6}))?")


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time in which something ran for a stage; `began` and `seconds` count from the start of the build."""

    action: str  # "build", or "test"
    began: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LayerSize:
    """An instruction of an image that added `size` bytes."""

    command: str
    size: int


@dataclass(frozen=True, kw_only=True)
class RecordedTest:
    """A package test as the image remembers it. `status`: passed, failed, skipped, deferred."""

    command: str
    status: str
    seconds: float
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordedStage:
    """What became of a stage. `number` counts from 1 in build order, and begins the names of its logs.

    `state`: built, cached, failed, skipped. `size` and `added` are bytes of its image and beyond the image below it,
    None where no image is there. `commands` ran or were `reused` from the engine's layer cache. `inputs` are what its
    key is made of: digests of files, arguments.
    """

    number: int
    package: str
    kind: str
    key: str
    image: str
    needs: tuple[str, ...]  # keys
    state: str
    seconds: float
    size: int | None = None
    added: int | None = None
    cause: str = ""
    tests: str = ""
    results: tuple[RecordedTest, ...] = ()
    spans: tuple[Span, ...] = ()
    commands: int = 0
    reused: int = 0
    layers: tuple[LayerSize, ...] = ()  # its own, bottom first; only of what was built
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """One plan: the packages asked for, the image they become, and the platform as `build_facts` has it."""

    packages: tuple[str, ...]
    final: str
    base: str
    platform: Mapping[str, str]
    stages: tuple[str, ...]  # keys

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for builds that ask for the same: packages, machine and L4T; CUDA and Python may have changed."""
        return (*self.packages, "on", self.platform.get("arch", ""), self.platform.get("l4t", ""))


@dataclass(frozen=True, kw_only=True)
class RecordedFailure:
    """A stage or a push that failed: the cause, its remedy, and the relevant lines of `log`."""

    package: str
    cause: str
    test: str = ""
    remedy: str = ""
    log: str = ""
    number: int = 0  # line of the log
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """A build. `result`: ok, failed, stopped; `began` is UTC in ISO 8601, `seconds` the whole time."""

    id: str
    tool: str
    command: str
    began: str
    seconds: float
    result: str
    requests: tuple[RecordedRequest, ...]
    stages: tuple[RecordedStage, ...]
    images: Mapping[str, int] = field(default_factory=dict)  # bytes by name; 0: not known
    pushed: tuple[str, ...] = ()
    failures: tuple[RecordedFailure, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    log_dir: str = ""  # "" where nothing was to be done

    @property
    def identity(self) -> frozenset[tuple[str, ...]]:
        """Equal for builds of the same requests."""
        return frozenset(request.identity for request in self.requests)

    def to_json(self, redact: Callable[[str], str] = str) -> dict[str, Any]:
        """The record as it is written; every text goes through `redact`."""
        return {"schema": SCHEMA, **{name: _redacted(value, redact) for name, value in asdict(self).items()}}


def _redacted(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(key): _redacted(item, redact) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item, redact) for item in value]
    return value


# The folder.


def folder(state: Path) -> Path:
    """Where records lie, given the directory of the build state."""
    return state / "records"


def write(state: BuildState, record: Record, redact: Callable[[str], str]) -> Path:
    """Write a record under its name, or the name with a further number, and remove the oldest. Raises OSError."""
    place = folder(state.directory)
    with state.lock("records"):
        path = next(path for path in _names(place, record.id) if not path.exists())
        files.write_json(path, {**record.to_json(redact), "id": path.stem}, mode=0o600)
        _prune(place)
    return path


def _names(place: Path, name: str) -> Iterator[Path]:
    yield place / f"{name}.json"
    yield from (place / f"{name}_{number}.json" for number in range(2, 1 << 20))


def _prune(place: Path) -> None:
    room = ROOM
    for number, path in enumerate(listed(place)):
        room -= path.stat().st_size
        if number and (number >= MOST or room < 0):
            path.unlink(missing_ok=True)


def listed(place: Path) -> list[Path]:
    """The records of a folder, newest first; those of the future, made while a clock was wrong, count as the oldest."""
    tomorrow = time.strftime("%Y%m%d_%H%M%S", time.localtime(time.time() + 86400))
    named = ((_NAME.fullmatch(path.stem), path) for path in place.glob("*.json")) if place.is_dir() else ()
    rows = ((m[1] < tomorrow, m[1], int(m[2] or 1), path) for m, path in named if m)
    return [path for *_, path in sorted(rows, reverse=True)]


def find(place: Path, name: str) -> Path:
    """The record of a build by its name, or the newest. Raises NothingMatchedError."""
    known = listed(place)
    if not known:
        raise NothingMatchedError("no build has left a record here", hint="`./build.sh PACKAGE` leaves one")
    if name == NEWEST:
        return known[0]
    found = next((path for path in known if path.stem == name), None)
    if found is None:
        newest = ", ".join(f"`{path.stem}`" for path in known[:5])
        raise NothingMatchedError(f"there is no record of a build `{name}`", hint=f"the newest are {newest}")
    return found


def before(place: Path, record: Record) -> Record | None:
    """The newest earlier record of the same requests that holds stages; one that cannot be read is passed over."""
    known = listed(place)
    names = [path.stem for path in known]
    for path in known[names.index(record.id) + 1 :] if record.id in names else known:
        try:
            found = read(path)
        except ConfigError:
            continue
        if found.identity == record.identity and found.began <= record.began:
            return found
    return None


def stamp() -> str:
    """The name of a record that is made now: local time, as the folders of logs have it."""
    return time.strftime("%Y%m%d_%H%M%S")


# Reading.


def read(path: Path) -> Record:
    """Read a record. Raises ConfigError for what cannot be read as one."""
    hint = command("jetson-containers", "report") + " shows the newest"
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ConfigError(f"{path}: too large for a record of a build", hint=hint)
        row = checked.mapping(json_text.parse(data))
        if row.get("schema") != SCHEMA:
            raise ConfigError(f"{path}: is not a record of this format (schema {SCHEMA})", hint=hint)
        return _record(row)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not a record of a build: {error}", hint=hint) from error


def _record(row: Mapping[str, Any]) -> Record:
    return Record(
        **_texts(row, "id", "tool", "command", "began", "result", "log_dir"),
        seconds=checked.real(row.get("seconds")),
        requests=tuple(map(_request, _rows(row, "requests"))),
        stages=tuple(map(_stage, _rows(row, "stages"))),
        images={checked.text(name): checked.number(size) for name, size in checked.mapping(row.get("images")).items()},
        pushed=_words(row, "pushed"),
        failures=tuple(map(_failure, _rows(row, "failures"))),
        environment=checked.texts(row.get("environment")),
    )


def _request(row: Mapping[str, Any]) -> RecordedRequest:
    return RecordedRequest(
        **_texts(row, "final", "base"),
        packages=_words(row, "packages"),
        platform=checked.texts(row.get("platform")),
        stages=_words(row, "stages"),
    )


def _stage(row: Mapping[str, Any]) -> RecordedStage:
    return RecordedStage(
        **_texts(row, "package", "kind", "key", "image", "state", "cause", "tests"),
        number=checked.number(row.get("number")),
        commands=checked.number(row.get("commands")),
        reused=checked.number(row.get("reused")),
        size=_amount(row.get("size")),
        added=_amount(row.get("added")),
        seconds=checked.real(row.get("seconds")),
        needs=_words(row, "needs"),
        results=tuple(
            RecordedTest(**_texts(each, "command", "status", "reason"), seconds=checked.real(each.get("seconds")))
            for each in _rows(row, "results")
        ),
        spans=tuple(map(_span, _rows(row, "spans"))),
        layers=tuple(
            LayerSize(command=checked.text(each.get("command")), size=checked.number(each.get("size")))
            for each in _rows(row, "layers")
        ),
        inputs=checked.texts(row.get("inputs")),
    )


def _span(row: Mapping[str, Any]) -> Span:
    began, seconds = checked.real(row.get("began")), checked.real(row.get("seconds"))
    return Span(action=checked.text(row.get("action")), began=began, seconds=seconds)


def _failure(row: Mapping[str, Any]) -> RecordedFailure:
    texts = _texts(row, "package", "cause", "test", "remedy", "log")
    return RecordedFailure(**texts, number=checked.number(row.get("number")), lines=_words(row, "lines"))


def _texts(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: checked.text(row.get(name)) for name in names}


def _words(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(map(checked.text, checked.items(row.get(name))))


def _rows(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    return [checked.mapping(each) for each in checked.items(row.get(name))]


def _amount(value: object) -> int | None:
    return None if value is None else checked.number(value)


def critical_path(stages: Sequence[RecordedStage]) -> tuple[str, ...]:
    """The keys of the chain of stages that took longest, first to last: what the whole build waited for."""
    spent = {stage.key: sum(span.seconds for span in stage.spans) for stage in stages}
    longest: dict[str, float] = {}
    before_it: dict[str, str | None] = {}
    for stage in sorted(stages, key=lambda stage: stage.number):
        known = [key for key in stage.needs if key in longest]
        below = max(known, key=lambda key: longest[key], default=None)
        longest[stage.key] = spent[stage.key] + (longest[below] if below is not None else 0.0)
        before_it[stage.key] = below
    last = max(longest, key=lambda key: longest[key], default=None)
    chain: list[str] = []
    while last is not None:
        chain.append(last)
        last = before_it[last]
    return tuple(key for key in reversed(chain) if spent[key] > 0)
