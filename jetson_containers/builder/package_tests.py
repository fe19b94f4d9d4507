"""A package's own tests: which to run, how, and what the image remembers of them.

The record of a stage is the `tests` label: `{"status", "date", "gpu", "scripts", "results": [{"command", "status",
"seconds", "reason"}]}`; a final image holds the records of all its packages under `packages`.

A test that needs a GPU where containers get none is `deferred`: it runs on the board, by `verify` or the next build.

On a platform with a GPU the last entry is `IMAGE_CHECK`: what needs no GPU is looked at even where the tests say that
they need one (see `image_check`), and only then does a skipped test count.
"""

from __future__ import annotations

import datetime
import hashlib
import shlex
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import image_check
from jetson_containers.core import diagnosis
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.launch import least
from jetson_containers.plan.stage import StageKind
from jetson_containers.recipes import files, shared
from jetson_containers.recipes.catalog import matching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.builder.graph import Node
    from jetson_containers.builder.logs import RunLogs
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.core.diagnosis import Diagnosis
    from jetson_containers.engine.interface import Engine
    from jetson_containers.plan.stage import Stage

MODES = ("all", "once", "warn", "none")
SHARED = "/test-shared"  # in the container of a test
_STAGED = f"{shared.PLACE}/"
IMAGE_CHECK = "image check"  # stands in a record beside the commands
NEEDS_GPU = 77  # exit code of a test that cannot run here; automake's convention for "skipped"

PASSED = "passed"
FAILED = "failed"
SKIPPED = "skipped"
DEFERRED = "deferred"
PENDING = "pending"
ELSEWHERE = "the engine is on another machine, which does not see the files of the tests"
NONE = "none"
WAITING = frozenset({SKIPPED, DEFERRED})  # run once containers get a GPU


@dataclass(frozen=True, kw_only=True)
class PackageTestResult:
    """How one test ended. `reason` says why it was skipped or, where known, why it failed."""

    command: str
    status: str  # passed, failed, skipped, deferred
    seconds: float
    reason: str = ""
    log: Path | None = None
    finding: Diagnosis | None = None


def check_options(options: BuildOptions) -> None:
    """Raise UsageError for a `--tests` that does not exist."""
    if options.tests not in MODES:
        raise UsageError(f"`--tests {options.tests}` is unknown", hint=f"one of: {', '.join(MODES)}")


def tests_of(node: Node) -> tuple[str, ...]:
    """Test commands of a stage; an artifact has none: the part that installs it is tested."""
    if node.stage.kind is StageKind.ARTIFACT or node.stage.definition is None:
        return ()
    return node.stage.definition.test


def excluded(node: Node, options: BuildOptions) -> str:
    """Why a stage's tests do not run under these options, or `""` when they do."""
    if options.tests == "none":
        return "--tests none"
    if options.engine_elsewhere:
        return ELSEWHERE
    for pattern in options.skip_tests:
        if (
            pattern.lower() in {"all", "*"}
            or (pattern.lower() == "intermediate" and not node.last)
            or _names(pattern, node)
        ):
            return f"--skip-tests {pattern}"
    if options.test_only and not any(_names(pattern, node) for pattern in options.test_only):
        return "not among --test-only"
    return ""


def due(node: Node, options: BuildOptions, recorded: Mapping[str, Any]) -> bool:
    """Whether a stage's tests have to run, given what its image remembers of them."""
    commands = tests_of(node)
    if not commands or excluded(node, options):
        return False
    if options.tests != "all" and recorded.get("status") == DEFERRED and not results(recorded):
        return bool(gives_gpu(options))  # none ran, because the engine was elsewhere
    if node.plan.platform.has_gpu:
        commands = (*commands, IMAGE_CHECK)
    same = [entry.get("command") for entry in results(recorded)] == list(commands)
    if options.tests == "all" or not same or recorded.get("scripts") != scripts_digest(node):
        return True
    if recorded.get("status") == PASSED:
        lacked_gpu = any(entry.get("status") in WAITING for entry in results(recorded)) and not recorded.get("gpu")
        return lacked_gpu and gives_gpu(options)
    if recorded.get("status") in WAITING:
        return bool(gives_gpu(options)) and not recorded.get("gpu")
    return True


def scripts_digest(node: Node) -> str:
    """Hash the test scripts themselves: they are not part of the key, so that editing a test rebuilds nothing."""
    state = hashlib.sha256()
    for entry in tests_of(node):
        path = shared.script(node.stage.definition, entry) if node.stage.definition else None
        script = files.read_bytes(path) if path and files.is_file(path) else b""
        state.update(entry.encode() + b"\0" + script + b"\0")
    return state.hexdigest()[:16]


def said(node: Node, options: BuildOptions, recorded: Mapping[str, Any]) -> str:
    """Say for the report why a stage's tests were not run: none, skipped, or the recorded result counts."""
    if not tests_of(node):
        return NONE
    if why := excluded(node, options):
        return DEFERRED if why == ELSEWHERE else SKIPPED
    return "cached" if recorded.get("status") == PASSED else str(recorded.get("status", ""))


def record(node: Node, results: Sequence[PackageTestResult], options: BuildOptions) -> dict[str, Any]:
    """What the image is to remember: the worst that happened, and each test."""
    # The check of the image can only make it worse: that libraries are there does not mean that a test ran.
    statuses = {result.status for result in results if result.command != IMAGE_CHECK or result.status == FAILED}
    status = next((each for each in (FAILED, PASSED, DEFERRED, SKIPPED) if each in statuses), NONE)
    entries = [
        {"command": r.command, "status": r.status, "seconds": round(r.seconds, 3)}
        | ({"reason": r.reason} if r.reason else {})
        for r in results
    ]
    return {
        "status": status,
        "date": _now(),
        "gpu": gives_gpu(options),
        "scripts": scripts_digest(node),
        "results": entries,
    }


def not_run(node: Node, reason: str) -> dict[str, Any]:
    """The record of a stage whose tests did not run (yet): `reason` is `pending` or the option that says so."""
    if not tests_of(node):
        return {"status": NONE}
    status = {PENDING: PENDING, ELSEWHERE: DEFERRED}.get(reason, SKIPPED)
    return {"status": status, "reason": reason}


def of_package(tests: Mapping[str, Any], package: str) -> Mapping[str, Any]:
    """One package's record from the label of a stage or of a final image."""
    packages = tests.get("packages")
    if not isinstance(packages, dict):
        return tests
    found = packages.get(package, {})
    return found if isinstance(found, dict) else {}


def of_image(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The label of a final image from its packages' records: the worst of them decides."""
    statuses = {str(entry.get("status", "")) for entry in records.values()}
    order = (FAILED, PENDING, DEFERRED, SKIPPED, PASSED)
    status = next((name for name in order if name in statuses), NONE)
    return {"status": status, "date": _now(), "packages": {name: dict(entry) for name, entry in records.items()}}


def gives_gpu(options: BuildOptions) -> bool:
    """Whether the run options hand a GPU to containers."""
    return any(option.startswith("--gpus") or "nvidia" in option for option in options.run_options)


def argv(entry: str) -> list[str]:
    """Turn a `test:` entry into a command: the package's directory is `/test`, what it shares is in `/test-shared`.

    >>> argv("test.py --quick 'a b'")
    ['python3', '/test/test.py', '--quick', 'a b']
    >>> argv(".jetson/shared/look.sh")
    ['/bin/bash', '/test-shared/look.sh']
    """
    try:
        program, *arguments = shlex.split(entry)
    except ValueError as error:
        raise UsageError(f"the test `{entry}` cannot be read: {error}", hint="close the quote in the recipe") from error
    path = f"{SHARED}/{program.removeprefix(_STAGED)}" if program.startswith(_STAGED) else f"/test/{program}"
    by_suffix = {".py": ["python3", path], ".sh": ["/bin/bash", path]}
    return [*by_suffix.get(PurePosixPath(program).suffix, [path]), *arguments]


def container_options(node: Node, options: BuildOptions, platform: str | None) -> list[str]:
    """Options of `docker run` for a test: not privileged, read-only sources, no network unless the recipe asks."""
    definition = node.stage.definition
    chosen = ["--label", "io.jetson-containers.test=" + node.stage.package]
    chosen += ["--network", (definition.network if definition else None) or "none", "--shm-size", "8g"]
    if platform:
        chosen += ["--platform", platform]
    if definition:
        chosen += ["--volume", f"{definition.path.resolve()}:/test:ro"]
        shared.files_of(definition)  # what is not there would be made by docker
        for item in shared.entries_of(definition):
            chosen += ["--volume", f"{item.path.resolve()}:{SHARED}/{item.name.removeprefix(_STAGED)}:ro"]
    if options.least:
        chosen += [*_rights(node), "--volume", "/data"]  # a volume without a name goes with the container
    elif options.data:
        options.data.mkdir(parents=True, exist_ok=True)  # docker would make it too, but as root
        chosen += ["--volume", f"{options.data.resolve()}:/data"]
    return [*chosen, *options.run_options]


def _rights(node: Node) -> list[str]:
    """What a test may. It writes in its container, which is thrown away: those of package managers install there."""
    definition = node.stage.definition
    words = list(least.rights(read_only=False))
    folders = [definition.path, *(item.path for item in shared.entries_of(definition))] if definition else []
    if not all(files.readable_by_root(folder) for folder in folders):
        words += ["--cap-add", "DAC_OVERRIDE"]  # root without it cannot read another user's private files either
    return words


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where tests run. `platform` is docker's name of a foreign platform; `where` tells logs of one test apart."""

    engine: Engine
    options: BuildOptions
    logs: RunLogs
    platform: str | None
    on_line: Callable[[str], None]
    where: str = ""


def run(node: Node, image: str, bench: Bench) -> list[PackageTestResult]:
    """Run a stage's tests in an image, one after another; after a failure the rest is not run."""
    results: list[PackageTestResult] = []
    for index, entry in enumerate(tests_of(node), 1):
        results.append(_run_one(node, entry, index, image, bench))
        if results[-1].status == FAILED:
            return results
    if node.plan.platform.has_gpu:
        results.append(_check_image(node, len(results) + 1, image, bench))
    return results


def _check_image(node: Node, index: int, image: str, bench: Bench) -> PackageTestResult:
    """Look at what the tests cannot see without a GPU."""
    platform = node.plan.platform
    where = " ".join(filter(None, (IMAGE_CHECK, bench.where)))
    with bench.logs.test(node.number, index, node.stage.package, where) as log:
        log.write(f"$ jetson-containers test {image}")
        began = time.monotonic()
        try:
            contents = image_check.inspect(bench.engine, image, platform=bench.platform)
        except NotReadyError as error:
            log.write(str(error.message))
            return PackageTestResult(
                command=IMAGE_CHECK,
                status=SKIPPED,
                seconds=time.monotonic() - began,
                reason=error.message,
                log=log.path,
            )
        verdict = image_check.judge_for(contents, platform)
        for line in (*verdict.problems, *(f"note: {note}" for note in verdict.notes)):
            bench.on_line(log.write(line))
        seconds = time.monotonic() - began
        log.write(f"{len(verdict.problems)} problems after {seconds:.1f} s")
    if verdict.problems:
        more = f" (and {len(verdict.problems) - 1} more)" if len(verdict.problems) > 1 else ""
        return PackageTestResult(
            command=IMAGE_CHECK, status=FAILED, seconds=seconds, reason=verdict.problems[0] + more, log=log.path
        )
    return PackageTestResult(
        command=IMAGE_CHECK,
        status=PASSED,
        seconds=seconds,
        reason=image_check.summary(contents, platform.sm),
        log=log.path,
    )


def _run_one(node: Node, entry: str, index: int, image: str, bench: Bench) -> PackageTestResult:
    limit = (node.stage.definition.timeout if node.stage.definition else None) or bench.options.test_timeout
    test = " ".join(filter(None, (entry.partition(" ")[0], bench.where)))
    command = argv(entry)
    with bench.logs.test(node.number, index, node.stage.package, test) as log:
        log.write(f"$ {shlex.join(['docker', 'run', image, *command])}")
        began = time.monotonic()
        ended = bench.engine.run(
            image,
            command,
            options=container_options(node, bench.options, bench.platform),
            timeout=limit,
            on_line=lambda line: bench.on_line(log.write(line)),
        )
        seconds = time.monotonic() - began
        log.write(f"exit code {ended.exit_code} after {seconds:.1f} s")
        lines = log.lines()
    if ended.exit_code == 0:
        return PackageTestResult(command=entry, status=PASSED, seconds=seconds, log=log.path)
    if ended.exit_code == NEEDS_GPU:
        waits = node.plan.platform.has_gpu and not gives_gpu(bench.options)
        status, reason = DEFERRED if waits else SKIPPED, _last_words(lines) or "needs a GPU"
        return PackageTestResult(command=entry, status=status, seconds=seconds, reason=reason, log=log.path)
    if ended.timed_out:
        reason = f"took longer than {limit:.0f} s and was stopped"
        return PackageTestResult(command=entry, status=FAILED, seconds=seconds, reason=reason, log=log.path)
    finding = diagnosis.diagnose(lines[:-1], exit_code=ended.exit_code, oom_killed=ended.oom_killed)
    reason = finding.cause if finding else f"exit code {ended.exit_code}"
    return PackageTestResult(
        command=entry, status=FAILED, seconds=seconds, reason=reason, log=log.path, finding=finding
    )


def _last_words(lines: Sequence[str]) -> str:
    """The last line a skipped test printed: its reason. The first and last line of a log are ours."""
    said = [line.strip() for line in lines[1:-1] if line.strip()]
    return said[-1][:200] if said else ""


def names_of(stage: Stage) -> set[str]:
    """The names by which patterns of options mean the package of a stage."""
    names = {stage.package, stage.package.partition(":")[0]}
    if stage.definition:
        names |= {stage.definition.name, stage.definition.family, *stage.definition.aliases}
    return names


def _names(pattern: str, node: Node) -> bool:
    return bool(matching(names_of(node.stage), pattern))


def results(recorded: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tests that a record of a stage holds, one entry each."""
    found = recorded.get("results")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
