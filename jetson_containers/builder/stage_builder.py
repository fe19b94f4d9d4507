"""One stage from start to end: reuse or build its image, run its tests, and write down the result.

A stage counts as done when an image has its key and its tests are recorded as they should be. The engine gives an
image its name and labels only when a build has succeeded, and the tests label begins as `pending`; so whatever is
interrupted, at any moment, is either not there or known to be untested.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import cache_places, graph, package_tests, resources, stage_labels
from jetson_containers.builder.bake_call import StageSkippedError
from jetson_containers.builder.layer_cache import LayerCache
from jetson_containers.builder.store import image_named
from jetson_containers.builder.types import StageReport
from jetson_containers.core import diagnosis
from jetson_containers.core.errors import (
    BuildError,
    InterruptedByUserError,
    JetsonError,
    PackageTestError,
    RecipeError,
)
from jetson_containers.dockerfile.inject import JOB_ARGS, as_written, takes_jobs
from jetson_containers.engine.interface import BuildRequest, OutOfMemoryError
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind
from jetson_containers.recipes import schema
from jetson_containers.recipes.shared import files_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from jetson_containers.builder.bake_call import BakeCall
    from jetson_containers.builder.graph import Node
    from jetson_containers.builder.logs import Log, RunLogs
    from jetson_containers.builder.progress import BuildProgress
    from jetson_containers.builder.recorder import Recorder
    from jetson_containers.builder.resources import Share
    from jetson_containers.builder.state import BuildState
    from jetson_containers.builder.store import Store
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.core.diagnosis import Diagnosis
    from jetson_containers.engine.interface import Engine
    from jetson_containers.recipes.package import Package

TAIL = 30  # lines of a failed log that are shown


@dataclass(frozen=True, kw_only=True)
class StageFailure:
    """Why a stage failed: its build, or the test named in `test`. `lines` are the last relevant ones of the log."""

    node: Node
    error: JetsonError
    finding: Diagnosis | None
    lines: tuple[str, ...]
    log: Path
    number: int  # line of the log
    jobs: int  # compile jobs the stage was given
    test: str = ""
    where: str = ""


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What became of a stage, with the record of its tests."""

    report: StageReport
    tests: Mapping[str, Any] = field(default_factory=dict)
    failure: StageFailure | None = None


def installs_wheels(dockerfile: str, context: Path, shared: Iterable[Path] = ()) -> bool:
    """Whether a stage may want the wheelhouse: it, or a small file beside it or shared with it, mentions pip or uv.

    A wheelhouse travels with the context of every stage that mounts it, and some hold gigabytes.
    """
    texts = [dockerfile.encode()]
    files = (path for path in context.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20)
    texts += [path.read_bytes() for path in (*files, *shared)]
    return any(re.search(rb"\b(pip3?|uv)\b", text) for text in texts)


def _flags(definition: Package | None) -> list[str]:
    """A recipe's own flags for docker build. Raises RecipeError for those that only a user may give."""
    if definition is None:
        return []
    try:
        return schema.build_flags(definition.build_flags)
    except ValueError as error:
        raise RecipeError(f"`build_flags` of `{definition.name}`: {error}", path=definition.path) from error


def is_bakeable(node: Node, options: BuildOptions) -> bool:
    """Whether a stage can be built with others by one command: bake knows no flags and no time limit of one stage."""
    definition = node.stage.definition
    return not options.build_flags and (definition is None or not (definition.build_flags or definition.timeout))


def foreign_platform(node: Node, engine: Engine) -> str | None:
    """Name the docker platform, when it is not the engine's own: that one would only be a flag more."""
    wanted = node.plan.platform
    return wanted.docker_platform if wanted.machine != engine.capabilities.architecture else None


@dataclass(frozen=True, kw_only=True)
class StageBuilder:
    """What every stage of a run works with."""

    store: Store
    options: BuildOptions
    logs: RunLogs
    progress: BuildProgress
    state: BuildState
    cancelled: threading.Event
    revision: str = ""
    recorder: Recorder | None = None
    call: BakeCall | None = None  # the command that builds several stages, this one among them

    def run(self, node: Node, share: Share) -> StageOutcome:
        """Do all there is to do for a stage; a failed build or test is a StageOutcome, everything else raises."""

        def on_wait(name: str, pid: str) -> None:
            self.progress.say(f"{name}: waiting for process {pid}, which builds the same stage")

        if self.call is not None:
            with self.call.hold(node, self.cancelled, on_wait):
                return self._run_in_call(node, share, self.call)
        wait = partial(on_wait, node.stage.package)
        with self.state.lock(node.stage.key, cancelled=self.cancelled, on_wait=wait):
            return self._run(node, share)

    def _run_in_call(self, node: Node, share: Share, call: BakeCall) -> StageOutcome:
        try:
            outcome = self._run(node, share)
        except StageSkippedError as skipped:
            call.end(node.stage.key, str(skipped))
            return StageOutcome(report=self._report(node, "skipped", 0.0, None, cause=str(skipped)))
        if outcome.failure is not None:
            call.fail(node.stage.key)
        call.end(node.stage.key)
        return outcome

    def _run(self, node: Node, share: Share) -> StageOutcome:
        began = time.monotonic()
        cache = LayerCache()
        image = None if self.options.forced else self.store.find(node)
        if image is not None:
            self.store.drop_replaced(node.stage.image)
            recorded = package_tests.of_package(labels.read(image.labels).tests, node.stage.package)
            self.store.adopt(image, node, self._labels(node, recorded))
            state, log, seconds = "cached", None, 0.0
            if self.call is not None:
                self.call.leave(node.stage.key)
        else:
            recorded = package_tests.not_run(node, self._why_untested(node))
            with self.logs.build(node.number, node.stage.package) as stage_log:
                log = stage_log.path
                try:
                    seconds = self._make(node, share, stage_log, recorded, cache)
                except InterruptedByUserError:
                    raise
                except StageSkippedError:
                    stage_log.discard()
                    raise
                except JetsonError as error:
                    self._note_build(node, time.monotonic() - began, cache)
                    return self._failed_build(node, share, error, stage_log, time.monotonic() - began)
            self._note_build(node, seconds, cache)
            state = "built"
        cause = "every command came from the engine's layer cache" if cache.everything else ""
        outcome = StageOutcome(report=self._report(node, state, seconds, log, cause), tests=recorded)
        if state == "built":
            outcome = replace(outcome, report=self._remember(node, None if cache.reused else seconds, outcome.report))
        if self.call is not None:
            self.call.wait_below(node.stage.key)
        if package_tests.due(node, self.options, recorded):
            return self._test(node, share, outcome)
        return self._untested(node, outcome)

    def _note_build(self, node: Node, seconds: float, cache: LayerCache) -> None:
        if self.recorder is not None:
            self.recorder.built(node.stage.key, seconds, cache)

    def restore(self, node: Node) -> None:
        """Give a complete stage its stage name back, when only a final image of it is left: others build on it."""
        image = self.store.find(node)
        if image is not None:
            recorded = package_tests.of_package(labels.read(image.labels).tests, node.stage.package)
            self.store.adopt(image, node, self._labels(node, recorded))

    def _why_untested(self, node: Node) -> str:
        return package_tests.excluded(node, self.options) or package_tests.PENDING

    # Making the image.

    def _make(self, node: Node, share: Share, log: Log, recorded: Mapping[str, Any], cache: LayerCache) -> float:
        """Make the image of a stage; returns the seconds that it took."""
        stage, engine = node.stage, self.store.engine
        began = time.monotonic()
        if self.call is None:
            self.progress.started(stage.package, "building")
        with self.store.replacing(stage.image):
            if stage.kind is StageKind.META and self.call is None:
                log.write(f"nothing to build: another name for {stage.base}")
                if engine.image(stage.base) is None:  # a meta package right on a base image from a registry
                    engine.pull(stage.base, self._show(node, log), platform=self.platform(node))
                engine.label(stage.base, stage.image, self._labels(node, recorded))
                return time.monotonic() - began
            meta = stage.kind is StageKind.META
            request = self._meta_request(node, recorded) if meta else self.request(node, share.jobs, recorded)
            log.write("$ " + shlex.join(engine.build_argv(request)))
            show = self._show(node, log)

            def heard(line: str) -> None:
                cache.line(line)
                show(line)

            if self.call is not None:
                begin = partial(self.progress.started, stage.package, "building")
                return self.call.build(node, request, on_begin=begin, on_line=heard)
            engine.build(request, heard)
            return time.monotonic() - began

    def _show(self, node: Node, log: Log) -> Callable[[str], None]:
        return lambda line: self.progress.line(node.stage.package, as_written(log.write(line)))

    def request(self, node: Node, jobs: int, recorded: Mapping[str, Any]) -> BuildRequest:
        """Make the build request of a stage that is given so many compile jobs."""
        stage, options = node.stage, self.options
        definition = stage.definition
        own, jobs = resources.split_jobs(stage.build_args, jobs)
        arguments = {"BASE_IMAGE": stage.base, **own, **options.proxies}
        context = stage.context or (definition.path if definition else None)
        if context is None:
            raise BuildError(f"stage `{stage.package}` has no build context")
        shared = files_of(definition) if definition else {}
        buildkit = bool(options.cache_from) and self.store.engine.capabilities.mounts
        return BuildRequest(
            context=context,
            dockerfile=stage.dockerfile,
            tag=stage.image,
            build_args=arguments,
            labels=self._labels(node, recorded),
            platform=self.platform(node),
            no_cache=options.no_cache,
            network=(definition.network if definition else None) or "host",
            flags=(*_flags(definition), *options.build_flags),
            added=definition.added if definition else {},
            shared=shared,
            cache_from=cache_places.imports(options.cache_from, node) if buildkit else options.cache_from,
            cache_to=cache_places.exports(options.cache_to, node),
            ca_bundle=options.ca_bundle,
            wheelhouse=options.wheelhouse if installs_wheels(stage.dockerfile, context, shared.values()) else None,
            index_url=options.index_url,
            variables=self._variables(definition),
            mirrors=options.mirrors,
            timeout=definition.timeout if definition else None,
            jobs=jobs if takes_jobs(stage.dockerfile) and not own.keys() & set(JOB_ARGS) else 0,
            needs=node.images,
        )

    def _meta_request(self, node: Node, recorded: Mapping[str, Any]) -> BuildRequest:
        """Another name and other labels for what a meta package stands on, as a build."""
        return BuildRequest(
            context=self.logs.empty,
            dockerfile="ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
            tag=node.stage.image,
            build_args={"BASE_IMAGE": node.stage.base},
            labels=self._labels(node, recorded),
            platform=self.platform(node),
            needs=node.images,
        )

    def _variables(self, definition: Package | None) -> dict[str, str]:
        """The variables of a stage's commands; where the user names an index, the recipe's gives way, for uv too."""
        found = dict(definition.variables if definition else {})
        if self.options.index_url or self.options.mirrors.get("python"):
            found.pop("PIP_INDEX_URL", None)  # the engine is given it
            found.pop("UV_DEFAULT_INDEX", None)
        if self.options.index_url:
            found["UV_DEFAULT_INDEX"] = self.options.index_url
        return found

    def platform(self, node: Node) -> str | None:
        """Name the docker platform of a stage, when it is not the engine's own."""
        return foreign_platform(node, self.store.engine)

    def _labels(self, node: Node, recorded: Mapping[str, Any]) -> dict[str, str]:
        return stage_labels.of_stage(node, recorded, self.revision)

    def _failed_build(self, node: Node, share: Share, error: JetsonError, log: Log, seconds: float) -> StageOutcome:
        lines = log.lines()
        said = set(lines)
        # What the engine says besides the build's output (a refusal by the daemon) belongs to the log as well.
        lines += [log.write(text) for text in error.details if self.logs.redact(text) not in said]
        error.message = log.write(error.message)
        finding = None
        if isinstance(error, BuildError):  # of any other class, the engine has recognized the cause already
            finding = diagnosis.diagnose(lines[1:], oom_killed=isinstance(error, OutOfMemoryError))
        if finding and finding.number:
            finding = replace(finding, number=finding.number + 1)
        cause = finding.cause if finding else error.message
        failure = StageFailure(
            node=node,
            error=error,
            finding=finding,
            lines=tuple(map(as_written, diagnosis.relevant(lines[1:], TAIL))),
            log=log.path,
            number=(finding.number if finding else 0) or len(lines),
            jobs=share.jobs,
        )
        return StageOutcome(report=self._report(node, "failed", seconds, log.path, cause=cause), failure=failure)

    # Testing it.

    def _test(self, node: Node, share: Share, outcome: StageOutcome) -> StageOutcome:
        name = node.stage.package
        began = time.monotonic()
        results = self.test(node, node.stage.image)
        recorded = package_tests.record(node, results, self.options)
        self.store.relabel(node.stage.image, self._labels(node, recorded))
        seconds = outcome.report.seconds + time.monotonic() - began
        report = replace(outcome.report, seconds=seconds, tests=str(recorded["status"]))
        if recorded["status"] != package_tests.FAILED:
            return StageOutcome(report=self._sized(report, node), tests=recorded)
        failed = results[-1]
        report = replace(report, cause=failed.reason)
        if self.options.tests == "warn":
            self.progress.say(f"warning: {name}: test `{failed.command}` failed: {failed.reason} ({failed.log})")
            return StageOutcome(report=self._sized(report, node), tests=recorded)
        return StageOutcome(
            report=replace(report, state="failed"), tests=recorded, failure=self.failed_test(node, share, failed)
        )

    def test(self, node: Node, image: str, where: str = "") -> list[package_tests.PackageTestResult]:
        """Run a stage's tests in an image: its own, or a final one that stands on it (`where` names its logs)."""
        name = node.stage.package
        self.progress.started(name, f"testing in the {where} image" if where else "testing")
        if self.cancelled.is_set():
            raise InterruptedByUserError("interrupted")
        bench = package_tests.Bench(
            engine=self.store.engine,
            options=self.options,
            logs=self.logs,
            platform=self.platform(node),
            on_line=lambda line: self.progress.line(name, line),
            where=where,
        )
        began = time.monotonic()
        results = package_tests.run(node, image, bench)
        if self.recorder is not None:
            self.recorder.tested(node.stage.key, time.monotonic() - began)
        for result in results:
            if result.status in package_tests.WAITING:
                self.progress.say(f"{name}: test `{result.command}` {result.status}: {result.reason}")
        return results

    def failed_test(
        self, node: Node, share: Share, failed: package_tests.PackageTestResult, where: str = ""
    ) -> StageFailure:
        """Make the StageFailure of a test; `where` says in which image, when that is not the stage's own."""
        if failed.log is None:
            raise AssertionError("a test that ran has a log")
        lines = failed.log.read_text(encoding="utf-8").splitlines()
        error = PackageTestError(failed.reason)
        number = failed.finding.number if failed.finding else 0
        tail = tuple(diagnosis.relevant(lines[1:], TAIL))
        return StageFailure(
            node=node,
            error=error,
            finding=failed.finding,
            lines=tail,
            log=failed.log,
            number=number or len(lines),
            jobs=share.jobs,
            test=failed.command,
            where=where,
        )

    def _untested(self, node: Node, outcome: StageOutcome) -> StageOutcome:
        said = package_tests.said(node, self.options, outcome.tests)
        return replace(outcome, report=self._sized(replace(outcome.report, tests=said), node))

    # Writing it down.

    def _remember(self, node: Node, seconds: float | None, report: StageReport) -> StageReport:
        """Record what building took and added, and say the size."""
        images = self.store.engine.images_named([node.stage.image, node.stage.base])
        own = image_named(node.stage.image, images)
        added = images[0].size - images[1].size if len(images) == 2 else None  # in the order of the names
        self.state.record(graph.weight_name(node.stage), seconds=seconds, size=added)
        return replace(report, size=own.size if own else None)

    def _sized(self, report: StageReport, node: Node) -> StageReport:
        """Say the size; running tests leaves it as it is."""
        if report.size is not None:
            return report
        image = self.store.engine.image(node.stage.image)
        return replace(report, size=image.size if image else None)

    def _report(self, node: Node, state: str, seconds: float, log: Path | None, cause: str = "") -> StageReport:
        return StageReport(
            package=node.stage.package,
            key=node.stage.key,
            image=node.stage.image,
            state=state,
            seconds=seconds,
            log=log,
            cause=cause,
        )
