"""What counts as compiling, and the least numbers of compiles and layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.plan import economy, plan
from tests.unit.plan.helpers import HEAD, INSTALLS

if TYPE_CHECKING:
    from typing import Any

    from tests.unit.plan.helpers import Tree


@pytest.mark.parametrize(
    ("text", "fields", "expected"),
    [
        (HEAD + "RUN apt-get install x\n", {}, False),
        (HEAD + "ARG MAX_JOBS\nRUN make -j$MAX_JOBS\n", {}, True),
        (HEAD + "RUN make\n", {"memory_per_job": 1 << 30}, True),
        (HEAD + "RUN make\n", {"adaptable": True}, True),  # upstream's recipes do not say
    ],
)
def test_layer_compiles_when_its_recipe_says_so(tree: Tree, text: str, fields: dict[str, Any], expected: bool) -> None:
    """The number of jobs, or what a job needs, tells; of upstream's format nothing is known."""
    tree.add("a", text, **fields)
    assert economy.compiles(tree.plan("a").top) is expected


def test_layer_that_installs_an_artifact_compiles_nothing(tree: Tree) -> None:
    """What is compiled is the artifact, also where the recipe says what a job needs."""
    tree.compiled("t", memory_per_job=1 << 30)
    assert [economy.compiles(stage) for stage in tree.plan("t").stages] == [True, False]
    assert "MAX_JOBS" not in INSTALLS


def test_economy_names_what_is_compiled_more_than_once(tree: Tree) -> None:
    """A recipe that compiles in its layer does so on every parent; one with a compile part once."""
    tree.add("a"), tree.add("b"), tree.add("m", HEAD + "ARG MAX_JOBS\nRUN make\n"), tree.compiled("t")
    closures = {"t": ("a",)}
    plans = [tree.plan("a", "m", "t", closures=closures), tree.plan("a", "b", "m", "t", closures=closures)]
    found = plan.count(plans)
    assert (found.compiles, found.compile_bound, found.repeated) == (3, 2, {"m": 2})


def test_economy_needs_a_layer_for_each_set_of_packages(tree: Tree) -> None:
    """Two images of other packages end with other stages, whatever the order; the same packages count once."""
    tree.add("a"), tree.add("b"), tree.add("c")
    orders = (("a", "b"), ("b", "a"), ("a", "c"), ("b", "c"), ("a",), ("b",), ("c",))
    found = plan.count([tree.plan(*names) for names in orders])
    assert (found.layers, found.layer_bound) == (7, 6)


def test_economy_counts_sets_below_compile_parts(tree: Tree) -> None:
    """What a compile part stands on is a set of its own."""
    tree.add("a"), tree.add("b"), tree.compiled("t")
    found = plan.count([tree.plan("a", "t", closures={"t": ("a", "b")})])
    assert (found.layers, found.layer_bound) == (3, 3)


def test_economy_in_words_names_what_compiles_again(tree: Tree) -> None:
    """The packages above the bound are named, those that compile most often first."""
    for name in ("a", "b", "c"):
        tree.add(name)
    tree.add("m", HEAD + "ARG MAX_JOBS\nRUN make\n"), tree.add("n", HEAD + "ARG MAX_JOBS\nRUN make\n")
    plans = [tree.plan(*names) for names in (("a", "m"), ("b", "m"), ("c", "n", "m"), ("a", "n"))]
    numbers, names = plan.describe_together(plans)
    assert (
        numbers == "2 images of 8 stages: 5 compile code (2 would be the fewest), 8 are layers (5 would be the fewest)"
    )
    assert names == "compiled more than once, having no compile part: m (3 times), n (2 times)"
    assert len(plan.describe_together([tree.plan("a")])) == 1
