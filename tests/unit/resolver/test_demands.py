"""Requests become demands: globs, aliases and packages to skip."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import (
    JetsonError,
    NothingMatchedError,
    RequirementSyntaxError,
    UnknownPackageError,
    UnsatisfiableError,
    UsageError,
)
from jetson_containers.resolver.solve import solve
from tests.unit.resolver.helpers import CHAIN, PYTORCH, catalog, closures, compiled, names, versions
from tests.unit.treemaker import package


def test_alias_of_a_family_is_that_family() -> None:
    """An alias of a family is that family."""
    torches = [
        package("pytorch:2.6", family_aliases=("torch",), aliases=("torch:2.6",)),
        package("pytorch:2.8", family_aliases=("torch",), aliases=("pytorch", "torch", "torch:2.8"), default=True),
    ]
    found = catalog(*torches, package("a", "torch"), package("b", "torch<2.8"), package("c", "torch:2.6", "pytorch"))
    assert names(solve(found, ["torch"])) == ["pytorch:2.8"]
    assert names(solve(found, ["a", "b", "c"])) == ["pytorch:2.6", "a", "b", "c"]


def test_alias_of_one_version_pins_it() -> None:
    """An alias of one version pins it."""
    found = catalog(package("ros:humble", aliases=("desktop",)), package("ros:jazzy"), package("a", "desktop", "ros"))
    assert names(solve(found, ["a"])) == ["ros:humble", "a"]


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["t*"], "build-essential python cmake tool numpy torch"),
        (["[ab]*"], "build-essential python numpy cmake torch app"),
        (["?pp"], "build-essential python numpy cmake torch app"),
        (["T*"], "build-essential python cmake tool numpy torch"),
    ],
)
def test_glob_means_each_default_package_it_matches(requests: list[str], expected: str) -> None:
    """A glob means every default package it matches."""
    assert sorted(names(solve(CHAIN, requests))) == sorted(expected.split())


def test_glob_without_versions_takes_one_of_each_family() -> None:
    """A glob does not ask for two versions unless it names versions."""
    found = catalog(*PYTORCH, *versions("py", "1", default="1"))
    assert names(solve(found, ["py*"])) == ["py:1", "pytorch:2.8"]
    assert names(solve(found, ["pytorch:*.6"])) == ["pytorch:2.6"]
    with pytest.raises(UnsatisfiableError):
        solve(found, ["pytorch:*"])


@pytest.mark.parametrize(
    ("requests", "skip", "expected"),
    [
        (["app"], ["torch"], "build-essential python numpy app"),
        (["app"], ["numpy"], "build-essential python cmake torch app"),
        (["app"], ["python", "cmake"], "numpy torch app"),
        (["app", "tool"], ["app"], "build-essential python cmake tool"),
        (["app"], ["t*"], "build-essential python numpy app"),
        (["torch"], ["c*", "n*"], "build-essential python torch"),
    ],
)
def test_skip_leaves_out_packages_and_what_only_they_need(requests: list[str], skip: list[str], expected: str) -> None:
    """Skipping leaves out packages and what only they need."""
    assert names(solve(CHAIN, requests, skip=skip)) == expected.split()


def test_skip_knows_aliases_and_versions_and_dissolves_conflicts() -> None:
    """Skipping knows aliases and versions and dissolves conflicts."""
    torches = [package("pytorch:2.8", "gone", family_aliases=("torch",), aliases=("pytorch", "torch"), default=True)]
    found = catalog(*torches, package("a", "pytorch"), package("b", "pytorch:2.6"))
    assert names(solve(found, ["a"], skip=["torch"])) == ["a"]
    assert names(solve(found, ["a"], skip=["gone", "x*"])) == ["pytorch:2.8", "a"]
    assert names(solve(found, ["a", "b"], skip=["pytorch*"])) == ["a", "b"]
    both = catalog(*PYTORCH, package("a", "pytorch"))
    assert names(solve(both, ["a"], skip=["pytorch:2.8"])) == ["a"]


def test_skip_pattern_without_effect_gets_a_notice() -> None:
    """A pattern to skip that matches nothing gets a notice."""
    assert solve(CHAIN, ["app"], skip=["zzz*", "torch"]).notices == ("nothing to skip matches `zzz*`",)
    assert solve(CHAIN, ["app"], skip=["Torc*"]).notices == ()


def test_skip_of_everything_is_a_usage_error() -> None:
    """Skipping everything is a usage error."""
    with pytest.raises(UsageError, match="everything requested is skipped: app"):
        solve(CHAIN, ["app"], skip=["app"])


@pytest.mark.parametrize(
    ("requests", "kind", "message"),
    [
        ([], UsageError, "no package given"),
        (["toch"], UnknownPackageError, "there is no package `toch`"),
        (["zzz*"], NothingMatchedError, "no package here matches `zzz*`"),
        (["a b"], RequirementSyntaxError, "`a b` is not a package name or version range"),
        (["numpy:3"], UnknownPackageError, "package `numpy` has no `numpy:3`"),
        (["numpy>=3"], UnknownPackageError, "no version of `numpy` on this platform satisfies `numpy>=3`"),
    ],
)
def test_solve_refuses_a_request_that_means_nothing(requests: list[str], kind: type[JetsonError], message: str) -> None:
    """A request that means nothing is refused."""
    with pytest.raises(kind) as caught:
        solve(CHAIN, requests)
    assert caught.value.message == message


def test_skip_holds_for_compile_parts() -> None:
    """Skipping holds for compile parts."""
    found = catalog(compiled("a", needs=("b", "c")), package("b"), package("c"))
    assert closures(solve(found, ["a"], skip=["b"])) == {"a": ["c"]}
