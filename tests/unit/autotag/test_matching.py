"""Which images belong to a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.autotag.search import (
    AutotagOptions,
    choose,
)
from tests.unit.autotag.helpers import BOTH, ORIN, hub, label, local

if TYPE_CHECKING:
    from pathlib import Path


def test_autotag_requires_all_packages_in_one_image() -> None:
    """An image must hold all packages."""
    both, one = "llm:r36.4-cu126-22.04", "llama_cpp:b9016-r36.4-cu126-22.04"
    place = local((one, label(one, BOTH[1:], ORIN), "arm64"), (both, label(both, BOTH, ORIN), "arm64"))
    choice = choose(["llama_cpp", "numpy"], ORIN, (place,), AutotagOptions())
    assert choice.image == both
    refused = [entry for entry in choice.candidates if not entry.verdict.ok]
    assert [(entry.candidate.reference, entry.verdict.rule) for entry in refused] == [(one, "contents")]


def test_autotag_never_matches_a_second_package_by_unknown_contents(tmp_path: Path) -> None:
    """JC: `autotag a b` used only the first package."""
    choice = choose(["mlc", "pytorch"], ORIN, (hub(tmp_path),), AutotagOptions())
    assert choice.image is None
    named = {entry.verdict.rule for entry in choice.candidates}
    assert named == {"contents"}


def test_autotag_knows_contents_from_options(tmp_path: Path) -> None:
    """Contents may be known from elsewhere."""
    inside = {"mlc": ["mlc", "pytorch"]}
    chosen = AutotagOptions(contents=lambda name: inside.get(name, ()))
    choice = choose(["mlc", "pytorch"], ORIN, (hub(tmp_path),), chosen)
    assert choice.image is not None
    assert choice.image.startswith("dustynv/mlc:")


def test_autotag_takes_aliases_as_names(tmp_path: Path) -> None:
    """Aliases are names."""
    chosen = AutotagOptions(aliases=lambda name: ["pytorch"] if name == "torch" else [])
    image = choose(["torch"], ORIN, (hub(tmp_path),), chosen).image
    assert image is not None
    assert image.startswith("dustynv/pytorch:")


def test_autotag_reads_aliases_only_when_the_name_finds_nothing(tmp_path: Path) -> None:
    """Aliases are read only when the name finds nothing."""
    asked: list[str] = []

    def aliases(name: str) -> list[str]:
        asked.append(name)
        return ["pytorch"] if name == "torch" else []

    places = (local(("dustynv/pytorch:2.6-r36.4.0-cu128", {}, "arm64")), hub(tmp_path))
    assert choose(["mlc"], ORIN, places, AutotagOptions(aliases=aliases)).image
    assert asked == []
    choice = choose(["torch"], ORIN, places, AutotagOptions(aliases=aliases))
    assert asked == ["torch"]
    assert choice.image == "dustynv/pytorch:2.6-r36.4.0-cu128"  # the local one, as without an alias
    assert choose(["nothing-like-it"], ORIN, places, AutotagOptions(aliases=aliases)).candidates == ()


def test_autotag_keeps_the_namespace(tmp_path: Path) -> None:
    """JC: `foo/mlc` became `dustynv/mlc`."""
    assert choose(["foo/mlc"], ORIN, (hub(tmp_path),), AutotagOptions()).image is None
    place = local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64"), ("foo/mlc:0.19.0-r36.4.0", {}, "arm64"))
    assert choose(["foo/mlc"], ORIN, (place,), AutotagOptions()).image == "foo/mlc:0.19.0-r36.4.0"
    assert choose(["foo/mlc:0.20.0"], ORIN, (place,), AutotagOptions()).image is None


def test_autotag_refuses_other_versions_by_name(tmp_path: Path) -> None:
    """Other versions are refused by name."""
    choice = choose(["mlc:0.19.*"], ORIN, (hub(tmp_path),), AutotagOptions())
    fit = [entry.candidate.name.tag for entry in choice.candidates if entry.verdict.ok]
    assert fit == ["0.19.5-r36.4.0", "0.19.4-r36.4.0", "0.19.3-r36.4.0", "0.19.2-r36.4.0", "0.19.1-r36.4.0",
                   "0.19.0-r36.4.0"]  # fmt: skip
    assert {e.verdict.rule for e in choice.candidates if not e.verdict.ok} == {"version"}


def test_autotag_takes_a_digest_as_an_exact_request(tmp_path: Path) -> None:
    """A digest is an exact request."""
    first = choose(["mlc"], ORIN, (hub(tmp_path),), AutotagOptions()).best
    assert first is not None
    choice = choose([f"dustynv/mlc@{first.digest}"], ORIN, (hub(tmp_path),), AutotagOptions())
    assert choice.image == first.reference
    assert {e.verdict.rule for e in choice.candidates if not e.verdict.ok} == {"digest"}
