"""A plan built by one `docker buildx bake`, on an engine of the next Debian release beside the machine's own."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import BuildError, NotReadyError, PackageTestError
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.probe import ProbedHost
from jetson_containers.plan.stage import StageKind
from tests.real.conftest import PREFIX, scratch
from tests.real.test_builder import Workplace, states

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.builder.run import BuildReport
    from jetson_containers.engine.interface import BakeResult, BakeWatcher, BuildRequest
    from tests.real.conftest import NewerEngine, Registry

pytestmark = pytest.mark.engine


class Counting(DockerEngine):
    """An engine that remembers what went down in one call."""

    def __init__(self, newer: NewerEngine, wanted: str) -> None:
        super().__init__(settings.load({"engine": wanted}, files=()), host=ProbedHost.real(newer.env))
        self.bakes: list[tuple[str, ...]] = []

    def bake(self, requests: list[BuildRequest], watcher: BakeWatcher, *, wanted: tuple[str, ...]) -> BakeResult:  # type: ignore[override]
        self.bakes.append(wanted)
        return super().bake(requests, watcher, wanted=wanted)


@pytest.fixture
def place(tmp_path: Path, newer_engine: NewerEngine, busybox: Path) -> Workplace:
    engine = Counting(newer_engine, "auto")
    return Workplace(tmp_path, scratch(engine, busybox, f"{PREFIX}/scratch:1", None), engine)


@pytest.fixture
def containerd_place(tmp_path: Path, containerd_engine: NewerEngine, busybox: Path) -> Workplace:
    engine = Counting(containerd_engine, "bake")
    return Workplace(tmp_path, scratch(engine, busybox, f"{PREFIX}/scratch:1", None), engine)


def baked(place: Workplace) -> list[int]:
    """How many stages each call was to build."""
    assert isinstance(place.engine, Counting)
    return [len(wanted) for wanted in place.engine.bakes]


def causes(report: BuildReport) -> dict[str, str]:
    return {entry.package: entry.cause for entry in report.stages}


RANDOM = "cat /proc/sys/kernel/random/uuid"


def test_auto_builds_the_whole_plan_in_one_call(place: Workplace) -> None:
    """A chain with a compile part and a meta package is one command; each command of a Dockerfile runs once."""
    assert place.engine.capabilities.bake
    a = place.stage("a", f"RUN echo hello $$ && {RANDOM} > /a", test="cat /a")
    made = place.stage("made", f"RUN mkdir /artifacts && {RANDOM} > /artifacts/made", parent=a, kind=StageKind.ARTIFACT)
    copied = f"COPY --from={made.image} /artifacts/made /made\nARG MAX_JOBS\nRUN echo jobs=$MAX_JOBS ${{HOME}} > /jobs"
    b = place.stage("b", copied, parent=a, needs=(made.key,))
    meta = place.stage("all", "", parent=b, kind=StageKind.META)
    other = place.stage("other", "RUN cat /proc/net/route > /routes", parent=a)
    plans = [place.plan(a, made, b, meta), place.plan(a, other)]
    report, _ = place.run(*plans, no_cache=True, cores=4, jobs=4, memory=8 * 1024**3)
    assert baked(place) == [5]
    assert states(report) == {
        "a": ("built", "passed"),
        "made": ("built", "none"),
        "b": ("built", "none"),
        "all": ("built", "none"),
        "other": ("built", "none"),
    }
    random = {place.engine.run(image, ["cat", "/a"]).output for image in (a.image, b.image, other.image)}
    assert len(random) == 1
    compiled = place.engine.run(plans[0].final, ["cat", "/made", "/jobs"]).output.split()
    assert compiled[1] == "jobs=4"  # the other stages compile nothing
    assert place.engine.run(other.image, ["cat", "/routes"]).output.count("\n") > 1  # the host's network
    log = (report.log_dir / "build" / "01_a.log").read_text()
    assert "hello" in log
    assert "hello" not in (report.log_dir / "build" / "03_b.log").read_text()
    seconds = [entry.seconds for entry in report.stages]
    assert all(value >= 0 for value in seconds)


def test_stages_that_are_there_are_not_built_again(place: Workplace) -> None:
    """Stages of the local store are what the others stand on, even with the layer cache gone."""
    a = place.stage("a", f"RUN {RANDOM} > /a")
    b = place.stage("b", "RUN cat /a > /b", parent=a)
    place.run(place.plan(a, b))
    before = place.engine.run(a.image, ["cat", "/a"]).output
    client = place.engine.capabilities.client
    assert isinstance(place.engine, Counting)
    env = dict(place.engine._host.env)
    subprocess.run([client, "builder", "prune", "--all", "--force"], env=env, check=True, capture_output=True)
    c = place.stage("c", "RUN cat /a > /c", parent=b)
    d = place.stage("d", "RUN cat /a > /d", parent=c)
    report, _ = place.run(place.plan(a, b, c, d))
    assert {name: state for name, (state, _) in states(report).items()} == {
        "a": "cached",
        "b": "cached",
        "c": "built",
        "d": "built",
    }
    assert baked(place) == [2, 2]
    assert place.engine.run(d.image, ["cat", "/d"]).output == before


def test_failed_stage_is_named_and_the_rest_goes_on(place: Workplace) -> None:
    """With --keep-going the siblings of a failed stage are built by a further call, and nothing runs twice."""
    a = place.stage("a", f"RUN {RANDOM} > /a")
    broken = place.stage("broken", "RUN echo E: Unable to locate package libfoo && false", parent=a)
    above = place.stage("above", "RUN true", parent=broken)
    beside = place.stage("beside", "RUN sleep 1 && cat /a > /beside", parent=a)
    report, said = place.run(place.plan(a, broken, above), place.plan(a, beside), keep_going=True, jobs=3)
    assert {name: state for name, (state, _) in states(report).items()} == {
        "a": "built",
        "broken": "failed",
        "above": "skipped",
        "beside": "built",
    }
    assert causes(report)["above"] == "needs `broken`, which failed"
    assert "apt does not know the package `libfoo`" in said
    number = next(line for line in said.splitlines() if "02_broken.log:" in line).rpartition(":")[2]
    log = (report.log_dir / "build" / "02_broken.log").read_text().splitlines()
    assert "E: Unable to locate package libfoo" in log[int(number) - 1]
    assert place.engine.run(a.image, ["cat", "/a"]).output == place.engine.run(beside.image, ["cat", "/beside"]).output


def test_stage_that_fails_at_once_is_not_taken_for_one_above_it(place: Workplace) -> None:
    """Stages above report the commands below as theirs; the error belongs to the stage whose file it names."""
    a = place.stage("a", "RUN echo oh no; exit 7")
    b = place.stage("b", "RUN true", parent=a)
    c = place.stage("c", "RUN true", parent=b)
    with pytest.raises(BuildError) as caught:
        place.run(place.plan(a, b, c))
    assert "stage `a` (1 of 3) failed" in caught.value.message
    assert any("oh no" in detail for detail in caught.value.details)


def test_failed_test_leaves_the_final_image_unnamed(place: Workplace) -> None:
    """What stands on a stage whose test fails is stopped, and no final image is named."""
    a = place.stage("a", "RUN true", test="echo broken; exit 1")
    b = place.stage("b", "RUN sleep 100", parent=a)
    with pytest.raises(PackageTestError):
        place.run(place.plan(a, b))
    assert place.engine.image(place.plan(a, b).final) is None
    assert place.engine.image(b.image) is None
    assert place.label(a.image).tests["status"] == "failed"


def test_ca_bundle_and_proxy_reach_the_build_and_nothing_else(place: Workplace, tmp_path: Path) -> None:
    """Certificates are mounted, a proxy's password is in no file that is left and in no image."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificate\n")
    a = place.stage("a", 'RUN cat "$SSL_CERT_FILE" > /ca && [ "$http_proxy" = http://u:geheim@p ]')
    b = place.stage("b", 'RUN [ "$http_proxy" = http://u:geheim@p ]', parent=a)
    report, said = place.run(
        place.plan(a, b), ca_bundle=bundle, proxies={"http_proxy": "http://u:geheim@p"}, progress="plain"
    )
    assert baked(place) == [2]
    assert report.ok
    assert "geheim" not in said
    assert place.engine.run(b.image, ["cat", "/ca"]).output.strip() == "certificate"
    history = json.dumps([place.engine.run(b.image, ["env"]).output])
    assert "geheim" not in history
    assert "SSL_CERT_FILE" not in history


@pytest.mark.registry
@pytest.mark.parametrize("kind", ["registry", "local"])
def test_build_cache_is_kept_in_a_registry_and_in_a_folder(
    containerd_place: Workplace, registry: Registry, tmp_path: Path, kind: str
) -> None:
    """What one machine exports, another takes instead of running the commands: of every stage of the plan."""
    place = containerd_place
    where = f"{registry.host}/cache-{place.prefix}" if kind == "registry" else str(tmp_path / "cache")
    names = ("ref", "ref") if kind == "registry" else ("dest", "src")
    to, source = (f"type={kind},{name}={where}" for name in names)
    a = place.stage("a", f"RUN {RANDOM} > /a")
    b = place.stage("b", f"RUN {RANDOM} > /b", parent=a)
    the_plan = place.plan(a, b)
    place.run(the_plan, cache_to=(f"{to},mode=max",))
    before = place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output
    for name in (the_plan.final, b.image, a.image):
        place.engine.untag(name)
    assert isinstance(place.engine, Counting)
    env = dict(place.engine._host.env)
    client = place.engine.capabilities.client
    subprocess.run([client, "builder", "prune", "--all", "--force"], env=env, check=True, capture_output=True)
    report, _ = place.run(the_plan, cache_from=(source,))
    assert set(causes(report).values()) == {"every command came from the engine's layer cache"}
    assert place.engine.run(the_plan.final, ["cat", "/a", "/b"]).output == before


def test_cache_export_that_the_store_cannot_do_is_explained(place: Workplace, tmp_path: Path) -> None:
    """The usual store exports no cache: the error says what does."""
    a = place.stage("a", "RUN true")
    with pytest.raises((NotReadyError, BuildError)) as caught:
        place.run(place.plan(a, place.stage("b", "RUN true", parent=a)), cache_to=(f"type=local,dest={tmp_path}/c",))
    assert "containerd" in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.registry
def test_inline_cache_travels_with_a_pushed_image(place: Workplace, registry: Registry) -> None:
    """Where no cache is exported, an image holds its own: what is pushed serves the next machine."""
    a = place.stage("a", f"RUN {RANDOM} > /a")
    b = place.stage("b", f"RUN {RANDOM} > /b", parent=a)
    the_plan = place.plan(a, b)
    place.run(the_plan, cache_to=("type=inline",))
    before = place.engine.run(b.image, ["cat", "/a", "/b"]).output
    pushed = f"{registry.host}/inline-{place.prefix}:1"
    place.engine.tag(b.image, pushed)
    place.engine.push(pushed, lambda _line: None)
    for name in (the_plan.final, b.image, a.image, pushed):
        place.engine.untag(name)
    assert isinstance(place.engine, Counting)
    env = dict(place.engine._host.env)
    client = place.engine.capabilities.client
    subprocess.run([client, "builder", "prune", "--all", "--force"], env=env, check=True, capture_output=True)
    place.run(the_plan, cache_from=(f"type=registry,ref={pushed}",))
    assert place.engine.run(b.image, ["cat", "/a", "/b"]).output == before
