"""What `build --dry-run` says of each stage is what `build` then does with it, whatever the store holds."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson_containers.builder import decide
from jetson_containers.builder.graph import merge
from jetson_containers.builder.store import Store, image_named
from jetson_containers.builder.types import BuildOptions
from jetson_containers.cli.main import main
from jetson_containers.core.errors import EngineMissingError, LayerBudgetError
from jetson_containers.engine.interface import Builder
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind, StageState
from tests.fakes import CAPABILITIES, FakeEngine
from tests.unit.builder.helpers import Site, chain, plan, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan

Said = dict[str, tuple[str, bool]]  # by package: what becomes of its stage, and whether its tests run


def mixed(directory: Path, *, final: str = "") -> BuildPlan:
    """An artifact, the layer that takes it, a meta package aside, and a top; tests for the three in the image."""
    directory.mkdir(exist_ok=True)
    (directory / "test.sh").touch()
    tested = {"test": ("test.sh",), "path": directory}
    a = stage("a", package=tested)
    compiled = stage("b-made", kind=StageKind.ARTIFACT, parent=a)
    b = stage("b", compiled, parent=a, package=tested)
    aside = stage("group", kind=StageKind.META, parent=b, package=tested)
    top = stage("c", parent=b, package=tested)
    return plan(a, compiled, b, aside, top, final=final)


def options(site: Site, **changes: Any) -> BuildOptions:
    return BuildOptions(log_dir=site.directory / "logs", **changes)


def foretold(site: Site, plans: list[BuildPlan], **changes: Any) -> Said:
    """What the dry run says."""
    graph = merge(plans)
    here = decide.look(graph, plans, Store(site.engine), options(site, **changes))
    decision = decide.decide(graph, plans, here, options(site, **changes))
    found: Said = {}
    for shown in (decide.shown(each, decision, here) for each in plans):
        for each in shown.stages:
            said = (each.state.value, each.package in shown.tests)
            assert found.setdefault(each.package, said) == said
    return found


def done(site: Site, plans: list[BuildPlan], **changes: Any) -> Said:
    """What the build does: the engine is asked, not the report."""
    site.engine.requests.clear(), site.engine.runs.clear(), site.engine.calls.clear()
    stages = {each.package: each for one in plans for each in one.stages}
    report = site.run(*plans, **changes)
    assert report.ok
    made = set(site.engine.tags_built)
    made |= {target for name, *rest in site.engine.calls if name == "label" for target in rest[1:2]} & {
        each.image for each in stages.values() if each.kind is StageKind.META
    }
    states = {entry.package: entry.state for entry in report.stages}
    tested = {option.partition("=")[2] for run in site.engine.runs for option in run.options if ".test=" in option}
    found = {}
    for name, each in stages.items():
        assert states[name] == "built" or each.image not in site.engine.tags_built
        found[name] = ("build" if states[name] == "built" else "cached", name in tested)
        if states[name] == "built":
            assert each.image in made
    return found


EVERYTHING = {name: ("build", name != "b-made") for name in ("a", "b-made", "b", "group", "c")}
NOTHING = dict.fromkeys(EVERYTHING, ("cached", False))


def forget(site: Site, *names: str) -> None:
    """Prune stages; `final` is the finished image."""
    for name in names:
        site.engine.untag("c:1-x86_64-cpu" if name == "final" else f"jetson-containers/stage:{name}")


def edit_test(site: Site) -> None:
    (site.directory / "recipe" / "test.sh").write_text("exit 0 # edited\n")


def pushed(site: Site) -> None:
    site.engine.tag("c:1-x86_64-cpu", "registry.example:5000/robots/c:1")
    forget(site, "a", "b-made", "b", "group", "c")


def complete(site: Site) -> None:
    """Leave everything there."""


def empty(site: Site) -> None:
    site.engine.store = {"base:1": site.engine.store["base:1"]}


CASES: list[tuple[str, Callable[[Site], None], dict[str, Any], Said]] = [
    ("empty", empty, {}, EVERYTHING),
    ("empty, tests skipped", empty, {"skip_tests": ("all",)}, dict.fromkeys(EVERYTHING, ("build", False))),
    ("empty, one test", empty, {"test_only": ("b",)}, {n: ("build", n == "b") for n in EVERYTHING}),
    ("empty, no tests in between", empty, {"skip_tests": ("intermediate",)}, {n: ("build", n == "c") for n in NOTHING}),
    ("complete", complete, {}, NOTHING),
    ("complete, pushed", complete, {"push": "registry.example/robots"}, NOTHING),
    ("complete, rebuild", complete, {"rebuild": True}, EVERYTHING),
    ("complete, no cache", complete, {"no_cache": True}, EVERYTHING),
    ("rebuild, untested", complete, {"rebuild": True, "tests": "none"}, dict.fromkeys(EVERYTHING, ("build", False))),
    ("complete, all tests", complete, {"tests": "all"}, {n: ("cached", n != "b-made") for n in NOTHING}),
    (
        "complete, the tests of one again",
        complete,
        {"tests": "all", "test_only": ("b",)},
        {n: ("cached", n == "b") for n in NOTHING},
    ),
    ("a test edited", edit_test, {}, {n: ("cached", n != "b-made") for n in NOTHING}),
    ("a test edited, skipped", edit_test, {"skip_tests": ("*",)}, NOTHING),
    ("pruned below", lambda site: forget(site, "a", "b-made", "b"), {}, NOTHING),
    ("all stages pruned", lambda site: forget(site, "a", "b-made", "b", "group", "c"), {}, NOTHING),
    (
        "all stages pruned, all tests",
        lambda site: forget(site, "a", "b-made", "b", "group", "c"),
        {"tests": "all"},
        {n: ("cached", n != "b-made") for n in NOTHING},
    ),
    ("only the copy under a registry's name is left", pushed, {}, NOTHING),
    (
        "the final and the top are gone",
        lambda site: forget(site, "c", "final"),
        {},
        {**NOTHING, "c": ("build", True)},
    ),
    (
        "the compiled artifact stays",
        lambda site: forget(site, "a", "b", "group", "c", "final"),
        {},
        {**EVERYTHING, "b-made": ("cached", False)},
    ),
    (
        "the artifact is gone, and the layer that took it is there",
        lambda site: forget(site, "a", "b-made", "c", "final"),
        {},
        {**NOTHING, "c": ("build", True)},
    ),
]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.engine.add_image("base:1")
    return made


@pytest.mark.parametrize(("change", "chosen", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_dry_run_says_what_the_build_does(
    site: Site, change: Callable[[Site], None], chosen: dict[str, Any], expected: Said
) -> None:
    """Dry run says what the build does."""
    the_plan = mixed(site.directory / "recipe")
    site.run(the_plan)
    change(site)
    said = foretold(site, [the_plan], **chosen)
    assert said == expected
    assert done(site, [the_plan], **chosen) == expected


def test_dry_run_and_build_agree_about_plans_that_share_stages(site: Site) -> None:
    """Dry run and build agree about plans that share stages."""
    plans = [chain("a", "b"), chain("a", "c")]
    site.run(plans[0])
    for name in ("a", "b"):
        site.engine.untag(f"jetson-containers/stage:{name}")
    said = foretold(site, plans)
    assert said == {"a": ("build", False), "b": ("cached", False), "c": ("build", False)}
    assert done(site, plans) == said


NAMES = ["a", "b-made", "b", "group", "c", "final"]
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "rebuild": st.booleans(),
        "no_cache": st.booleans(),
        "tests": st.sampled_from(["once", "all", "warn", "none"]),
        "skip_tests": st.sampled_from([(), ("intermediate",), ("b*",), ("all",)]),
        "test_only": st.sampled_from([(), ("a",), ("c", "group")]),
        "push": st.sampled_from(["", "registry.example/robots"]),
    },
)


@pytest.mark.long
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gone=st.sets(st.sampled_from(NAMES)), edited=st.booleans(), first=OPTIONS, then=OPTIONS)
def test_dry_run_says_what_the_build_does_in_any_store(
    tmp_path_factory: pytest.TempPathFactory,
    gone: set[str],
    edited: bool,
    first: Mapping[str, Any],
    then: Mapping[str, Any],
) -> None:
    """Dry run says what the build does in any store."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.engine.add_image("base:1")
    the_plan = mixed(site.directory / "recipe")
    site.run(the_plan, **first)
    forget(site, *gone)
    if edited:
        edit_test(site)
    said = foretold(site, [the_plan], **then)
    assert done(site, [the_plan], **then) == said


def test_decide_changes_nothing(site: Site) -> None:
    """Deciding changes nothing."""
    the_plan = mixed(site.directory / "recipe")
    site.run(the_plan)
    before = copy.deepcopy(site.engine.store)
    site.engine.calls.clear()
    foretold(site, [the_plan], rebuild=True)
    assert (site.engine.store, site.engine.calls) == (before, [])


def test_decide_gives_a_cached_stage_its_image_and_needs_none_below_it(site: Site) -> None:
    """A cached stage knows its image, and one below it is not needed."""
    the_plan = chain("a", "b")
    site.run(the_plan)
    graph = merge([the_plan])
    here = decide.facts(graph, [the_plan], Store(site.engine))
    shown = decide.shown(the_plan, decide.decide(graph, [the_plan], here, options(site)), here)
    assert [(s.state, s.needed, s.source) for s in shown.stages] == [
        (StageState.CACHED, False, "jetson-containers/stage:a"),
        (StageState.CACHED, True, "jetson-containers/stage:b"),
    ]


def test_facts_take_one_question_however_many_stages_there_are(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Facts take one question by name, however many stages there are; the whole store is listed if one is missing."""
    first, second = chain("a", "b"), chain("a", "c", "d", final="other:1")
    site.run(first)
    site.run(second)
    graph = merge([first, second])
    asked: list[object] = []
    images, named = site.engine.images, site.engine.images_named
    monkeypatch.setattr(site.engine, "images", lambda labels=None: asked.append(labels) or images(labels))
    monkeypatch.setattr(site.engine, "images_named", lambda names: asked.append("named") or named(names))
    here = decide.facts(graph, [first, second], Store(site.engine))
    assert (set(here.stages), set(here.finals)) == (set(graph.nodes), {first.final, second.final})
    assert asked == ["named"]
    asked.clear()
    site.engine.untag("jetson-containers/stage:d")  # the final image has its key
    site.engine.untag("jetson-containers/stage:c")
    here = decide.facts(graph, [first, second], Store(site.engine))
    assert set(graph.nodes) - set(here.stages) == {second.stages[1].key}
    assert asked == ["named", None]


@pytest.mark.parametrize(
    ("asked", "listed"),
    [
        ("n/a:1", "n/a:1"),
        ("docker.io/n/a:1", "n/a:1"),
        ("b", "b:latest"),
        ("docker.io/library/b", "b:latest"),
        ("host:5000/c", "host:5000/c:latest"),
        ("c", None),
        ("n/a:2", None),
    ],
)
def test_image_named_finds_a_name_as_the_engine_lists_it(asked: str, listed: str | None) -> None:
    """Image named finds a name as the engine lists it."""
    engine = FakeEngine()
    for reference in ("n/a:1", "b:latest", "host:5000/c:latest", "a:1", "n/b:latest"):
        engine.add_image(reference)
    found = image_named(asked, engine.images())
    assert (found.references[0] if found else None) == listed


# Through the command line.


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr("jetson_containers.engine.docker.DockerEngine", lambda *_args, **_options: made)
    return made


def dry_run(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    code = main(["build", "--dry-run", "--json", "--target", "cpu", *argv])
    out = capsys.readouterr().out
    assert code == 0
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def put_everything(engine: FakeEngine, found: dict[str, Any]) -> None:
    for each in found["stages"]:
        engine.add_image(each["image"], {labels.KEY: each["key"], labels.REF_NAME: each["image"]})


@pytest.mark.parametrize(
    ("argv", "states"),
    [([], {"cached"}), (["--rebuild"], {"build"}), (["--no-cache"], {"build"})],
    ids=["plain", "rebuild", "no-cache"],
)
def test_dry_run_of_the_command_follows_its_options(
    capsys: pytest.CaptureFixture[str], engine: FakeEngine, argv: list[str], states: set[str]
) -> None:
    """The command's dry run takes its options into account."""
    assert {each["state"] for each in dry_run(capsys, "numpy")["stages"]} == {"build"}
    put_everything(engine, dry_run(capsys, "numpy"))
    found = dry_run(capsys, *argv, "numpy")
    assert {each["state"] for each in found["stages"]} == states
    assert list(found["stages"][0]) == [
        "package", "kind", "key", "parent", "image", "depends", "state", "layers", "needed", "tree",
    ]  # fmt: skip


def test_dry_run_of_the_command_says_which_tests_run(capsys: pytest.CaptureFixture[str], engine: FakeEngine) -> None:
    """The command's dry run says which tests run."""
    assert [name.partition(":")[0] for name in dry_run(capsys, "numpy")["tests"]] == ["python", "numpy"]
    assert dry_run(capsys, "numpy", "--skip-tests", "all")["tests"] == []
    assert dry_run(capsys, "numpy", "--tests", "none")["tests"] == []
    (only,) = dry_run(capsys, "numpy", "--test-only", "numpy")["tests"]
    assert only.startswith("numpy:")
    assert engine.calls == []


def test_dry_run_without_an_engine_says_that_it_does_not_know(
    capsys: pytest.CaptureFixture[str], engine: FakeEngine
) -> None:
    """A dry run without an engine says that it does not know."""
    engine.missing = EngineMissingError("no container engine is installed")
    found = dry_run(capsys, "numpy")
    assert {each["state"] for each in found["stages"]} == {"build"}
    assert any(
        "cannot tell what is already built" in notice and "no container engine" in notice for notice in found["notices"]
    )


def test_decide_is_the_one_function_for_build_and_dry_run(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """The build asks the same function as the dry run: what that one says is done, even when it is wrong."""
    the_plan = chain("a", "b")
    site.run(the_plan)
    site.built()
    right = decide.decide

    def wrong(*args: Any) -> decide.BuildDecision:
        found = right(*args)
        return decide.BuildDecision(
            build=frozenset(), pull=frozenset(), test=frozenset(), used=found.used, together={}, tested=frozenset()
        )

    monkeypatch.setattr(decide, "decide", wrong)
    site.run(the_plan, rebuild=True)
    assert site.built() == []


@pytest.mark.parametrize(
    ("builder", "bundle", "fits"),
    [(Builder.LEGACY, True, False), (Builder.LEGACY, False, True), (Builder.BUILDX, True, True)],
)
def test_decide_counts_the_layers_of_the_ca_bundle(tmp_path: Path, builder: Builder, bundle: bool, fits: bool) -> None:
    """A builder without mounts copies the CA bundle into each stage; the dry run and the build refuse alike."""
    site = Site(tmp_path)
    site.engine.capabilities_ = replace(CAPABILITIES, builder=builder)
    low = stage("a", depth=60)
    plans = [plan(low, stage("b", parent=low, depth=122))]
    changes: dict[str, Any] = {"ca_bundle": tmp_path / "ca.crt" if bundle else None}
    if fits:
        assert foretold(site, plans, **changes) == done(site, plans, **changes)
        return
    for action in (foretold, done):
        with pytest.raises(LayerBudgetError, match="126 layers"):
            action(site, plans, **changes)
    assert site.engine.requests == []
