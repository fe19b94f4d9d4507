"""Plans run on a real engine: tiny stages on a 2 MB base, through every builder this machine has."""

from __future__ import annotations

import io
import json
import os
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import records, run
from jetson_containers.builder.stage_registry import StageRegistry
from jetson_containers.cli import images
from jetson_containers.cli.app import App
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import BuildError, PackageTestError
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.images import labels
from jetson_containers.pages import build_report
from jetson_containers.plan.plan import BuildPlan
from jetson_containers.plan.stage import Stage, StageKind
from jetson_containers.platforms.platform import Arch
from jetson_containers.recipes.package import Package
from tests import example_platforms
from tests.real.conftest import PREFIX, engine_for, environment, scratch

if TYPE_CHECKING:
    from jetson_containers.engine.docker import DockerEngine
    from jetson_containers.engine.interface import LocalImage
    from tests.real.conftest import Registry

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
ARCH = Arch.X86_64 if os.uname().machine == "x86_64" else Arch.SBSA
PLATFORM = example_platforms.without_gpu(ARCH, "debian", "12", "3.11")
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


@dataclass
class Workplace:
    """Makes plans whose keys no other test has, and runs them."""

    directory: Path
    base: str
    engine: DockerEngine
    prefix: str = ""
    mode: str = "auto"

    def __post_init__(self) -> None:
        self.prefix = self.prefix or secrets.token_hex(8)

    def stage(
        self, name: str, run: str, *, parent: Stage | None = None, key: str = "", test: str = "", **more: Any
    ) -> Stage:
        path = self.directory / "packages" / name
        path.mkdir(parents=True, exist_ok=True)
        if test:
            (path / "check").write_text(f"#!/bin/sh\n{test}\n")
            (path / "check").chmod(0o755)
        tests = ("check one 'two words'",) if test else ()
        definition = Package(
            name=name,
            family=name,
            version=None,
            variant=None,
            path=path,
            dockerfile="Dockerfile",
            test=tests,
            **more.pop("package", {}),
        )
        key = f"{self.prefix}-{key or name}"
        return Stage(
            package=name,
            kind=more.pop("kind", StageKind.LAYER),
            key=f"sha256:{key}",
            parent=parent.key if parent else None,
            base=parent.image if parent else self.base,
            image=f"jetson-containers/stage:{key}",
            depends=((parent.key,) if parent else ()) + more.pop("needs", ()),
            layers=1,
            context=path,
            dockerfile=f"{HEAD}{run}\n",
            definition=definition,
        )

    def plan(self, *stages: Stage) -> BuildPlan:
        names = tuple(stage.package for stage in stages)
        final = f"jetson-containers-test/{self.prefix}:{stages[-1].package}"
        return BuildPlan(
            platform=PLATFORM,
            request=names[-1:],
            stages=stages,
            final=final,
            layers=len(stages),
            base=self.base,
            packages=names,
        )

    def run(self, *plans: BuildPlan, **changes: Any) -> tuple[run.BuildReport, str]:
        err = io.StringIO()
        options = run.BuildOptions(log_dir=self.directory / "logs", env={}, **changes)
        report = run.run(plans, self.engine, options, Console(out=io.StringIO(), err=err, env={}))
        return report, err.getvalue()

    def label(self, reference: str) -> labels.ImageLabels:
        image = self.engine.image(reference)
        assert image is not None, reference
        return labels.read(image.labels)


def states(report: run.BuildReport) -> dict[str, tuple[str, str]]:
    return {entry.package: (entry.state, entry.tests) for entry in report.stages}


@pytest.fixture
def place(tmp_path: Path, engine: DockerEngine, scratch_base: str) -> Workplace:
    return Workplace(tmp_path, scratch_base, engine)


@pytest.fixture(params=["legacy", "buildkit", "buildx", "bake"])
def each_place(request: pytest.FixtureRequest, tmp_path: Path, busybox: Path) -> Workplace:
    """A workplace with each builder; `bake` is that of a newer engine."""
    request.getfixturevalue("newer_engine" if request.param == "bake" else "engine")
    engine = engine_for(request.param)
    return Workplace(tmp_path, scratch(engine, busybox, f"{PREFIX}/scratch:1", None), engine, mode=request.param)


def test_plan_is_built_tested_and_named_and_not_built_again(each_place: Workplace) -> None:
    """A plan is built, tested and named, and the second time nothing happens."""
    place = each_place
    a = place.stage("a", "RUN echo built > /a", test='cat /a; [ "$1" = one ] && [ "$2" = "two words" ]')
    b = place.stage("b", "RUN cat /a && echo b > /b", parent=a, test="exit 77")
    meta = place.stage("all", "", parent=b, kind=StageKind.META)
    the_plan = place.plan(a, b, meta)
    report, said = place.run(the_plan, progress="plain")
    assert report.ok
    assert states(report) == {"a": ("built", "passed"), "b": ("built", "skipped"), "all": ("built", "none")}
    assert "a | built" in said
    final = place.label(the_plan.final)
    assert (final.role, final.packages, final.key) == ("final", ("a", "b", "all"), meta.key)
    assert final.tests["packages"]["a"]["status"] == "passed"
    lower = place.label(a.image)
    assert (lower.role, lower.packages, lower.key) == ("stage", ("a",), a.key)
    before = {image.id for image in OnlyMine(place).images()}
    again, said = place.run(the_plan)
    assert "all is up to date: nothing to build" in said
    assert {entry.state for entry in again.stages} == {"cached"}
    assert {image.id for image in OnlyMine(place).images()} == before
    assert place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output.split() == ["built", "b"]


def test_record_of_a_build_has_times_and_layers_and_says_what_changed(each_place: Workplace) -> None:
    """The record of a real build holds times, layers and tests; after an edit the page says what changed."""
    place = each_place
    big = "head -c 2000000 /dev/urandom"
    a = place.stage("a", f"RUN {big} > /a", test="true")
    b = place.stage("b", f"RUN {big} > /b\nENV X=1\nRUN {big} > /c", parent=a)
    place.run(place.plan(a, b))
    edited = place.stage("b", f"RUN {big} > /b", parent=a, key="edited")
    place.run(place.plan(a, edited))
    folder = records.folder(place.directory / "logs" / ".state")
    now, before = build_report.open_record(folder, records.NEWEST)
    assert before is not None
    lower, upper = before.stages
    assert [span.action for span in lower.spans] == ["build", "test"]
    assert lower.spans[0].seconds > 0
    assert upper.spans[0].began >= sum(span.seconds for span in lower.spans[:1])
    assert [layer.size for layer in upper.layers] == [2_000_000, 2_000_000]
    assert all("head -c 2000000" in layer.command for layer in upper.layers)
    assert 2_000_000 <= (lower.added or 0) < 2_100_000
    assert [(test.command, test.status) for test in lower.results] == [("check one 'two words'", "passed")]
    assert [stage.state for stage in now.stages] == ["cached", "built"]
    page = build_report.text(now, before, {})
    assert "<code>b</code> changed<ul><li>Dockerfile was edited</li>" in page
    assert "size: −2.0 MB" in page
    assert "build/02_b.log" in page


def test_build_leaves_no_unnamed_images(each_place: Workplace) -> None:
    """No unnamed images are left behind."""
    place = each_place
    a = place.stage("a", "RUN echo 1 > /a", test="true")
    place.run(place.plan(a))
    place.run(place.plan(a), rebuild=True, tests="all")
    mine = place.engine.images({labels.KEY: a.key})
    assert sorted(name for image in mine for name in image.references) == sorted([a.image, place.plan(a).final])
    assert all(image.references for image in mine)


def test_image_of_a_user_built_on_a_stage_is_not_taken_for_it(place: Workplace) -> None:
    """A user's image built on a stage is not taken for the stage."""
    a = place.stage("a", "RUN echo 1 > /a")
    the_plan = place.plan(a)
    place.run(the_plan)
    derived = f"jetson-containers-test/{place.prefix}-app:1"
    place.engine.build(
        BuildRequest(context=a.context or ROOT, dockerfile=f"FROM {the_plan.final}\nRUN rm /a\n", tag=derived),
        lambda _: None,
    )
    assert place.label(derived).key == a.key  # inherited
    place.engine.untag(a.image)
    place.engine.untag(the_plan.final)
    report, _ = place.run(the_plan)
    assert states(report) == {"a": ("built", "none")}
    assert place.engine.run(the_plan.final, ["cat", "/a"]).output.split() == ["1"]


def test_final_image_whose_stages_were_pruned_is_reused_and_built_upon(place: Workplace) -> None:
    """A final image whose stages were pruned is reused and built upon."""
    a = place.stage("a", "RUN echo 1 > /a", test="true")
    the_plan = place.plan(a)
    place.run(the_plan)
    place.engine.untag(a.image)
    report, said = place.run(the_plan)
    assert "up to date" in said
    b = place.stage("b", "RUN cat /a", parent=a)
    report, _ = place.run(place.plan(a, b))
    assert states(report) == {"a": ("cached", "cached"), "b": ("built", "none")}
    assert place.label(a.image).role == "stage"


def test_failed_stage_is_explained_and_resumed_when_fixed(each_place: Workplace) -> None:
    """A failed stage is explained, and the build resumes there when it is fixed."""
    place = each_place
    a = place.stage("a", "RUN echo 1 > /a")
    broken = place.stage("b", "RUN echo E: Unable to locate package libfoo && false", parent=a)
    with pytest.raises(BuildError) as caught:
        place.run(place.plan(a, broken))
    assert "stage `b` (2 of 2) failed: apt does not know the package `libfoo`" in caught.value.message
    path, _, number = caught.value.details[-1].removeprefix("log: ").rpartition(":")
    assert "E: Unable to locate package libfoo" in Path(path).read_text().splitlines()[int(number) - 1]
    assert place.engine.image(broken.image) is None
    fixed = place.stage("b", "RUN echo 2 > /b", parent=a, key="b2")
    report, _ = place.run(place.plan(a, fixed))
    assert states(report) == {"a": ("cached", "none"), "b": ("built", "none")}


def test_failed_package_test_is_remembered_and_run_again_without_a_build(place: Workplace) -> None:
    """A failed test is remembered and run again without a build."""
    a = place.stage("a", "RUN echo 1 > /a", test="echo no module; exit 1")
    with pytest.raises(PackageTestError) as caught:
        place.run(place.plan(a))
    assert "| no module" in caught.value.details
    assert place.label(a.image).tests["status"] == "failed"
    assert place.engine.image(place.plan(a).final) is None
    a = place.stage("a", "RUN echo 1 > /a", test="true")
    report, _ = place.run(place.plan(a))
    assert states(report) == {"a": ("cached", "passed")}
    assert place.label(place.plan(a).final).tests["status"] == "passed"


def test_siblings_are_built_at_the_same_time(place: Workplace) -> None:
    """Siblings are built at the same time."""
    a = place.stage("a", "RUN true")
    b = place.stage("b", "RUN echo b && sleep 2", parent=a)
    c = place.stage("c", "RUN echo c && sleep 2", parent=a)
    report, said = place.run(place.plan(a, b), place.plan(a, c), jobs=2, progress="json")
    assert report.ok
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    order = [(event["event"], event["stage"]) for event in events if event["event"] in {"start", "end"}]
    assert order[:2] == [("start", "a"), ("end", "a")]
    assert set(order[2:4]) == {("start", "b"), ("start", "c")}


def test_keep_going_builds_what_does_not_need_the_failed_stage(place: Workplace) -> None:
    """`--keep-going` builds what does not need the failed stage."""
    a = place.stage("a", "RUN true")
    b = place.stage("b", "RUN false", parent=a)
    c = place.stage("c", "RUN true", parent=a)
    d = place.stage("d", "RUN true", parent=b)
    report, _ = place.run(place.plan(a, b, d), place.plan(a, c), keep_going=True)
    assert {name: state for name, (state, _) in states(report).items()} == {
        "a": "built",
        "b": "failed",
        "d": "skipped",
        "c": "built",
    }
    assert report.images == (place.plan(c).final,)


def test_package_test_out_of_memory_is_recognized(place: Workplace) -> None:
    """A test container that runs out of memory is recognized."""
    a = place.stage("a", "RUN true", test="tail /dev/zero")
    with pytest.raises(PackageTestError, match="memory ran out"):
        place.run(place.plan(a), run_options=("--memory", "32m", "--memory-swap", "32m"))


def test_build_out_of_memory_is_recognized(tmp_path: Path, scratch_base: str) -> None:
    """Only the legacy builder can limit the memory of a build."""
    place = Workplace(tmp_path, scratch_base, engine_for("legacy"))
    a = place.stage("a", "RUN tail /dev/zero")
    with pytest.raises(BuildError) as caught:
        place.run(place.plan(a), build_flags=("--memory=64m", "--memory-swap=-1"))
    assert "memory ran out" in caught.value.message
    assert "MAX_JOBS=1" in (caught.value.hint or "")


def test_recipe_gets_its_compile_jobs(place: Workplace) -> None:
    """A recipe gets its number of compile jobs."""
    a = place.stage("a", "ARG MAX_JOBS\nRUN echo jobs=${MAX_JOBS} > /jobs", package={"memory_per_job": 1024**3})
    place.run(place.plan(a), cores=3, memory=2 * 1024**3)
    assert place.engine.run(place.plan(a).final, ["cat", "/jobs"]).output.split() == ["jobs=2"]


class OnlyMine:
    """An engine that shows `prune` only this test's images: the machine's own stay."""

    def __init__(self, place: Workplace) -> None:
        self._place = place

    def images(self) -> list[LocalImage]:
        found = self._place.engine.images()
        return [image for image in found if any(self._place.prefix in name for name in image.references)]

    def untag(self, reference: str, *, keep_parents: bool = False) -> None:
        self._place.engine.untag(reference, keep_parents=keep_parents)

    def usage(self) -> None:
        """What the whole machine holds is nobody's here, and takes seconds to count."""


def prune(place: Workplace, *argv: str) -> list[str]:
    app = App({"as_json": True})
    app.__dict__["engine"] = OnlyMine(place)
    out = io.StringIO()
    app.__dict__["console"] = Console(as_json=True, out=out, err=io.StringIO())
    images.prune.main([*argv], standalone_mode=False, obj=app)
    return list(json.loads(out.getvalue())["removed"])


def test_layer_cache_survives_prune_and_another_number_of_jobs(each_place: Workplace) -> None:
    """Neither prune nor another number of jobs runs a command again."""
    place = each_place
    told = "ARG MAX_JOBS\nRUN cat /proc/sys/kernel/random/uuid > /NAME && echo jobs=$MAX_JOBS >> /NAME"
    a = place.stage("a", told.replace("NAME", "a"))
    made = place.stage("made", told.replace("NAME", "made"), parent=a, kind=StageKind.ARTIFACT)
    b = replace(place.stage("b", told.replace("NAME", "b"), parent=a), depends=(a.key, made.key))
    the_plan = place.plan(a, made, b)
    place.run(the_plan, cores=2, jobs=2, memory=4 * 1024**3)
    before = place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output
    compiled = place.engine.image(made.image)
    place.engine.untag(the_plan.final)
    assert set(prune(place)) == {a.image, b.image}
    report, _ = place.run(the_plan, cores=7, jobs=1, memory=64 * 1024**3)
    assert states(report) == {"a": ("built", "none"), "made": ("cached", "none"), "b": ("built", "none")}
    assert place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output == before
    again, _ = place.run(the_plan, cores=3, rebuild=True, memory=64 * 1024**3)
    assert {entry.cause for entry in again.stages} == {"every command came from the engine's layer cache"}
    assert place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output == before
    assert compiled is not None


def test_layer_cache_survives_mirrors_certificates_and_proxies(each_place: Workplace, tmp_path: Path) -> None:
    """What commands fetch through is no content: nothing runs again with it, nor without it after it was there.

    The legacy builder has no way for the first two that its cache does not see; where secrets are slow, none is taken.
    """
    place = each_place
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificate\n")
    proxies = {"http_proxy": "http://u:geheim@proxy.invalid:9"}
    settings = {"proxies": proxies}
    if place.mode != "legacy" and not place.engine.capabilities.slow_secrets:
        mirrors = {"git": {"https://code.invalid/": "https://m.invalid/"}, "python": "https://m.invalid/simple"}
        settings |= {"ca_bundle": bundle, "mirrors": mirrors}  # type: ignore[dict-item]
    uuid = "cat /proc/sys/kernel/random/uuid"
    with_first = place.plan(place.stage("with", f"RUN {uuid} > /x"))
    a = place.stage("a", f"RUN {uuid} > /a && echo ${{PIP_CERT:-none}}")
    without_first = place.plan(a, place.stage("b", f"USER 1000:1000\nRUN {uuid} > /dev/shm/b && cat /a", parent=a))
    for the_plan, orders in ((without_first, ({}, settings)), (with_first, (settings, {}))):
        place.run(the_plan, **orders[0])
        before = place.engine.run(the_plan.stages[0].image, ["cat", "/x" if the_plan is with_first else "/a"]).output
        report, _ = place.run(the_plan, rebuild=True, **orders[1])
        assert {entry.cause for entry in report.stages} == {"every command came from the engine's layer cache"}
        after = place.engine.run(the_plan.stages[0].image, ["cat", "/x" if the_plan is with_first else "/a"]).output
        assert after == before


SCRIPT = """
import sys
from pathlib import Path
from jetson_containers.builder import run; from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.core.errors import JetsonError
from tests.real.test_builder import Workplace

directory, base, prefix = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
engine = DockerEngine(settings.load({"engine": sys.argv[4]}, files=()))
place = Workplace(directory, base, engine, prefix)
a = place.stage("a", "RUN echo 1 > /a")
b = place.stage("b", "RUN echo now''sleeping && sleep 300", parent=a, test="echo now''testing; sleep 300")
if sys.argv[5] == "test":
    b = place.stage("b", "RUN true", parent=a, test="echo now''sleeping; sleep 300")
console = Console(env={})
try:
    run.run([place.plan(a, b)], engine, run.BuildOptions(log_dir=directory / "logs", progress="plain"), console)
except JetsonError as error:
    console.error(error)
    sys.exit(error.exit_code)
"""


def test_ctrl_c_while_building_leaves_nothing_half_done_and_resumes(each_place: Workplace) -> None:
    """Ctrl-C while building leaves nothing half done, and the next run resumes."""
    interrupt_and_resume(each_place, signal.SIGINT, "build")


@pytest.mark.parametrize(("number", "doing"), [(signal.SIGTERM, "build"), (signal.SIGINT, "test")])
def test_interrupted_run_leaves_nothing_half_done_and_resumes(
    place: Workplace, number: signal.Signals, doing: str
) -> None:
    """An interrupted run leaves nothing half done, and the next one resumes."""
    interrupt_and_resume(place, number, doing)


def interrupt_and_resume(place: Workplace, number: signal.Signals, doing: str) -> None:
    wanted = place.engine.capabilities.builder.value if place.mode == "auto" else place.mode
    command = [sys.executable, "-c", SCRIPT, str(place.directory), place.base, place.prefix, wanted, doing]
    said = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(wanted), stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            said.append(line)
            if "nowsleeping" in line:
                child.send_signal(number)
                break
        rest, _ = child.stderr.read(), child.wait(60)
    assert child.returncode == 130, "".join(said) + rest
    assert "Traceback" not in rest
    assert "error: interrupted" in rest
    a = place.stage("a", "RUN echo 1 > /a")
    b = place.stage("b", "RUN true", parent=a, test="true")
    image = place.engine.image(b.image)
    if doing == "build":
        assert image is None
    else:
        assert image is not None
        assert labels.read(image.labels).tests["status"] == "pending"
    assert place.engine.image(place.plan(a, b).final) is None
    containers = subprocess.run(
        [place.engine.capabilities.client, "ps", "-q", "--filter", f"volume={place.directory}/packages/b"],
        env=environment(wanted),
        capture_output=True,
        text=True,
        check=True,
    )
    assert containers.stdout == ""
    report, _ = place.run(place.plan(a, b))
    assert states(report) == {"a": ("cached", "none"), "b": ("built" if doing == "build" else "cached", "passed")}


def test_builds_at_once_build_each_stage_once(place: Workplace) -> None:
    """Two builds at once build each stage once."""
    script = SCRIPT.replace("sleep 300", "sleep 3")
    wanted = place.engine.capabilities.builder.value
    command = [sys.executable, "-c", script, str(place.directory), place.base, place.prefix, wanted, "build"]
    children = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) for _ in range(2)
    ]
    said = [child.communicate(timeout=100)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], "\n".join(said)
    assert sum("b | built" in text for text in said) == 1
    assert sum("a | built" in text for text in said) == 1


@pytest.mark.registry
def test_stages_of_another_machine_are_pulled_by_key(place: Workplace, registry: Registry, tmp_path: Path) -> None:
    """Stages pushed by one machine are pulled by key on the next: nothing is built, tests count as passed."""
    namespace = f"{registry.host}/team-{place.prefix}"
    made = settings.load({"cache": tmp_path / "cache", "stage_registry": namespace}, files=(), root=tmp_path, env={})
    a = place.stage("a", "RUN echo built > /a")
    b = place.stage("b", "RUN cat /a > /b", parent=a, test="cat /b")
    the_plan = place.plan(a, b)
    options = run.BuildOptions(log_dir=tmp_path / "logs", env={}, push_stages=True)
    console = Console(out=io.StringIO(), err=io.StringIO(), env={})
    report = run.run([the_plan], place.engine, options, console, StageRegistry.of(made))
    assert report.pushed == tuple(f"{namespace}/stage:{one.image.rpartition(':')[2]}" for one in (a, b))
    for name in (the_plan.final, b.image, a.image):
        place.engine.untag(name)
    again = run.run([the_plan], place.engine, options, console, StageRegistry.of(made))
    assert states(again) == {"a": ("cached", ""), "b": ("cached", "cached")}
    assert again.pushed == ()
    assert place.label(the_plan.final).packages == ("a", "b")
