"""Errors of the resolver: who asked for what, and which other requests have a solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from jetson_containers.core.errors import (
    RecipeError,
    UnavailablePackageError,
    UnknownPackageError,
    UnsatisfiableError,
)
from jetson_containers.recipes.catalog import load
from jetson_containers.resolver.solve import solve
from tests.unit.resolver.helpers import PYTORCH, catalog, catalogs, compiled, versions
from tests.unit.treemaker import ORIN, package, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.recipes.package import Package


def test_missing_dependency_says_who_asked() -> None:
    """A missing dependency says who asked."""
    found = catalog(package("a", "b"), package("b", "nonesuch"))
    with pytest.raises(UnknownPackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == "there is no package `nonesuch`, which `b` asks for"


def test_absent_dependency_says_who_asked_and_which_rule() -> None:
    """An absent dependency says who asked and which rule makes it absent."""
    found = catalog(package("a", "cuda"), absent=(package("cuda:12.8"),))
    with pytest.raises(UnavailablePackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == (
        "package `cuda`, which `a` asks for, is not available on this platform: CUDA 12.6 does not satisfy `>=cu128`"
    )


def test_range_of_only_absent_versions_says_why_they_are_absent() -> None:
    """A range that only absent versions satisfy says why they are absent."""
    found = catalog(*PYTORCH, package("a", "pytorch>=3"), absent=(package("pytorch:3.0"),))
    with pytest.raises(UnavailablePackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == "no version of `pytorch` on this platform satisfies `pytorch>=3`, which `a` asks for"
    assert caught.value.details == ("pytorch:3.0: CUDA 12.6 does not satisfy `>=cu128`",)
    assert caught.value.hint == "available here: pytorch:2.8, pytorch:2.9, pytorch:2.6"


def test_broken_dependency_reports_the_recipe(tmp_path: Path) -> None:
    """A broken dependency reports the recipe."""
    tree = write(tmp_path, {"g/a/Dockerfile": "depends: b", "g/b/Dockerfile": "bad: x"})
    with pytest.raises(RecipeError, match=r"b/Dockerfile:2: unknown key `bad` \(in a package, which `a` asks for\)"):
        solve(load([tree], ORIN), ["a"])


def test_conflict_names_both_demanders_and_ways_out_that_work() -> None:
    """A conflict names both packages and ways out that work."""
    found = catalog(
        *PYTORCH,
        package("a", "pytorch:2.6"),
        *versions("b", "1", "2", default="2", d1=("pytorch<2.8",), d2=("c",)),
        package("c", "pytorch>=2.8"),
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["a", "c"])
    assert caught.value.message == "no version of `pytorch` satisfies everything that is wanted"
    assert caught.value.details == (
        "`a` wants `pytorch:2.6`",
        "`c` wants `pytorch>=2.8`",
        "1. make two images: `./build.sh a` and `./build.sh c`",
        "2. change `depends` of `a` (/packages/a/config.yaml:1) or `c` (/packages/c/config.yaml:1)",
    )


def test_conflict_through_a_chain_shows_the_chain_and_other_versions() -> None:
    """A conflict through a chain shows the chain and other versions."""
    found = catalog(
        *PYTORCH,
        package("top", "middle", "x:2"),
        package("middle", "pytorch:2.6"),
        *versions("x", "1", "2", default="2", d1=("pytorch<2.8",), d2=("pytorch>=2.8",)),
        package("other", "x:2"),
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["top"])
    assert caught.value.details[:2] == (
        "`middle` wants `pytorch:2.6` (through top -> middle)",
        "`x:2` wants `pytorch>=2.8` (through top -> x:2)",
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["middle", "x:2"])
    assert "take `x:1` instead of `x:2`: `./build.sh middle x:1`" in "\n".join(caught.value.details)


def test_conflict_with_a_pin_suggests_to_leave_it_open() -> None:
    """A pin in the request can be left open."""
    found = catalog(*PYTORCH, package("a", "pytorch:2.6"))
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["a", "pytorch:2.9"])
    assert caught.value.details[:2] == ("the request wants `pytorch:2.9`", "`a` wants `pytorch:2.6`")
    assert any("leave the version open: `./build.sh a pytorch`" in line for line in caught.value.details)


def test_conflict_of_two_versions_in_one_request() -> None:
    """Two versions of one family in a request conflict."""
    with pytest.raises(UnsatisfiableError) as caught:
        solve(catalog(*PYTORCH), ["pytorch:2.6", "pytorch:2.8"])
    assert "make two images: `./build.sh pytorch:2.6` and `./build.sh pytorch:2.8`" in caught.value.details[2]


def test_missing_compile_dependency_says_who_asked() -> None:
    """A missing compile dependency says who asked."""
    with pytest.raises(UnknownPackageError, match="there is no package `cmake`, which `a` asks for"):
        solve(catalog(compiled("a", needs=("cmake",))), ["a"])


@settings(deadline=None, max_examples=100)
@given(catalogs())
def test_conflict_hints_that_name_a_command_work(packages: list[Package]) -> None:
    """Every way out that names a command works."""
    found = catalog(*packages)
    for request in ([p.name for p in packages][-3:], [packages[-1].name]):
        try:
            solve(found, request)
        except UnsatisfiableError as error:
            for line in error.details:
                for command in line.split("`./build.sh ")[1:]:
                    solve(found, command.split("`")[0].split())
        except UnknownPackageError:
            pass
