"""Runs plans: what is built already is not built again, siblings in parallel, tests once per key, resumable.

Error policy: a stage that fails is remembered and shown at the end, after the stages that were running beside it
have ended; without `keep_going` nothing new starts after it. A failure of the program itself stops everything and
is raised as it is.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.builder import (
    ci,
    decide,
    estimates,
    finals,
    graph,
    package_tests,
    progress,
    recorder,
    records,
    resources,
    stage_registry,
    summary,
)
from jetson_containers.builder.bake_call import BakeCall
from jetson_containers.builder.logs import RunLogs
from jetson_containers.builder.loop import Loop
from jetson_containers.builder.scheduler import CallScheduler, Scheduler
from jetson_containers.builder.signals import Signals
from jetson_containers.builder.stage_builder import (
    StageBuilder,
    StageFailure,
    StageOutcome,
    foreign_platform,
    is_bakeable,
)
from jetson_containers.builder.state import BuildState
from jetson_containers.builder.store import Store
from jetson_containers.builder.types import BuildOptions, BuildReport, StageReport
from jetson_containers.core import files
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import DISK_FULL, DiskSpaceError, InterruptedByUserError, JetsonError
from jetson_containers.core.git import revision
from jetson_containers.core.secrets import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.builder.finals import Final
    from jetson_containers.builder.graph import Node
    from jetson_containers.builder.records import RecordedFailure
    from jetson_containers.builder.resources import Resources, Share
    from jetson_containers.builder.stage_registry import StageRegistry
    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import Engine
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.signing.signer import Signer

__all__ = ["BuildOptions", "BuildReport", "StageReport", "run"]


def run(
    plans: Sequence[BuildPlan],
    engine: Engine,
    options: BuildOptions,
    console: Console,
    registry: StageRegistry | None = None,
    signer: Signer | None = None,
) -> BuildReport:
    """Build all plans; stages that `registry` has are pulled, and final images that are pushed are signed by `signer`.

    Raises BuildError/PackageTestError for the first failure unless `keep_going`.

    Ctrl-C stops the children, removes half-done names and raises InterruptedByUserError; the next run goes on at the
    stage that was interrupted. Also raises UsageError for options that cannot be, and NotReadyError subclasses when
    the engine, the disk or the log folder is not ready.
    """
    package_tests.check_options(options)
    try:
        with Signals() as signals:
            return _Run(plans, engine, options, console, registry, signer).go(signals)
    except KeyboardInterrupt:
        raise InterruptedByUserError("interrupted", hint=summary.again(options, "resumes where it stopped")) from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise _disk_full(error, options) from error


def _disk_full(error: OSError, options: BuildOptions) -> DiskSpaceError:
    """Name the place that is full. An error while writing, unlike one while opening, does not say which file it was."""
    places = (Path(error.filename or options.log_dir), options.log_dir, options.state, Path(tempfile.gettempdir()))
    existing = [next(path for path in (place, *place.absolute().parents) if path.exists()) for place in places]
    full = min(existing, key=files.free_space)
    return DiskSpaceError(
        f"cannot write to `{full}`: {error.strerror}",
        hint="free some space there, or choose another place for logs with `--log-dir DIR`; what is built stays",
    )


class _Run:
    """The state of one `run`."""

    def __init__(
        self,
        plans: Sequence[BuildPlan],
        engine: Engine,
        options: BuildOptions,
        console: Console,
        registry: StageRegistry | None,
        signer: Signer | None,
    ) -> None:
        self.registry = registry
        self.signer = signer
        self.plans = [plan for plan in plans if plan.stages]
        self.named = [plan for plan in self.plans if plan.final]  # the others are wanted up to a stage
        self.engine = engine
        self.console = console
        self.env = os.environ if options.env is None else options.env
        self.options = options
        if engine.elsewhere:
            self.options = replace(options, engine_elsewhere=True)
            self._note_elsewhere()
        self.store = Store(engine)
        self.state = BuildState(options.state)
        self.graph = graph.merge(self.plans)
        self.began = time.monotonic()
        self.reports: dict[str, StageReport] = {}
        self.failures: list[StageFailure] = []
        self.finals: dict[str, Final] = {}
        self.pushed: list[str] = []
        self.push_errors: list[JetsonError] = []
        self.log_dir = options.log_dir
        self.facts = decide.Facts()
        self.recorder = recorder.Recorder(self.plans, self.graph, options)

    def go(self, signals: Signals) -> BuildReport:
        """Do everything, in a named order."""
        self.facts = decide.look(self.graph, self.plans, self.store, self.options, self.registry, self.console.warning)
        decision = decide.decide(self.graph, self.plans, self.facts, self.options)
        if not self.named and not decision.build | decision.test and decision.pull:
            return self._held_by_registry(decision)
        if decision.pull:
            decision = self._pull(decision)
        todo = decision.todo(self.graph)
        self.store.absent = decision.build
        self._complete(todo)
        named = all(plan.final in self.facts.finals for plan in self.named)
        pushes = self.options.push or self.options.push_stages  # what an earlier run could not push as well
        if decision.nothing and named and not pushes:
            return self._nothing_to_do()
        self._check_disk(todo)
        logs = RunLogs(self.options.log_dir, Redactor(self.env, self.options.build_args))
        self.log_dir = logs.directory
        shown = progress.make(self.options.progress, self.console, self.env)
        stage_builder = StageBuilder(
            store=self.store,
            options=self.options,
            logs=logs,
            progress=shown,
            state=self.state,
            cancelled=threading.Event(),
            revision=revision(Path(__file__).parents[2]),
            recorder=self.recorder,
        )
        stopped = True
        try:
            self._announce(decision, shown)
            with self.state.claim(self.graph.nodes):
                self._build(todo, stage_builder, signals)
                self._push_stages(stage_builder)
                self._push(stage_builder)
            stopped = False
        finally:
            shown.close()
            report = self._report()
            files.write_json(logs.directory / "build.json", report.to_json())
            self._record(report, logs.redact, stopped=stopped)
            self._summarize(report, logs.redact)
        return self._end(report)

    # Before.

    def _pull(self, decision: decide.BuildDecision) -> decide.BuildDecision:
        """Pull what a registry has, then decide again: what could not be pulled is built, with what lies below it."""
        for key in (key for key in self.graph.nodes if key in decision.pull):
            node, remote = self.graph.nodes[key], self.facts.remote[key]
            self.console.info(f"{node.stage.package}: pulling {remote.reference}")
            platform = foreign_platform(node, self.engine)
            reason = stage_registry.pull(node, remote, self.engine, platform, self.console)
            if reason:
                self.console.warning(f"{node.stage.package}: {reason}; it is built instead")
        self.facts = decide.look(self.graph, self.plans, self.store, self.options)
        return decide.decide(self.graph, self.plans, self.facts, self.options)

    def _complete(self, todo: Mapping[str, None]) -> None:
        """Report the stages that nothing is done for: they are complete, or below one that is."""
        for key, node in self.graph.nodes.items():
            image = self.facts.stages.get(key)
            if key not in todo and image is not None:
                recorded = decide.recorded(self.graph, key, image)
                self.recorder.remembers(key, recorded)
                said = package_tests.said(node, self.options, recorded)
                self.reports[key] = self._cached(node, tests=said, size=image.size)
            elif key not in todo:  # pruned, and not missed
                self.reports[key] = self._cached(node, tests="", cause="not needed: a stage above it is complete")

    @staticmethod
    def _cached(node: Node, *, tests: str, size: int | None = None, cause: str = "") -> StageReport:
        stage = node.stage
        return StageReport(
            package=stage.package,
            key=stage.key,
            image=stage.image,
            state="cached",
            seconds=0.0,
            size=size,
            tests=tests,
            cause=cause,
        )

    def _held_by_registry(self, decision: decide.BuildDecision) -> BuildReport:
        """Leave the stages that alone are wanted where the registry has them."""
        for key in decision.pull:
            node, remote = self.graph.nodes[key], self.facts.remote[key]
            self.console.ok(f"{node.stage.package}: nothing to build, {remote.reference} is there")
            self.reports[key] = self._cached(node, tests="", cause="in the stage registry")
        return self._nothing_done()

    def _nothing_to_do(self) -> BuildReport:
        for plan in self.plans:
            if not plan.final:
                self.console.ok(f"{plan.top.package} is up to date: nothing to build ({plan.top.image})")
                continue
            asked = " ".join(plan.request)
            size = self.facts.finals[plan.final].size
            self.console.ok(f"{asked} is up to date: nothing to build ({plan.final}, {human_bytes(size)})")
            self.finals[plan.final] = finals.Final(image=plan.final, fresh=False, size=size)
        return self._nothing_done()

    def _nothing_done(self) -> BuildReport:
        report = self._report()
        redact = Redactor(self.env, self.options.build_args)
        if self.plans:
            self._record(report, redact, stopped=False)
        self._summarize(report, redact)
        return report

    def _note_elsewhere(self) -> None:
        """What is different with an engine of another machine."""
        architecture = self.engine.capabilities.architecture
        self.console.info(
            f"the engine is on another machine ({architecture}): images stay there, and tests are left to"
            " `jetson-containers verify` there"
        )
        if any(plan.platform.machine != architecture for plan in self.plans):
            self.console.warning(
                f"an image is made for another architecture than {architecture}",
                "`--target` names the platform of the machine it will run on",
            )

    def _check_disk(self, todo: Mapping[str, None]) -> None:
        """Refuse before the first byte is written; an engine on another machine cannot be looked at from here."""
        root = Path(self.engine.capabilities.data_root)
        if not self.options.disk_per_stage or self.options.engine_elsewhere or not root.is_dir():
            return
        sizes = self.state.sizes()
        stages = [self.graph.nodes[key].stage for key in todo]
        known = (estimates.size(stage, sizes) for stage in stages)
        need = sum(self.options.disk_per_stage if size is None else max(0.0, size) for size in known)
        free = files.free_space(root)
        if need > free:
            raise DiskSpaceError(
                f"`{root}` has {human_bytes(free)} free, and {len(todo)} stages need about {human_bytes(need)}",
                hint="`jetson-containers df` shows what takes the space, `jetson-containers prune` frees it",
            )

    def _announce(self, decision: decide.BuildDecision, shown: progress.BuildProgress) -> None:
        todo = decision.todo(self.graph)
        asked = ", ".join(dict.fromkeys(" ".join(plan.request) for plan in self.plans))
        there = len(self.graph.nodes) - len(todo)
        estimate = estimates.of(self.graph, decision, self.options)
        shown.say(
            f"{asked}: {len(todo)} stage{'s' if len(todo) != 1 else ''} to build, {there} ready; logs: {self.log_dir}"
        )
        for line in estimate.lines() if estimate else ():
            shown.say(line)
        if self.options.rebuild and not self.options.no_cache:
            shown.say("--rebuild: unchanged commands come from the engine's layer cache; --no-cache runs them again")
        can = self.engine.capabilities
        fetching = self.options.ca_bundle or self.options.index_url or self.options.mirrors
        if fetching and (can.slow_secrets or not can.mounts):
            named = f"engine {can.server_version}" if can.mounts else "the builder without BuildKit"
            shown.say(
                f"{named} has CA bundle, index and mirrors in the keys of its layer cache:"
                " a build with others repeats the commands of the stages it builds"
            )

    # The work.

    def _build(self, todo: Mapping[str, None], stage_builder: StageBuilder, signals: Signals) -> None:
        options = self.options
        available = resources.detect(
            jobs=options.jobs, cores=options.cores, memory=options.memory, most_jobs=resources.job_limit(self.env)
        )
        seconds = self.state.seconds()
        calls: dict[str, BakeCall] = {}
        scheduler = self._scheduler(todo, seconds, available, calls)

        def work(node: Node, share: Share) -> StageOutcome:
            outcome = replace(stage_builder, call=calls.get(node.stage.key)).run(node, share)
            self.recorder.remembers(node.stage.key, outcome.tests)
            ended = outcome.failure is not None or outcome.report.state == "skipped"
            return outcome if ended else self._finish(node, share, outcome, stage_builder)

        loop = Loop(
            self.graph,
            scheduler,
            work,
            stage_builder.progress,
            keep_going=options.keep_going,
            seconds=seconds,
            reports=self.reports,
        )
        self.failures = loop.failures

        below = {name for key in todo for name in self.graph.needs[key] if name not in todo}
        for name in sorted(below):
            stage_builder.restore(self.graph.nodes[name])

        def stop() -> None:
            stage_builder.cancelled.set()
            self.engine.stop()

        loop.run(signals, stop)
        for key, node in self.graph.nodes.items():
            if node.last and key not in todo:  # complete, but perhaps without this name, or tested anew below
                outcome = self._finish(
                    node, resources.Share(1, 0), StageOutcome(report=self.reports[key]), stage_builder
                )
                self.reports[key] = outcome.report
                self.failures += [outcome.failure] if outcome.failure else []

    def _scheduler(
        self, todo: Mapping[str, None], seconds: Mapping[str, float], available: Resources, calls: dict[str, BakeCall]
    ) -> Scheduler:
        """Choose what starts when: stage by stage, or by `calls` (by stage) where the engine builds several at once."""
        if not self.engine.capabilities.bake:
            priorities = graph.priorities(self.graph, set(todo), seconds)
            return Scheduler(self.graph, todo, priorities, available, seconds)

        def begin(members: Sequence[str]) -> None:
            if len(members) > 1:
                keep_going = self.options.keep_going
                call = BakeCall(members, self.graph, self.engine, self.state, keep_going=keep_going)
                calls.update(dict.fromkeys(members, call))

        alone = frozenset(key for key in todo if not is_bakeable(self.graph.nodes[key], self.options))
        return CallScheduler(self.graph, todo, available, seconds, alone=alone, begin=begin)

    def _finish(self, node: Node, share: Share, outcome: StageOutcome, stage_builder: StageBuilder) -> StageOutcome:
        """Give the top of a plan its final name, as soon as it is complete."""
        for plan in self.named:
            if plan.top.key != node.stage.key or self._lost(plan):
                continue
            final = finals.name(plan, self.graph, stage_builder, share)
            if isinstance(final, StageFailure):
                report = replace(outcome.report, state="failed", tests="failed", cause=final.error.message)
                return replace(outcome, report=report, failure=final)
            self.finals[final.image] = final
        return outcome

    def _lost(self, plan: BuildPlan) -> bool:
        """Whether a stage below the plan's top has failed (its tests, that is, when the top is complete)."""
        below = [self.reports.get(stage.key) for stage in plan.stages[:-1]]
        return any(report is not None and report.state in {"failed", "skipped"} for report in below)

    def _push(self, stage_builder: StageBuilder) -> None:
        """Push what is complete; a registry that refuses is an error of the run, and not of the images."""
        if not self.options.push or (self.failures and not self.options.keep_going):
            return
        for plan in self.named:
            if plan.final not in self.finals:
                continue
            try:
                self.pushed.append(finals.push(plan, self.options.push, stage_builder, self.signer))
            except InterruptedByUserError:
                raise
            except JetsonError as error:
                error.details = tuple(map(stage_builder.logs.redact, error.details))
                self.push_errors.append(error)

    def _push_stages(self, stage_builder: StageBuilder) -> None:
        """Push what was built; a registry that refuses is an error of the run, and not of the stages."""
        if self.registry is None or not self.options.push_stages:
            return
        for key, report in self.reports.items():
            stage = self.graph.nodes[key].stage
            if report.state not in {"built", "cached"} or self.engine.image(stage.image) is None:
                continue
            try:
                stage_builder.progress.started(stage.package, "pushing")
                target = self.registry.push(stage, self.engine, partial(stage_builder.progress.line, stage.package))
                self.pushed += [target] if target else []
            except InterruptedByUserError:
                raise
            except JetsonError as error:
                error.details = tuple(map(stage_builder.logs.redact, error.details))
                self.push_errors.append(error)
                return

    # After.

    def _report(self) -> BuildReport:
        stages = tuple(self.reports[key] for key in self.graph.nodes if key in self.reports)
        missing = [plan for plan in self.named if plan.final not in self.finals]
        images = tuple(plan.final for plan in self.named if plan.final in self.finals)
        seconds = time.monotonic() - self.began
        return BuildReport(
            ok=not (self.failures or self.push_errors or missing),
            images=images,
            stages=stages,
            seconds=seconds,
            log_dir=self.log_dir,
            pushed=tuple(self.pushed),
        )

    def _record(self, report: BuildReport, redact: Callable[[str], str], *, stopped: bool) -> None:
        """Leave the record of the build, which does not fail where that cannot be written."""
        ran = self.log_dir != self.options.log_dir  # with nothing to do the engine is asked for nothing more
        result = "stopped" if stopped else "ok" if report.ok else "failed"
        try:
            made = self.recorder.make(
                report,
                result=result,
                log_dir=self.log_dir if ran else None,
                images={name: final.size or 0 for name, final in self.finals.items()},
                failures=self._failed(),
                engine=self.engine if ran else None,
            )
            records.write(self.state, made, redact)
        except (JetsonError, OSError) as error:
            self.console.warning(f"this build leaves no record for `jetson-containers report`: {error}")

    def _failed(self) -> list[RecordedFailure]:
        return [*map(summary.recorded, self.failures), *map(summary.refused, self.push_errors)]

    def _summarize(self, report: BuildReport, redact: Callable[[str], str]) -> None:
        """Add to the summary of a CI job; that it cannot be written changes nothing of the build."""
        asked = ", ".join(dict.fromkeys(" ".join(plan.request) for plan in self.plans))
        sizes = {name: final.size for name, final in self.finals.items()}
        try:
            ci.summarize(report, self._failed(), self.env, redact, asked=asked, sizes=sizes)
        except OSError as error:
            self.console.warning(f"the summary of this job cannot be written: {error}")

    def _end(self, report: BuildReport) -> BuildReport:
        errors: list[JetsonError] = [
            summary.explain(failure, len(self.graph.nodes), self.options) for failure in self.failures
        ]
        errors += self.push_errors
        summary.show(self.console, report, self.finals)
        if errors and not self.options.keep_going:
            raise errors[0]
        for error in errors:
            self.console.error(error)
        return report
