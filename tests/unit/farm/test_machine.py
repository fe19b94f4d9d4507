"""One stage on a worker's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from packaging.version import Version

from jetson_containers.builder import graph
from jetson_containers.builder.resources import Resources, StageLoad
from jetson_containers.builder.stage_registry import StageRegistry
from jetson_containers.builder.types import BuildOptions
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, RegistryError
from jetson_containers.farm import machine, stage_task
from jetson_containers.farm.machine import StageMachine
from jetson_containers.platforms.detect import parse_target
from tests.fakes import FakeEngine
from tests.unit.builder.helpers import GIB, PLATFORM, chain, package, plan, stage
from tests.unit.farm.conftest import NAMESPACE, SharedRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.farm.stage_task import StageTask
    from jetson_containers.registry.client import RegistryClient


class Place:
    """A machine, its engine and the registry; `task` makes the only stage of a plan."""

    def __init__(self, tmp_path: Path, **changes: Any) -> None:
        self.tmp_path = tmp_path
        self.registry = SharedRegistry()
        self.engine = FakeEngine(registry=self.registry.images)
        base = self.engine.add_image("base:1")
        self.registry.images[f"{NAMESPACE}/farm-base:x"] = base
        self.base = f"{NAMESPACE}/farm-base@{base.id}"
        options = BuildOptions(log_dir=tmp_path / "logs", env={}, disk_per_stage=0, run_options=("--gpus", "all"))
        self.machine = StageMachine(
            self.engine, options, Resources(cores=4, memory=8 * GIB, slots=2), changes.pop("host", PLATFORM),
            lambda _namespace: StageRegistry(NAMESPACE, cast("RegistryClient", self.registry)),
            Console(env={}), name="board", **changes,
        )  # fmt: skip

    def task(self, **changes: Any) -> StageTask:
        folder = self.tmp_path / "recipe"
        folder.mkdir(exist_ok=True)
        definition = package("tool", path=folder, **changes.pop("package", {}))
        made = plan(stage("tool", definition=definition, context=folder, build_args={"BASE_IMAGE": "base:1"}))
        made = replace(made, platform=changes.pop("platform", PLATFORM))
        (node,) = graph.merge([made]).nodes.values()
        options = BuildOptions(log_dir=self.tmp_path)
        sent = stage_task.of(node, StageLoad(), options, registry=NAMESPACE, base=self.base, below={}, total=1)
        return replace(sent, **changes)

    def build(self, task: StageTask) -> stage_task.StageResult:
        self.said: list[str] = []
        return self.machine.build(task, (), self.said.append)


def test_machine_builds_pushes_and_answers_with_the_digest(tmp_path: Path) -> None:
    """A stage is built, pushed, and named by its digest in the registry."""
    place = Place(tmp_path)
    result = place.build(place.task())
    image = place.engine.store["jetson-containers/stage:tool"]
    assert (result.state, result.reference) == ("built", f"{NAMESPACE}/stage@{image.id}")
    assert (result.worker, result.size, place.said) == ("board", image.size, ["building"])
    assert place.engine.requests[0].build_args["BASE_IMAGE"].startswith("jetson-containers/base:farm-")


def test_machine_builds_nothing_that_the_registry_has(tmp_path: Path) -> None:
    """A task that is started again asks the registry and builds nothing."""
    place = Place(tmp_path)
    place.build(place.task())
    place.engine.requests.clear()
    assert place.build(place.task()).state == "cached"
    assert (place.engine.requests, place.said) == ([], [])


def test_machine_of_another_version_refuses(tmp_path: Path) -> None:
    """Keys and pickles of another version mean something else."""
    place = Place(tmp_path)
    with pytest.raises(NotReadyError, match=r"board: the build is of jetson-containers 0\.0\.1, and this worker of"):
        place.build(place.task(version="0.0.1"))


def test_machine_without_its_registry_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that does not answer ends the stage before hours of work are lost."""
    place = Place(tmp_path)

    def refuse(*_: object) -> None:
        raise RegistryError("registry.example:5000 is not reachable")

    monkeypatch.setattr(place.registry, "inspect", refuse)
    with pytest.raises(RegistryError, match="is not reachable") as caught:
        place.build(place.task())
    assert "every worker reaches the registry" in (caught.value.hint or "")
    assert place.engine.requests == []


@pytest.mark.parametrize(
    ("host", "wanted", "gpu"),
    [
        ("r36.4.3", "r36.4.0", True),
        ("r36.4.3", "r36.3.0", False),
        ("r36.4.3", "r35.4.1", False),
        ("cpu", "r36.4.3", False),
    ],
)
def test_machine_gives_tests_its_gpu_only_where_images_run_on_it(host: str, wanted: str, gpu: bool) -> None:
    """The GPU is for images of the same L4T release whose CUDA the driver runs."""
    board = parse_target(host)
    board = replace(board, driver_cuda=board.cuda)
    assert machine.shares_gpu(board, parse_target(wanted)) is gpu
    newer = replace(parse_target(wanted), cuda=Version("99.0"))
    assert not machine.shares_gpu(board, newer)


def test_machine_with_an_engine_elsewhere_leaves_tests_out(tmp_path: Path) -> None:
    """The files of a test are mounted, which a board's engine over SSH cannot see."""
    near, far = Place(tmp_path / "near"), Place(tmp_path / "far", remote=True)
    for place in (near, far):
        place.tmp_path.mkdir(parents=True, exist_ok=True)
        place.build(place.task(package={"test": ("test.sh",)}))
    assert (len(near.engine.runs), len(far.engine.runs)) == (1, 0)


def test_machine_divides_itself_among_what_runs(tmp_path: Path) -> None:
    """Two stages at the same time share the cores of the machine."""
    place = Place(tmp_path)
    load = StageLoad(memory_per_job=GIB)
    with place.machine.share("one", load) as alone, place.machine.share("two", load) as beside:
        assert (alone.jobs, beside.jobs) == (4, 2)


def test_machine_pulls_what_a_stage_stands_on_by_digest(tmp_path: Path) -> None:
    """Images that are not here come by the digests of the results, and get their local names."""
    place = Place(tmp_path)
    lower = place.engine.add_image("jetson-containers/stage:lower")
    place.registry.images[f"{NAMESPACE}/stage:lower"] = place.engine.store.pop("jetson-containers/stage:lower")
    made = chain("lower", "upper")
    node = [*graph.merge([made]).nodes.values()][1]
    sent = stage_task.of(
        replace(node, stage=replace(node.stage, definition=package("upper", path=tmp_path))), StageLoad(),
        BuildOptions(log_dir=tmp_path), registry=NAMESPACE, base=place.base, below={}, total=2,
    )  # fmt: skip
    parent = stage_task.StageResult(
        key="sha256:lower", image="jetson-containers/stage:lower", reference=f"{NAMESPACE}/stage@{lower.id}",
        state="built", worker="other", seconds=1.0,
    )  # fmt: skip
    place.machine.build(sent, (parent,), lambda _text: None)
    assert ("pull", parent.reference) in place.engine.calls
    assert place.engine.requests[0].build_args["BASE_IMAGE"] == "jetson-containers/stage:lower"
