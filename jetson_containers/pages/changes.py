"""What differs between two builds of the same request, in sentences: causes first, then what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.console import human_seconds
from jetson_containers.pages.render import change
from jetson_containers.pages.timeline import label

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.builder.records import Record, RecordedStage

LEAST_TIME = 5.0  # seconds; less is chance
LEAST_SHARE = 0.2  # of the time before
LEAST_SIZE = 1_000_000  # bytes
MOST = 8  # reasons that are listed of one stage


@dataclass(frozen=True, kw_only=True)
class Change:
    """`what` changed; `reasons` say how, or why."""

    what: str
    reasons: tuple[str, ...] = ()


def between(before: Record, now: Record) -> list[Change]:
    """All changes: result, environment and platform, stages, times, sizes, tests."""
    return [*_result(before, now), *_surroundings(before, now), *_stages(before, now)]


def _result(before: Record, now: Record) -> Iterator[Change]:
    if before.result != now.result:
        yield Change(what=f"The build before was `{before.result}`, this one is `{now.result}`")


def _surroundings(before: Record, now: Record) -> Iterator[Change]:
    pairs = [("environment", before.environment, now.environment)] if before.log_dir and now.log_dir else []
    same = {request.identity: request for request in now.requests}
    for old, new in ((old, same[old.identity]) for old in before.requests if old.identity in same):
        pairs += [("platform", {**old.platform, "base": old.base}, {**new.platform, "base": new.base})]
        if old.final != new.final:
            yield Change(what="Name of the image", reasons=(f"`{old.final}` → `{new.final}`",))
    for name, old_texts, new_texts in pairs:
        if found := tuple(_differences(old_texts, new_texts)):
            yield Change(what=f"The {name} changed", reasons=found)


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is None:
            yield f"{name}: {new} (new)"
        else:
            yield f"{name}: {old} → {new}" if new is not None else f"{name}: {old} (gone)"


def _stages(before: Record, now: Record) -> Iterator[Change]:
    old, new = _by_family(before.stages), _by_family(now.stages)
    changed = {stage.key for name, stage in new.items() if name not in old or old[name].key != stage.key}
    for name, stage in new.items():
        if name not in old:
            yield Change(what=f"`{label(stage)}` is new")
        else:
            yield from _stage(old[name], stage, changed)
    for name, stage in old.items():
        if name not in new:
            yield Change(what=f"`{label(stage)}` is gone")


def _by_family(stages: Sequence[RecordedStage]) -> dict[str, RecordedStage]:
    """Stages by a name that stays when the version changes; several of a name are numbered."""
    found: dict[str, RecordedStage] = {}
    for stage in stages:
        name = f"{stage.package.partition(':')[0]} {stage.kind}"
        number = 1
        while f"{name} {number}" in found:
            number += 1
        found[f"{name} {number}"] = stage
    return found


def _stage(old: RecordedStage, new: RecordedStage, changed: set[str]) -> Iterator[Change]:
    if old.package != new.package:
        yield Change(what=f"`{label(old)}` became `{label(new)}`")
    elif old.key != new.key:
        yield Change(what=f"`{label(new)}` changed", reasons=tuple(_why(old, new, changed)))
    if reasons := tuple(_effects(old, new)):
        yield Change(what=f"`{label(new)}`", reasons=reasons)


def _why(old: RecordedStage, new: RecordedStage, changed: set[str]) -> Iterator[str]:
    """Why the key of a stage is another one."""
    found = []
    if old.inputs and new.inputs:
        pairs = {name: (old.inputs.get(name), new.inputs.get(name)) for name in (*old.inputs, *new.inputs)}
        found = [_input(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]
    yield from found[:MOST]
    if len(found) > MOST:
        yield f"and {len(found) - MOST} more"
    if any(key in changed for key in new.needs):
        yield "a stage that it stands on changed"
    elif not found:
        yield "its recipe or its base image"


def _input(name: str, old: str | None, new: str | None) -> str:
    kind, _, rest = name.partition(" ")
    if kind == "argument":
        return f"{rest}: {old or '(none)'} → {new or '(none)'}"
    verb = "is new" if old is None else "is gone" if new is None else "was edited"
    return f"{rest or name} {verb}"


def _effects(old: RecordedStage, new: RecordedStage) -> Iterator[str]:
    before, now = (stage.tests.replace("cached", "passed") for stage in (old, new))
    if before != now and before and now:
        yield f"tests: {before} → {now}"
    if old.added is not None and new.added is not None and abs(new.added - old.added) >= LEAST_SIZE:
        yield f"size: {change(new.added - old.added)}"
    if old.state == new.state == "built" and not (old.reused or new.reused):
        difference = new.seconds - old.seconds
        if abs(difference) >= max(LEAST_TIME, LEAST_SHARE * old.seconds):
            yield f"time: {human_seconds(old.seconds)} → {human_seconds(new.seconds)}"
