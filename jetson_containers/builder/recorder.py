"""Collects what becomes of a build's stages while it runs, and writes its record at the end (see `records`)."""

from __future__ import annotations

import datetime
import os
import platform as machine
import time
from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.builder import package_tests, records
from jetson_containers.core.errors import JetsonError
from jetson_containers.core.text import printable
from jetson_containers.dockerfile import inject
from jetson_containers.plan import keys, lock
from jetson_containers.plan.planner import context_of
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.builder.layer_cache import LayerCache
    from jetson_containers.builder.types import BuildOptions, BuildReport, StageReport
    from jetson_containers.engine.interface import Engine
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage

MOST_HISTORIES = 100  # images whose instructions are asked for
LONGEST_COMMAND = 400  # characters of an instruction
LONGEST_VALUE = 1000  # characters of an input


class Recorder:
    """What a build leaves besides its images. Stages are told of from several threads."""

    def __init__(self, plans: Sequence[BuildPlan], graph: Graph, options: BuildOptions) -> None:
        self._plans = plans
        self._graph = graph
        self._options = options
        self._began = time.monotonic()
        self._date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._spans: list[tuple[str, records.Span]] = []
        self._commands: dict[str, tuple[int, int]] = {}
        self._tests: dict[str, Mapping[str, Any]] = {}

    def built(self, key: str, seconds: float, cache: LayerCache) -> None:
        """A stage's build has just ended, after so many seconds."""
        self._commands[key] = (cache.runs, cache.reused)
        self._span(key, "build", seconds)

    def tested(self, key: str, seconds: float) -> None:
        """A stage's tests have just ended, after so many seconds."""
        self._span(key, "test", seconds)

    def remembers(self, key: str, tests: Mapping[str, Any]) -> None:
        """What a stage's image remembers of its tests."""
        self._tests[key] = tests

    def _span(self, key: str, action: str, seconds: float) -> None:
        began = max(0.0, time.monotonic() - self._began - seconds)
        self._spans.append((key, records.Span(action=action, began=round(began, 3), seconds=round(seconds, 3))))

    def make(
        self,
        report: BuildReport,
        *,
        result: str,
        log_dir: Path | None,
        images: Mapping[str, int],
        failures: Sequence[records.RecordedFailure],
        engine: Engine | None,
    ) -> records.Record:
        """Make the record. `engine`, where it is given, is asked for sizes and layers of what was built."""
        sizes, histories = self._looked_up(report, engine)
        stages = [self._stage(each, sizes, histories) for each in report.stages]
        return records.Record(
            id=log_dir.name if log_dir else records.stamp(),
            tool=__version__,
            command=self._options.command,
            began=self._date,
            seconds=round(report.seconds, 3),
            result=result,
            requests=tuple(map(_request, self._plans)),
            stages=tuple(stages),
            images=images,
            pushed=report.pushed,
            failures=tuple(failures),
            environment=_environment(self._plans, self._options, engine),
            log_dir=str(log_dir.absolute()) if log_dir else "",
        )

    def _stage(
        self, report: StageReport, sizes: Mapping[str, int], histories: Mapping[str, tuple[records.LayerSize, ...]]
    ) -> records.RecordedStage:
        node = self._graph.nodes[report.key]
        stage = node.stage
        size = sizes.get(stage.image, report.size)
        below = sizes.get(stage.base) if stage.kind is not StageKind.ARTIFACT else 0  # it is made of nothing
        runs, reused = self._commands.get(report.key, (0, 0))
        return records.RecordedStage(
            number=node.number,
            package=stage.package,
            kind=stage.kind.value,
            key=stage.key,
            image=stage.image,
            needs=self._graph.needs[report.key],
            state=report.state,
            seconds=round(report.seconds, 3),
            size=size,
            added=max(0, size - below) if size is not None and below is not None else None,
            cause=printable(report.cause, LONGEST_VALUE),
            tests=report.tests,
            results=tuple(map(_test, package_tests.results(self._tests.get(report.key, {})))),
            spans=tuple(span for key, span in list(self._spans) if key == report.key),
            commands=runs,
            reused=reused,
            layers=histories.get(report.key, ()),
            inputs=inputs(stage),
        )

    def _looked_up(
        self, report: BuildReport, engine: Engine | None
    ) -> tuple[dict[str, int], dict[str, tuple[records.LayerSize, ...]]]:
        """Sizes by reference and layers by key, as far as the engine says; what it does not is left open."""
        if engine is None or not report.stages:
            return {}, {}
        try:
            return self._sizes(report, engine), self._histories(report, engine)
        except JetsonError:
            return {}, {}

    def _sizes(self, report: BuildReport, engine: Engine) -> dict[str, int]:
        stages = [self._graph.nodes[each.key].stage for each in report.stages]
        names = dict.fromkeys(name for stage in stages for name in (stage.image, stage.base))
        images = engine.images_named([*names])
        return {name: image.size for image in images for name in image.references}

    def _histories(self, report: BuildReport, engine: Engine) -> dict[str, tuple[records.LayerSize, ...]]:
        known: dict[str, list[records.LayerSize]] = {}

        def history(reference: str) -> list[records.LayerSize]:
            if reference not in known:
                entries = engine.history(reference) if len(known) < MOST_HISTORIES else ()
                known[reference] = [
                    records.LayerSize(command=printable(entry.command, LONGEST_COMMAND), size=entry.size)
                    for entry in reversed(entries)
                ]
            return known[reference]

        found = {}
        for node in (self._graph.nodes[each.key] for each in report.stages if each.state == "built"):
            own, below = history(node.stage.image), _below(node, history)
            if own[: len(below)] == below:  # an image that was replaced meanwhile does not begin with it
                found[node.stage.key] = tuple(layer for layer in own[len(below) :] if layer.size)
        return found


def _below(node: Node, history: Callable[[str], list[records.LayerSize]]) -> list[records.LayerSize]:
    """What an image begins with; an artifact is made of nothing."""
    return history(node.stage.base) if node.stage.kind is not StageKind.ARTIFACT else []


def inputs(stage: Stage) -> dict[str, str]:
    """What the key of a stage is made of, besides the stages below it; nothing where its files are gone.

    Digests of the Dockerfile and of each file it copies, and arguments.
    """
    package = stage.definition
    if package is None or stage.context is None:
        return {}
    found = {"Dockerfile": keys.digest(inject.canonical(stage.dockerfile))}
    found |= {f"argument {name}": printable(value, LONGEST_VALUE) for name, value in lock.arguments(stage).items()}
    try:
        found |= {f"file {file.path}": str(file.content) for file in context_of(package, stage.dockerfile)}
    except (JetsonError, OSError):
        return found
    return found


def _request(plan: BuildPlan) -> records.RecordedRequest:
    facts = {name: _words(value) for name, value in plan.platform.build_facts().items() if value not in (None, [])}
    return records.RecordedRequest(
        packages=plan.request,
        final=plan.final,
        base=plan.base,
        platform=facts,
        stages=tuple(stage.key for stage in plan.stages),
    )


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _test(entry: Mapping[str, Any]) -> records.RecordedTest:
    seconds = entry.get("seconds")
    return records.RecordedTest(
        command=printable(str(entry.get("command", "")), LONGEST_COMMAND),
        status=str(entry.get("status", ""))[:20],
        seconds=float(seconds) if isinstance(seconds, (int, float)) and 0 <= seconds < 1e9 else 0.0,
        reason=printable(str(entry.get("reason", "")), LONGEST_COMMAND),
    )


def _environment(plans: Sequence[BuildPlan], options: BuildOptions, engine: Engine | None) -> dict[str, str]:
    """Where and how it was built, in words; no name of the machine or of its user."""
    found = {
        "jetson-containers": __version__,
        "Python": machine.python_version(),
        "kernel": f"{machine.system()} {machine.release()} ({machine.machine()})",
        "CPU cores": str(os.cpu_count() or 0),
    }
    host = plans[0].platform.host if plans else {}
    found |= {f"host {name}": printable(str(value), LONGEST_VALUE) for name, value in sorted(host.items())}
    if engine is not None:
        can = engine.capabilities
        found |= {
            "engine": f"{can.server_version} (API {can.api_version}, {can.storage_driver}, {can.architecture})",
            "client": f"{can.client_version} ({can.builder.value}{', bake' if can.bake else ''})",
        }
    chosen = {
        "--jobs": str(options.jobs or ""),
        "--tests": options.tests,
        "--rebuild": "yes" if options.rebuild else "",
        "--no-cache": "yes" if options.no_cache else "",
        "--keep-going": "yes" if options.keep_going else "",
        "--skip-tests": " ".join(options.skip_tests),
        "--build-args": " ".join(f"{name}:{value}" for name, value in options.build_args.items()),
        "--build-flags": " ".join(options.build_flags),
    }
    return found | {name: printable(value, LONGEST_VALUE) for name, value in chosen.items() if value}
