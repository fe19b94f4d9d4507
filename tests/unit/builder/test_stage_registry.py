"""Stages in a registry: looked up by key, pulled instead of built, pushed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from jetson_containers.builder import decide, run
from jetson_containers.builder.graph import merge
from jetson_containers.builder.stage_registry import StageRegistry
from jetson_containers.builder.store import Store
from jetson_containers.core.console import Console
from jetson_containers.core.errors import RegistryError, UsageError
from jetson_containers.plan.plan import up_to
from jetson_containers.plan.stage import StageState
from jetson_containers.registry.types import ImageInfo, UnreachableError
from tests.unit.builder.helpers import GIB, Site, chain, plan, stage

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.registry.types import ImageRepository
    from jetson_containers.signing.signer import Signer

NAMESPACE = "registry.example:5000/team"


class FakeClient:
    """What a registry says, from the images that the fake engine pushed."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.down = False
        self.asked: list[str] = []

    def inspect(self, repository: ImageRepository, reference: str, architecture: str) -> ImageInfo | None:
        self.asked.append(reference)
        image = self._image(repository, reference)
        if image is None:
            return None
        return ImageInfo(
            digest=image.id,
            media_type="",
            architecture=architecture,
            size=1,
            created="",
            labels=image.labels,
            platforms=(architecture,),
        )

    def digest(self, repository: ImageRepository, reference: str) -> str | None:
        image = self._image(repository, reference)
        return image.id if image else None

    def _image(self, repository: ImageRepository, reference: str) -> LocalImage | None:
        if self.down:
            raise UnreachableError("registry.example:5000 is not reachable")
        return self.site.engine.registry.get(f"{repository.reference}:{reference}")


@dataclass
class Shared(Site):
    """A site with a registry of stages."""

    def __post_init__(self) -> None:
        self.engine.add_image("base:1")
        self.client = FakeClient(self)
        self.registry = StageRegistry(NAMESPACE, cast("RegistryClient", self.client))

    def run(self, *plans: BuildPlan, **changes: Any) -> run.BuildReport:
        values = {"log_dir": self.directory / "logs", "cores": 4, "memory": 8 * GIB, "env": {}, "disk_per_stage": 0}
        console = Console(out=self.out, err=self.err, env={})
        options = run.BuildOptions(**{**values, **changes})
        return run.run(plans, self.engine, options, console, self.registry)

    def shown(self, one: BuildPlan, **changes: Any) -> dict[str, StageState]:
        """What the dry run says."""
        graph = merge([one])
        options = run.BuildOptions(log_dir=self.directory, **changes)
        here = decide.look(graph, [one], Store(self.engine), options, self.registry)
        decided = decide.decide(graph, [one], here, options)
        return {each.package: each.state for each in decide.shown(one, decided, here).stages if each.needed}

    def another_machine(self) -> None:
        """Empty the local store; what was pushed is in the registry under its tag and its digest."""
        for name, image in list(self.engine.registry.items()):
            self.engine.registry[f"{name.rpartition(':')[0]}@{image.id}"] = image
        self.engine.store.clear()
        self.engine.requests.clear()
        self.engine.runs.clear()
        self.engine.add_image("base:1")


class FakeSigner:
    """Signs what the engine says that it pushed, and remembers it."""

    def __init__(self) -> None:
        self.signed: list[tuple[str, str]] = []
        self.key = SimpleNamespace(name="robots.key")

    def has_signed(self, _repository: ImageRepository, digest: str) -> bool:
        return any(digest == known for _, known in self.signed)

    def sign(self, image: str, digest: str) -> tuple[str, bool]:
        self.signed.append((image, digest))
        return f"{image}.sig", True


def signing(site: Shared, monkeypatch: pytest.MonkeyPatch) -> FakeSigner:
    """Let the site sign; its engine says which digest it pushed, as docker does."""
    signer, push = FakeSigner(), site.engine.push

    def spoken(reference: str, on_line: Any, **more: Any) -> None:
        image = site.engine.image(reference)
        push(reference, on_line, **more)
        on_line(f"tag: digest: {image.id if image else ''} size: 528")

    monkeypatch.setattr(site.engine, "push", spoken)
    site.registry = StageRegistry(NAMESPACE, cast("RegistryClient", site.client), cast("Signer", signer))
    return signer


@pytest.fixture
def site(tmp_path: Path) -> Shared:
    return Shared(tmp_path)


def test_push_stages_pushes_each_stage_once(site: Shared) -> None:
    """What was built is pushed under its tag, and not a second time."""
    report = site.run(chain("a", "b"), push_stages=True)
    assert report.pushed == (f"{NAMESPACE}/stage:a", f"{NAMESPACE}/stage:b")
    again = site.run(chain("a", "b", "c"), push_stages=True)
    assert again.pushed == (f"{NAMESPACE}/stage:c",)
    assert not [name for name in site.engine.store if name.startswith(NAMESPACE)]


def test_push_removes_the_name_that_a_killed_push_left(site: Shared) -> None:
    """Where the registry got the stage although the run was killed, the next run takes the name away."""
    site.run(chain("a"), push_stages=True)
    site.engine.tag("jetson-containers/stage:a", f"{NAMESPACE}/stage:a")
    assert site.run(chain("a"), push_stages=True).pushed == ()
    assert not [name for name in site.engine.store if name.startswith(NAMESPACE)]


def test_push_that_another_run_did_meanwhile_is_done(site: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another run pushed the stage and took the name away, nothing is wrong; otherwise it is an error."""
    site.run(chain("a"))
    push, images = site.engine.push, site.engine.registry

    def lost(reference: str, on_line: Any, **more: Any) -> None:
        push(reference, on_line, **more)
        site.engine.untag(reference)
        raise RegistryError("there is no such image")

    monkeypatch.setattr(site.engine, "push", lost)
    assert site.run(chain("a"), push_stages=True).pushed == ()
    images.clear()
    monkeypatch.setattr(site.engine, "push", lambda *_, **__: (_ for _ in ()).throw(RegistryError("it is full")))
    with pytest.raises(RegistryError, match="it is full"):
        site.registry.push(chain("a").stages[0], site.engine, print)


def test_stages_are_not_pushed_unless_asked(site: Shared) -> None:
    """Without `push_stages` nothing is pushed."""
    assert site.run(chain("a")).pushed == ()
    assert site.engine.registry == {}


def test_pull_takes_the_top_and_nothing_below_it(site: Shared) -> None:
    """On another machine only the top is pulled, by digest, and nothing is built; the dry run says so."""
    the_plan = chain("a", "b", tests=("t.sh",))
    site.run(the_plan, push_stages=True)
    site.another_machine()
    assert site.shown(the_plan) == {"b": StageState.PULL}
    report = site.run(the_plan)
    assert report.ok
    assert (site.engine.tags_built, site.engine.runs) == ([], [])
    top = site.engine.registry[f"{NAMESPACE}/stage:b"]
    assert [call[1] for call in site.engine.calls if call[0] == "pull"] == [f"{NAMESPACE}/stage@{top.id}"]
    assert {entry.package: entry.state for entry in report.stages} == {"a": "cached", "b": "cached"}


def test_pull_takes_what_the_rest_is_built_on(site: Shared) -> None:
    """A stage that is new is built on one that is pulled."""
    site.run(chain("a", "b"), push_stages=True)
    site.another_machine()
    assert site.shown(chain("a", "b", "c")) == {"b": StageState.PULL, "c": StageState.BUILD}
    assert site.run(chain("a", "b", "c")).ok
    assert site.built() == ["c"]


def test_pull_that_fails_builds_instead_with_all_below(site: Shared) -> None:
    """Where pulling fails, the stage and what lies below it are built."""
    site.run(chain("a", "b"), push_stages=True)
    site.another_machine()
    site.engine.registry_down = True
    assert site.run(chain("a", "b")).ok
    assert site.built() == ["a", "b"]
    assert "it is built instead" in site.said()


def test_registry_that_is_unreachable_is_reported_and_stages_are_built(site: Shared) -> None:
    """A registry that does not answer is not an obstacle."""
    site.client.down = True
    assert site.run(chain("a")).ok
    assert site.built() == ["a"]
    assert f"stages are not looked up in {NAMESPACE}/stage: registry.example:5000 is not reachable" in site.said()


def test_pull_leaves_a_stage_of_another_key(site: Shared) -> None:
    """The tag holds a part of the key; the label decides."""
    site.run(chain("a"), push_stages=True)
    name = f"{NAMESPACE}/stage:a"
    image = site.engine.registry[name]
    changed = {**image.labels, next(label for label in image.labels if label.endswith(".key")): "sha256:other"}
    site.engine.registry[name] = replace(image, labels=changed)
    site.another_machine()
    assert site.shown(chain("a")) == {"a": StageState.BUILD}


def test_rebuild_asks_no_registry(site: Shared) -> None:
    """With `--rebuild` and `--no-cache` everything is built."""
    site.run(chain("a"), push_stages=True)
    site.another_machine()
    site.client.asked.clear()
    site.run(chain("a"), rebuild=True)
    assert (site.built(), site.client.asked) == (["a"], [])


def test_tests_of_a_pulled_stage_run_when_they_are_due(site: Shared) -> None:
    """A stage that was pushed untested is tested after it was pulled."""
    one = plan(stage("a", package={"test": ("t.sh",)}))
    site.run(one, push_stages=True, tests="none")
    site.another_machine()
    report = site.run(one)
    assert (site.built(), len(site.engine.runs), report.stages[0].tests) == ([], 1, "passed")


def test_push_that_is_refused_is_an_error(site: Shared) -> None:
    """What was built stays; the error is the run's."""
    site.engine.registry_down = True
    with pytest.raises(RegistryError, match="cannot be pushed"):
        site.run(chain("a"), push_stages=True)
    assert site.engine.image("jetson-containers/stage:a") is not None


def test_push_that_was_refused_is_made_up_for_by_the_next_run(site: Shared) -> None:
    """With everything built, what an earlier run could not push is pushed all the same; then nothing is left to do."""
    site.engine.registry_down = True
    with pytest.raises(RegistryError):
        site.run(chain("a", "b"), push_stages=True)
    site.engine.registry_down = False
    assert site.built() == ["a", "b"]
    again = site.run(chain("a", "b"), push_stages=True)
    assert again.pushed == (f"{NAMESPACE}/stage:a", f"{NAMESPACE}/stage:b")
    assert site.run(chain("a", "b"), push_stages=True).pushed == ()
    assert site.built() == []


def test_namespace_that_is_malformed_is_refused() -> None:
    """A tag is not a namespace."""
    with pytest.raises(UsageError):
        StageRegistry("registry.example/team:1", cast("RegistryClient", None))


def test_up_to_a_stage_ends_at_once_when_the_registry_has_it(site: Shared) -> None:
    """A CI job whose stage is in the registry neither pulls nor builds anything."""
    wanted = up_to(chain("a", "b", "c"), "b")
    assert site.run(wanted, push_stages=True).pushed == (f"{NAMESPACE}/stage:a", f"{NAMESPACE}/stage:b")
    site.another_machine()
    site.client.asked.clear()
    report = site.run(wanted, push_stages=True)
    assert (report.ok, report.images, report.pushed) == (True, (), ())
    assert site.engine.tags_built == []
    assert [name for name in site.engine.store if "stage" in name] == []
    assert "nothing to build" in site.said()


def test_up_to_a_stage_builds_and_names_no_image(site: Shared) -> None:
    """What stands above is not built, and no final image is named."""
    report = site.run(up_to(chain("a", "b", "c", tests=("t.sh",)), "b"), tests="all")
    assert [stage.package for stage in report.stages] == ["a", "b"]
    assert report.ok
    assert not [name for name in site.engine.store if "stage" not in name and name != "base:1"]


def test_up_to_a_stage_pushes_what_is_here_already(site: Shared) -> None:
    """A stage that was built before without being pushed still gets to the registry."""
    wanted = up_to(chain("a", "b"), "b")
    site.run(wanted)
    assert f"{NAMESPACE}/stage:b" in site.run(wanted, push_stages=True).pushed


def test_stages_are_signed_once_as_they_are_pushed(site: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key each stage is signed by the digest that the engine named, and none a second time."""
    signer = signing(site, monkeypatch)
    site.run(chain("a", "b"), push_stages=True)
    pushed = {name: image.id for name, image in site.engine.registry.items()}
    assert dict(signer.signed) == {f"{NAMESPACE}/stage:{tag}": pushed[f"{NAMESPACE}/stage:{tag}"] for tag in "ab"}
    assert site.run(chain("a", "b"), push_stages=True).pushed == ()
    assert len(signer.signed) == 2


def test_stage_that_another_pushed_unsigned_is_replaced_and_not_vouched_for(
    site: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in the registry without a signature is neither pulled nor signed: it is built, pushed and signed."""
    site.run(chain("a"), push_stages=True)
    foreign = site.engine.registry[f"{NAMESPACE}/stage:a"]
    site.another_machine()
    signer = signing(site, monkeypatch)
    assert site.shown(chain("a")) == {"a": StageState.BUILD}
    site.engine.registry[f"{NAMESPACE}/stage:a"] = replace(foreign, id="sha256:" + 64 * "e")
    assert site.run(chain("a"), push_stages=True).pushed == (f"{NAMESPACE}/stage:a",)
    assert site.built() == ["a"]
    assert [digest for _, digest in signer.signed] == [site.engine.registry[f"{NAMESPACE}/stage:a"].id]
    site.another_machine()
    assert site.shown(chain("a")) == {"a": StageState.PULL}


def test_stage_is_signed_by_the_next_run_where_one_ended_before(site: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ended between push and signature leaves an unsigned stage; the next one pushes and signs it."""
    signer = signing(site, monkeypatch)
    with monkeypatch.context() as once:
        once.setattr(signer, "sign", lambda *_: (_ for _ in ()).throw(RegistryError("the registry is full")))
        with pytest.raises(RegistryError, match="full"):
            site.run(chain("a"), push_stages=True)
    site.run(chain("a"), push_stages=True)
    assert [image for image, _ in signer.signed] == [f"{NAMESPACE}/stage:a"]
