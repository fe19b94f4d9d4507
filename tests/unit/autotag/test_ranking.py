"""Which image autotag prefers, and why others are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.autotag.ranking import Merits
from jetson_containers.autotag.search import (
    AutotagOptions,
    choose,
    options,
    refusal,
    refusals,
    sources,
)
from jetson_containers.autotag.sources import RegistrySource
from jetson_containers.autotag.types import SourceFindings, SourceKind, Wanted
from jetson_containers.core.errors import NoCompatibleImageError
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target
from jetson_containers.registry.types import ImageRepository
from tests.fakes import FakeEngine
from tests.unit.autotag.helpers import BOTH, NANO, ORIN, PC, THOR, config, hub, label, listings_of, local
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


def test_autotag_judges_local_images_like_remote_ones() -> None:
    """JC#353: 'local images come first, and for those it does no version checks'."""
    place = local(
        ("dustynv/mlc:r35.4.1", {}, "arm64"),
        ("mlc:0.1.0-r32.7.1", {}, "arm64"),
        ("mlc:0.20.0-x86_64-cu128-24.04", {}, "amd64"),
    )
    choice = choose(["mlc"], ORIN, (place,), AutotagOptions())
    assert choice.image is None
    assert len(choice.candidates) == 3
    assert all(entry.verdict.rule and entry.verdict.reason for entry in choice.candidates)


@pytest.mark.parametrize("role", [labels.STAGE, labels.ARTIFACT, "building"])
def test_autotag_never_chooses_an_unfinished_image(role: str) -> None:
    """JC#324, JC#787: half-built images were offered as the result."""
    name = "mlc:0.20.0-r36.4-cu126-22.04"
    marks = label(name, ["mlc:0.20.0"], ORIN, role)
    choice = choose(["mlc"], ORIN, (local((name, marks, "arm64")),), AutotagOptions())
    assert choice.image is None
    assert choice.candidates[0].verdict.rule == "image-role"


def test_autotag_judges_an_image_without_labels_by_its_name() -> None:
    """An image without labels is judged by its name."""
    choice = choose(["mlc"], ORIN, (local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64")),), AutotagOptions())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"


@pytest.mark.parametrize(
    ("request_", "fits"),
    [
        (["numpy", "llama_cpp"], True),
        (["llama_cpp:b9016"], True),
        (["llama_cpp:b90*", "numpy:2.2"], True),
        (["llama_cpp:b1"], False),
        (["numpy:1.26", "llama_cpp"], False),
    ],
)
def test_autotag_compares_versions_of_the_label(request_: list[str], fits: bool) -> None:
    """Versions are those of the label."""
    name = "llama_cpp:b9016-r36.4-cu126-22.04"
    choice = choose(request_, ORIN, (local((name, label(name, BOTH, ORIN), "arm64")),), AutotagOptions())
    assert (choice.image == name) is fits
    if not fits:
        assert choice.candidates[0].verdict.rule == "version"


def test_autotag_prefers_an_image_of_the_name_to_one_that_holds_the_package() -> None:
    """An image of the name comes before one that holds the package."""
    named, other = "numpy:2.1-r36.4-cu126-22.04", "llama_cpp:b9016-r36.4-cu126-22.04"
    place = local((other, label(other, BOTH, ORIN), "arm64"), (named, label(named, ["numpy:2.1"], ORIN), "arm64"))
    choice = choose(["numpy"], ORIN, (place,), AutotagOptions())
    assert [entry.candidate.reference for entry in choice.candidates] == [named, other]
    assert choose(["llama_cpp"], ORIN, (place,), AutotagOptions()).image == other


def test_autotag_prefers_the_smallest_set_that_holds_the_package() -> None:
    """Of images that only hold the package the smallest set wins."""
    large, small = "b:1-r36.4-cu126-22.04", "a:9-r36.4-cu126-22.04"
    place = local(
        (large, label(large, ["numpy", "x", "y", "b:1"], ORIN), "arm64"),
        (small, label(small, ["numpy", "a:9"], ORIN), "arm64"),
    )
    assert choose(["numpy"], ORIN, (place,), AutotagOptions()).image == small


@pytest.mark.parametrize(
    ("host", "allowed"),
    [(ORIN, {"r36.4"}), (NANO, {"r32.7"}), (THOR, set()), (PC, set())],
    ids=["Orin", "Nano", "Thor", "PC without GPU"],
)
@pytest.mark.parametrize("name", ["mlc", "llama_cpp", "l4t-pytorch", "nano_llm", "jetson-inference"])
def test_autotag_chooses_only_images_of_the_release_family_of_the_host(
    tmp_path: Path, host: Platform, allowed: set[str], name: str
) -> None:
    """Only images of the host's own release family are chosen."""
    choice = choose([name], host, (hub(tmp_path),), AutotagOptions())
    fit = [entry.candidate.name for entry in choice.candidates if entry.verdict.ok]
    releases = {f"r{one.platform.l4t.major}.{one.platform.l4t.minor}" for one in fit if one.platform.l4t}
    assert releases <= allowed
    assert len(choice.candidates) > 1


def test_autotag_judges_an_exact_reference_too(tmp_path: Path) -> None:
    """An exact reference is judged too."""
    assert choose(["dustynv/mlc:0.20.0-r36.4.0"], ORIN, (hub(tmp_path),), AutotagOptions()).image
    refused = choose(["dustynv/mlc:0.20.0-r36.4.0"], NANO, (hub(tmp_path),), AutotagOptions())
    assert refused.image is None
    (entry,) = [e for e in refused.candidates if e.candidate.reference == "dustynv/mlc:0.20.0-r36.4.0"]
    assert entry.verdict.rule not in {"version", "contents"}


def test_autotag_prefers_the_earlier_registry_between_equals(tmp_path: Path) -> None:
    """The order of registries breaks a tie."""
    name = "mlc:0.20.0-r36.4-cu126-22.04"
    with FakeRegistry() as one, FakeRegistry() as two:
        for registry in (one, two):
            registry.add_image("ns/mlc", name.partition(":")[2], labels=label(name, ["mlc:0.20.0"], ORIN))
        for first, second in ((one, two), (two, one)):
            spaces = (ImageRepository(first.host, "ns"), ImageRepository(second.host, "ns"))
            place = RegistrySource(listings_of(tmp_path), spaces)
            assert choose(["mlc"], ORIN, (place,), AutotagOptions()).image == f"{first.host}/ns/{name}"


@pytest.mark.parametrize(
    ("prefer", "image"),
    [
        ([], "dustynv/vllm:0.8.6-r36.4-cu128-24.04"),
        (["native"], "dustynv/vllm:0.6.6.post1-r36.4.0"),
        (["registry", "native"], "dustynv/vllm:0.6.6.post1-r36.4.0"),
    ],
)
def test_autotag_prefer_native_puts_native_cuda_first(tmp_path: Path, prefer: list[str], image: str) -> None:
    """`--prefer native` puts native CUDA before newer versions."""
    settings = config(tmp_path)
    chosen = options(settings, prefer=prefer, user="dustynv")
    assert chosen.order == ((SourceKind.REGISTRY,) if "registry" in prefer else AutotagOptions.order)
    places = sources(settings, FakeEngine, chosen)
    assert choose(["vllm"], parse_target("r36.4.3"), places, chosen).image == image


def test_refusals_name_the_nearest_and_give_one_line_per_reason(tmp_path: Path) -> None:
    """The refusals are the nearest image and one line per rule, with how many it refuses."""
    choice = choose(["mlc"], THOR, (hub(tmp_path),), AutotagOptions())
    rows = refusals(choice.candidates, ["mlc", "llama_cpp>=1"])
    rules = [entry.verdict.rule for entry in choice.candidates]
    assert rows[0].startswith("nearest: dustynv/mlc:0.20.0-r36")
    assert [row.split()[0] for row in rows[1:-1]] == list(dict.fromkeys(rules))
    assert sum(int(row.split()[1]) for row in rows[1:-1]) == len(rules) == 29
    assert rows[-1] == "`./autotag --explain mlc 'llama_cpp>=1'` shows each"
    error = refusal(choice)
    assert error.message == "no image of mlc can run here (L4T 38.4.0, sbsa, CUDA 13.0)"
    assert isinstance(error, NoCompatibleImageError)


def test_refusals_nearest_runs_here_and_is_named_like_the_request(tmp_path: Path) -> None:
    """Of 149 images of ROS, the nearest to a tag that only older releases have is the alike one that runs here."""
    choice = choose(["ros:humble-ros-base"], ORIN, (hub(tmp_path),), AutotagOptions())
    nearest = choice.candidates[0]
    assert choice.image is None
    assert nearest.candidate.reference == "dustynv/ros:humble-desktop-l4t-r36.4.0"
    assert refusals(choice.candidates)[0].startswith(f"nearest: {nearest.candidate.reference}: its tag is not")


def test_refusals_of_a_single_image_are_one_line(tmp_path: Path) -> None:
    """One refused image needs no count."""
    choice = choose(["aim"], THOR, (hub(tmp_path),), AutotagOptions())
    assert len(choice.candidates) == 1
    assert refusals(choice.candidates) == [
        f"nearest: {choice.candidates[0].candidate.reference}: made for tegra, this is sbsa"
    ]


def test_autotag_choice_does_not_depend_on_the_order_of_candidates(tmp_path: Path) -> None:
    """The same candidates give the same choice in any order."""
    found = hub(tmp_path).find([Wanted.parse("mlc")], ORIN)

    class Fixed:
        kind = SourceKind.REGISTRY

        def __init__(self, candidates: Any) -> None:
            self.candidates = candidates

        def find(self, request: Any, host: Any) -> SourceFindings:
            return SourceFindings(candidates=self.candidates)

    one = choose(["mlc"], ORIN, (Fixed(found.candidates),), AutotagOptions())
    two = choose(["mlc"], ORIN, (Fixed(found.candidates[::-1]),), AutotagOptions())
    assert (one.image, one.candidates) == (two.image, two.candidates)


def version_texts() -> st.SearchStrategy[str]:
    numbers = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
    before, behind = st.sampled_from(["", "", "1!", "v"]), st.sampled_from(["", "", "+cu126", "+1"])
    ends = st.sampled_from(["", "", "", "rc1", "a2", ".post1", ".dev3", "rc1.post2.dev1"])
    return st.tuples(before, numbers, ends, behind).map("".join)


@given(st.lists(version_texts(), max_size=12))
def test_merits_order_versions_as_pep440_does(texts: list[str]) -> None:
    """Sort keys of versions give the order of PEP 440, newest first, however a version is spelled."""
    entry = choose(["mlc"], ORIN, (local(("mlc:1-r36.4.0", {}, "arm64")),), AutotagOptions()).candidates[0]
    merits = Merits(ORIN)
    ordered = sorted(texts, key=lambda text: merits.of(replace(entry.candidate.facts, version=text)))
    assert [Version(text) for text in ordered] == sorted(map(Version, texts), reverse=True)


@pytest.mark.parametrize(
    ("request_", "image"),
    [
        ("whisper:1", "dustynv/whisper:1.4.2-r36.4.0"),
        ("whisper:1.3", "dustynv/whisper:1.3-r36.4.0"),  # in so many words, though 1.3.5 is newer
        ("whisper:1.4", "dustynv/whisper:1.4.2-r36.4.0"),
        ("whisper:1.4.1", "dustynv/whisper:1.4.1-r36.4.0"),
        ("whisper:1.4.0", None),
        ("whisper<1.4", "dustynv/whisper:1.3.5-r36.4.0"),
        ("whisper==1.4.*", "dustynv/whisper:1.4.2-r36.4.0"),
        ("whisper>=2", None),
    ],
)
def test_autotag_takes_series_and_ranges_as_build_does(request_: str, image: str | None) -> None:
    """A series means its newest image, unless one has just that name; a range means the newest in it."""
    tags = ["1.3-r36.4.0", "1.3.5-r36.4.0", "1.4.1-r36.4.0", "1.4.2-r36.4.0", "r36.4.0"]
    place = local(*((f"dustynv/whisper:{tag}", {}, "arm64") for tag in tags))
    assert choose([request_], ORIN, (place,), AutotagOptions()).image == image


def test_autotag_finds_what_build_made_of_a_series() -> None:
    """`build app:2.5` makes `app:2.5.0-…`, and `autotag app:2.5` finds it, by label and by name."""
    name = "app:2.5.0-r36.4-cu126-22.04"
    place = local(
        (name, label(name, ["app:2.5.0"], ORIN), "arm64"),
        ("top:1-r36.4-cu126-22.04", label("top:1-r36.4-cu126-22.04", ["app:2.5.0", "top:1"], ORIN), "arm64"),
    )
    assert choose(["app:2.5"], ORIN, (place,), AutotagOptions()).image == name
    assert choose(["app>=2.5", "top"], ORIN, (place,), AutotagOptions()).image == "top:1-r36.4-cu126-22.04"
    assert choose(["app:2.6"], ORIN, (place,), AutotagOptions()).image is None


def test_autotag_reads_sources_in_any_case(tmp_path: Path) -> None:
    """The words of `--prefer` and `--disable` may have capitals."""
    chosen = options(config(tmp_path), prefer=["Registry", "LOCAL", "Native"], disable=["Local"])
    assert (chosen.order, chosen.native) == ((SourceKind.REGISTRY,), True)
