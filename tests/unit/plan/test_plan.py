"""Plans: layers, totals, arguments of the user, and what is printed."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest

from jetson_containers.builder import graph
from jetson_containers.core.errors import LayerBudgetError, UsageError
from jetson_containers.plan.plan import (
    MAX_LAYERS,
    BuildPlan,
    StageKind,
    StageState,
    check_build_args,
    check_layers,
    describe,
    multiple_json,
    totals,
    up_to,
)
from tests.unit.plan.helpers import GOLDEN, HEAD, ORIN, Tree


class TestBuildArgs:
    TEXT = HEAD + "ARG A\nARG B=2\nRUN true\n"

    def test_build_args_of_the_user_win_and_only_declared_ones_are_given(self, tree: Tree) -> None:
        """The user's arguments win, and only declared ones are given."""
        tree.add("a", self.TEXT, build_args={"A": "recipe", "B": "recipe", "C": "unused"})
        plan = tree.plan("a", build_args={"A": "user", "D": "elsewhere"})
        assert plan.top.build_args == {"A": "user", "B": "recipe", "BASE_IMAGE": "ubuntu:22.04"}
        assert plan.notices == ("`a`: no Dockerfile of it declares `C`, so it has no effect",)

    def test_build_args_are_shared_by_both_parts_of_a_recipe(self, tree: Tree) -> None:
        """The two parts of a recipe share their arguments."""
        tree.compiled("a", HEAD + "ARG SM\nRUN make\n", build_args={"SM": "87"})
        plan = tree.plan("a")
        assert [stage.build_args.get("SM") for stage in plan.stages] == ["87", None]
        assert plan.notices == ()

    def test_build_args_that_nothing_declares_are_named_in_a_notice(self, tree: Tree) -> None:
        """An argument that nothing declares has no effect, which is said, as docker says it."""
        tree.add("a", self.TEXT)
        (notice,) = check_build_args([tree.plan("a")], {"A": "1", "Z": "2"})
        assert notice == (
            "--build-args: no Dockerfile of this build declares `Z`, which has no effect; declared are: A, B"
        )

    def test_build_args_declared_anywhere_are_accepted(self, tree: Tree) -> None:
        """An argument that any stage declares is accepted; so is a proxy."""
        tree.add("a"), tree.add("b", self.TEXT)
        assert check_build_args([tree.plan("a"), tree.plan("b")], {"A": "1", "https_proxy": "x"}) == ()

    def test_build_args_refuse_the_base_image(self, tree: Tree) -> None:
        """The base image is not an argument of the user."""
        with pytest.raises(UsageError) as caught:
            check_build_args([], {"BASE_IMAGE": "x"})
        assert caught.value.hint == "use --base IMAGE"

    def test_build_args_of_proxies_do_not_change_the_key(self, tree: Tree) -> None:
        """A proxy reaches the build but not the key."""
        tree.add("a")
        plain, proxied = tree.plan("a"), tree.plan("a", build_args={"http_proxy": "http://p:1"})
        assert proxied.top.build_args["http_proxy"] == "http://p:1"
        assert proxied.top.key == plain.top.key


class TestLayers:
    def test_layers_of_a_plan_add_up(self, tree: Tree) -> None:
        """The layers of the stages add up."""
        tree.add("a", HEAD + "RUN x\nRUN y\n"), tree.add("b", HEAD + "COPY b /b\n", files={"b": ""})
        plan = tree.plan("a", "b")
        assert [stage.layers for stage in plan.stages] == [2, 3]
        assert plan.layers == 3

    @pytest.mark.parametrize(("layers", "fits"), [(125, True), (126, False)])
    def test_layers_beyond_the_budget_are_an_error(self, tree: Tree, layers: int, fits: bool) -> None:
        """More layers than the budget are an error."""
        tree.add("a", HEAD + "RUN x\n" * layers)
        if fits:
            assert tree.plan("a").layers == layers
            return
        with pytest.raises(LayerBudgetError, match=f"{layers} layers"):
            tree.plan("a")

    def test_layers_error_names_the_largest_contributors(self, tree: Tree) -> None:
        """The error names the packages with the most layers."""
        tree.add("a", HEAD + "RUN x\n" * 40), tree.add("b", HEAD + "RUN x\n" * 80), tree.add("c", HEAD + "RUN x\n" * 10)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan("a", "b", "c")
        assert caught.value.message == f"`c` would stand on 130 layers, and the storage driver stacks {MAX_LAYERS}"
        assert [line.split() for line in caught.value.details] == [
            ["80", "layers", "b"],
            ["40", "layers", "a"],
            ["10", "layers", "c"],
        ]

    def test_layers_error_says_how_to_split_the_image(self, tree: Tree) -> None:
        """The lower packages become a base of one layer; both halves fit, and together they are all packages."""
        sizes = {"a": 40, "b": 20, "c": 50, "d": 30}
        for name, layers in sizes.items():
            tree.add(name, HEAD + "RUN x\n" * layers)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan(*sizes)
        hint = str(caught.value.hint)
        assert "`jetson-containers build --name=lower a b` (60 layers)" in hint
        assert "`jetson-containers flatten lower:r36.4-cu126-22.04 lower-flat`" in hint
        assert "`jetson-containers build --base=lower-flat --skip-packages=a,b d` (81 layers)" in hint

    def test_layers_error_offers_no_split_where_one_package_is_too_large(self, tree: Tree) -> None:
        """What no split can help gets none."""
        tree.add("a", HEAD + "RUN x\n"), tree.add("b", HEAD + "RUN x\n" * 126)
        with pytest.raises(LayerBudgetError) as caught:
            tree.plan("a", "b")
        assert caught.value.hint == "join RUN and COPY lines of these recipes"

    def test_layers_of_a_compile_part_must_fit_too(self, tree: Tree) -> None:
        """A compile part must fit as well."""
        tree.add("tools", HEAD + "RUN x\n" * 100), tree.compiled("a", HEAD + "RUN x\n" * 26)
        with pytest.raises(LayerBudgetError, match="`a` would stand on 126"):
            tree.plan("a", closures={"a": ("tools",)})

    def test_layers_that_the_builder_adds_count(self, tree: Tree) -> None:
        """What the builder adds to each stage counts."""
        tree.add("a", HEAD + "RUN x\n" * 60), tree.add("b", HEAD + "RUN x\n" * 62)
        plan = tree.plan("a", "b")
        check_layers(plan, per_stage=1)
        with pytest.raises(LayerBudgetError, match="126 layers"):
            check_layers(plan, per_stage=2)


class TestTotals:
    def test_totals_count_a_shared_prefix_once(self, tree: Tree) -> None:
        """A shared prefix counts once."""
        # Shared: a, the compile part of t. Each plan's own: b and t on it; c, t on that, and the meta package.
        tree.add("a"), tree.add("b"), tree.add("c"), tree.compiled("t"), tree.add("all", None)
        closures = {"t": ("a",)}
        plans = [tree.plan("a", "b", "t", closures=closures), tree.plan("a", "c", "t", "all", closures=closures)]
        counted = totals(plans)
        compiled = {"artifacts": 1, "compiles": 1, "lower_bound": 1}
        assert counted == {"images": 2, "stages": 7, **compiled, "layers": 5, "layer_bound": 4}
        assert len(graph.merge(plans).nodes) == 7

    def test_merge_puts_parents_first(self, tree: Tree) -> None:
        """Parents come first in merged plans."""
        tree.add("a"), tree.compiled("b"), tree.compiled("c")
        merged = graph.merge([tree.plan("a", "c", closures={"c": ("b",)}), tree.plan("a", "b", "c")])
        seen: set[str] = set()
        for key, node in merged.nodes.items():
            assert seen.issuperset(node.stage.depends)
            seen.add(key)

    def test_totals_of_no_plans_are_zero(self) -> None:
        """Without plans all totals are zero."""
        assert set(totals([]).values()) == {0}


class TestOutput:
    @pytest.fixture
    def plan(self, tree: Tree) -> BuildPlan:
        tree.add("python"), tree.compiled("llama_cpp:b9016"), tree.add("llm-tools", None)
        made = tree.plan("python", "llama_cpp:b9016", "llm-tools", closures={"llama_cpp:b9016": ("python",)})
        stages = [
            replace(stage, state=StageState.CACHED) if stage.kind is StageKind.ARTIFACT else stage
            for stage in made.stages
        ]
        return replace(made, stages=tuple(stages), tests=("python",))

    def test_plan_json_is_as_documented(self, plan: BuildPlan) -> None:
        """The JSON of a plan is as documented."""
        found = json.loads(json.dumps(plan.to_json()))
        assert list(found)[:3] == ["schema", "platform", "request"]
        assert {key: found[key] for key in ("schema", "request", "final", "layers")} == {
            "schema": 1,
            "request": ["llm-tools"],
            "final": "llm-tools:r36.4-cu126-22.04",
            "layers": 2,
        }
        first, artifact, layer, meta = found["stages"]
        assert first == {
            "package": "python",
            "kind": "layer",
            "key": plan.stages[0].key,
            "parent": None,
            "image": plan.stages[0].image,
            "depends": [],
            "state": "build",
            "layers": 1,
            "needed": True,
            "tree": "built-in",
        }
        assert (artifact["kind"], artifact["state"], artifact["parent"]) == ("artifact", "cached", first["key"])
        assert layer["depends"] == [first["key"], artifact["key"]]
        assert (meta["kind"], meta["parent"]) == ("meta", layer["key"])

    def test_plan_json_holds_no_argument_of_the_user(self, tree: Tree) -> None:
        """The JSON holds no value of an argument of the user."""
        tree.add("a", HEAD + "ARG TOKEN\nRUN true\n")
        plan = tree.plan("a", build_args={"TOKEN": "hunter2"})
        assert "hunter2" not in json.dumps(plan.to_json()) + "".join(describe(plan))

    def test_plans_json_of_several_plans(self, tree: Tree) -> None:
        """Several plans are one JSON document."""
        tree.add("a"), tree.add("b")
        plans = [tree.plan("a"), tree.plan("a", "b")]
        found = multiple_json(ORIN, plans, [{"request": "c", "reason": "no"}])
        assert list(found) == ["schema", "platform", "plans", "errors", "totals", "estimate"]
        assert found["errors"] == [{"request": "c", "reason": "no"}]
        compiled = {"artifacts": 0, "compiles": 0, "lower_bound": 0}
        assert found["totals"] == {"images": 2, "stages": 2, **compiled, "layers": 2, "layer_bound": 2}
        assert [len(plan["stages"]) for plan in found["plans"]] == [1, 2]

    def test_describe_gives_the_golden_text(self, plan: BuildPlan) -> None:
        """The readable form of a plan is the golden one."""
        text = "\n".join(describe(plan)) + "\n"
        if os.environ.get("UPDATE_GOLDEN"):
            (GOLDEN / "describe.txt").write_text(text, encoding="utf-8")
        assert text == (GOLDEN / "describe.txt").read_text(encoding="utf-8")

    def test_planning_writes_nothing(self, tree: Tree) -> None:
        """Planning writes nothing."""
        tree.compiled("a")
        before = sorted(tree.root.rglob("*"))
        tree.plan("a")
        assert sorted(tree.root.rglob("*")) == before


@pytest.mark.parametrize("wanted", ["mid#2", "mid", "KEY"])
def test_up_to_keeps_what_a_stage_needs(tree: Tree, wanted: str) -> None:
    """A stage is named by number, by name where it is the only one, or by key; the final image is gone."""
    for name in ("low", "mid", "top"):
        tree.add(name)
    whole = tree.plan("low", "mid", "top")
    part = up_to(whole, whole.stages[1].key[7:17] if wanted == "KEY" else wanted)
    assert [stage.package for stage in part.stages] == ["low", "mid"]
    assert (part.final, part.packages, part.layers) == ("", ("low", "mid"), whole.stages[1].layers)
    assert [stage.key for stage in part.stages] == [stage.key for stage in whole.stages[:2]]


@pytest.mark.parametrize("wanted", ["low#2", "none", "mid#x", "#1", ""])
def test_up_to_names_the_stages_there_are(tree: Tree, wanted: str) -> None:
    """A stage that the plan does not have, or has at another number, is refused with those it has."""
    for name in ("low", "mid"):
        tree.add(name)
    with pytest.raises(UsageError) as refused:
        up_to(tree.plan("low", "mid"), wanted)
    assert "low#1, mid#2" in refused.value.details[0]
