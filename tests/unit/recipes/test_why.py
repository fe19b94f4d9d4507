"""Why a package is available or absent, and who needs it."""

from __future__ import annotations

import pytest

from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.why import explain_package
from tests.unit.recipes.catalog_examples import BASIC
from tests.unit.treemaker import PC_CPU


def test_why_of_an_available_package_shows_its_rules_and_who_needs_it(orin: Catalog) -> None:
    """For an available package the rules are shown and who needs it."""
    answer = explain_package(orin, "torch")
    assert answer["package"] == "pytorch:2.8"
    assert answer["available"] is True
    assert answer["rules"] == [{"rule": ">=r36", "ok": True, "reason": "L4T 36.4.3 satisfies `>=r36`"}]
    assert answer["required_by"] == ["meta"]


def test_why_of_an_absent_package_shows_what_excludes_it(orin: Catalog) -> None:
    """For an absent package what excludes it is shown."""
    answer = explain_package(orin, "pytorch:1.10")
    assert answer["available"] is False
    assert [rule["rule"] for rule in answer["rules"] if not rule["ok"]] == ["<r34", "<py37"]
    assert explain_package(orin, "old")["rules"][-1] == {
        "rule": "disabled",
        "ok": False,
        "reason": "the recipe says `disabled: true`",
    }


def test_why_of_an_absent_family_takes_a_version(orin: Catalog) -> None:
    """For an absent family one of its versions is explained."""
    answer = explain_package(load([BASIC], PC_CPU), "cuda")
    assert (answer["package"], answer["available"]) == ("cuda:10.2", False)
    assert [version["package"] for version in answer["versions"]] == ["cuda:10.2", "cuda:12.6"]


LLAMAS = ["llama_cpp:b8000", "llama_cpp:b8000-builder", "llama_cpp:b9016", "llama_cpp:b9016-builder"]


@pytest.mark.parametrize(
    ("name", "needed_by"),
    [
        ("cmake", LLAMAS),
        ("pytorch:2.6", ["ros:humble"]),
        ("cuda", LLAMAS),
        ("deep-tool", []),
    ],
)
def test_why_lists_the_packages_that_need_it(orin: Catalog, name: str, needed_by: list[str]) -> None:
    """The packages that need a package are listed."""
    assert explain_package(orin, name)["required_by"] == needed_by
