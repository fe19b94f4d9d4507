"""autotag: what is a candidate, what is refused and why, which one wins, what is asked, what is printed."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.autotag.ranking import merge
from jetson_containers.autotag.search import (
    AutotagOptions,
    ImageSearch,
    choose,
    explain,
    find,
    options,
    refusal,
    refusals,
    sources,
)
from jetson_containers.autotag.sources import MOST_CONFIGS, LocalSource, RegistrySource
from jetson_containers.autotag.types import ImageCandidate, SourceFindings, SourceKind, Wanted
from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import EngineMissingError, NoCompatibleImageError, RegistryError, UsageError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.images import labels
from jetson_containers.images.name import ImageName
from jetson_containers.platforms.detect import parse_target
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.snapshot import SNAPSHOT
from jetson_containers.registry.types import ImageRepository, Tag, TagListing
from tests.fakes import FakeEngine
from tests.unit.fakeregistry import Clock, FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings

ORIN = Platform(
    arch=Arch.TEGRA,
    l4t=Version("36.4.3"),
    jetpack="6.2",
    cuda=Version("12.6"),
    driver_cuda=Version("12.6"),
    python=Version("3.10"),
    distro="ubuntu",
    distro_version="22.04",
    sm=(87,),
    soc="t234",
    board="agx-orin-64gb",
)
NANO = Platform(
    arch=Arch.TEGRA,
    l4t=Version("32.7.4"),
    jetpack="4.6.4",
    cuda=Version("10.2"),
    driver_cuda=Version("10.2"),
    python=Version("3.6"),
    distro="ubuntu",
    distro_version="18.04",
    sm=(53,),
    soc="t210",
    board="nano",
)
THOR = Platform(
    arch=Arch.SBSA,
    l4t=Version("38.4.0"),
    jetpack="7.1",
    cuda=Version("13.0"),
    driver_cuda=Version("13.0"),
    python=Version("3.12"),
    distro="ubuntu",
    distro_version="24.04",
    sm=(110,),
    soc="t264",
    board="agx-thor",
)
PC = Platform(
    arch=Arch.X86_64,
    l4t=None,
    jetpack=None,
    cuda=None,
    driver_cuda=None,
    python=Version("3.12"),
    distro="ubuntu",
    distro_version="24.04",
    sm=(),
)


def config(tmp_path: Path, **more: Any) -> Settings:
    flags = {"cache": tmp_path / "cache", "offline": True, **more}
    return settings.load(flags, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)


def label(name: str, packages: Sequence[str], platform: Platform, role: str = labels.FINAL) -> dict[str, str]:
    return labels.make(role=role, name=name, key="sha256:1", packages=packages, platform=platform)


def engine_with(*images: tuple[str, Mapping[str, str], str]) -> FakeEngine:
    """A local store: (reference, labels, architecture), the newest first."""
    engine = FakeEngine()
    for number, (reference, image_labels, architecture) in enumerate(images):
        engine.store[reference] = LocalImage(
            id=f"sha256:{number:064x}",
            references=(reference,),
            labels=image_labels,
            architecture=architecture,
            created=f"2026-11-{20 - number:02}T00:00:00Z",
            size=1000,
        )
    return engine


def local(*images: tuple[str, Mapping[str, str], str]) -> LocalSource:
    engine = engine_with(*images)
    return LocalSource(lambda: engine)


def hub(tmp_path: Path) -> RegistrySource:
    """Docker Hub as it was when the shipped list was made."""
    return RegistrySource(Listings.of(config(tmp_path)), (ImageRepository("docker.io", "dustynv"),))


def quiet_console(*, answers: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> Console:
    """A console that is not a terminal, or one where somebody types `answers`."""
    console = Console(level=Level.VERBOSE, out=io.StringIO(), err=io.StringIO(), env={})
    if answers is not None and monkeypatch:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        monkeypatch.setattr(Console, "interactive", property(lambda _self: True))
    return console


def said(console: Console) -> str:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue()


# requests


@pytest.mark.parametrize(
    ("text", "registry", "namespace", "name", "tag"),
    [
        ("mlc", None, None, "mlc", None),
        ("mlc:0.20.0", None, None, "mlc", "0.20.0"),
        ("ns/mlc", None, "ns", "mlc", None),
        ("dustynv/mlc:0.20.0-r36.4.0", None, "dustynv", "mlc", "0.20.0-r36.4.0"),
        ("reg:5000/ns/mlc:tag", "reg:5000", "ns", "mlc", "tag"),
        ("reg:5000/mlc", "reg:5000", None, "mlc", None),
        ("docker.io/dustynv/mlc", "docker.io", "dustynv", "mlc", None),
        ("ghcr.io/a/b/mlc:1", "ghcr.io", "a/b", "mlc", "1"),
        ("pytorch:2.*", None, None, "pytorch", "2.*"),
        ("torch:2.8+cu126", None, None, "torch", "2.8-cu126"),
    ],
)
def test_wanted_parse_reads_a_package_or_an_image(
    text: str, registry: str | None, namespace: str | None, name: str, tag: str | None
) -> None:
    """A request is a package or an image."""
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace, wanted.name, wanted.tag) == (registry, namespace, name, tag)


@pytest.mark.parametrize(
    "text", ["", " ", "mlc:", "a b", "-x", "ns//mlc", "mlc:$(x)", "mlc@sha256:1", "/mlc", "mlc;ls"]
)
def test_wanted_parse_refuses_other_text(text: str) -> None:
    """A text that is neither a package nor an image is refused."""
    with pytest.raises(UsageError, match="neither a package nor an image"):
        Wanted.parse(text)


@pytest.mark.parametrize(
    ("wanted", "tag", "fits"),
    [
        ("mlc", "anything", True),
        ("mlc:0.20.0", "0.20.0", True),
        ("mlc:0.20.0", "0.20.0-r36.4.0", True),
        ("mlc:0.20.0-r36.4.0", "0.20.0-r36.4.0", True),
        ("mlc:0.2", "0.20.0-r36.4.0", False),
        ("mlc:0.20", "0.20.0-r36.4.0", False),
        ("mlc:0.20.*", "0.20.0-r36.4.0", True),
        ("mlc:0.2?.0", "0.20.0-r36.4.0", True),
        ("mlc:r36.4.0", "0.20.0-r36.4.0", False),
        ("mlc:r36.4.0", "r36.4.0-cu128", True),
    ],
)
def test_wanted_fits_tags_as_upstream_does(wanted: str, tag: str, fits: bool) -> None:
    """A tag fits as upstream has it."""
    assert Wanted.parse(wanted).fits(tag) is fits


def test_wanted_of_a_published_reference_fits_only_itself() -> None:
    """All 752: the exact name of an image is a request that this image, and no other of its repository, fits."""
    for entry in json.loads(SNAPSHOT.read_bytes())["repositories"]:
        tags = [tag["tag"] for tag in entry["tags"]]
        for tag in tags:
            wanted = Wanted.parse(f"{entry['repository']}:{tag}")
            assert wanted.names_image(ImageName.parse(f"{entry['repository']}:{tag}"))
            assert all(other.startswith(f"{tag}-") for other in tags if wanted.fits(other) and other != tag)


WORD = st.from_regex(r"[a-z0-9]{1,6}([_.-][a-z0-9]{1,6}){0,2}", fullmatch=True)


@given(
    st.sampled_from(["", "docker.io/", "localhost/", "reg:5000/", "ghcr.io/"]), st.lists(WORD, max_size=2), WORD,
    st.none() | WORD,
)  # fmt: skip
def test_wanted_parse_gives_the_parts_of_a_reference(
    registry: str, namespace: list[str], name: str, tag: str | None
) -> None:
    """A request has the parts of its reference."""
    text = registry + "/".join([*namespace, name]) + (f":{tag}" if tag else "")
    assume(registry or not namespace or (not set(namespace[0]) & set(".:") and namespace[0] != "localhost"))
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace) == (registry.rstrip("/") or None, "/".join(namespace) or None)
    assert (wanted.name, wanted.tag) == (name, tag)
    assert wanted.in_place(ImageName.parse(text))


@given(st.text(max_size=30))
def test_wanted_parse_of_any_text_succeeds_or_is_a_usage_error(text: str) -> None:
    """Any text is a request or a usage error."""
    with contextlib.suppress(UsageError):
        Wanted.parse(text)


def test_autotag_without_a_request_is_an_error() -> None:
    """Without a request there is an error."""
    with pytest.raises(UsageError, match="no package was named"):
        choose([], ORIN, (), AutotagOptions())


# the local store


def test_autotag_answers_with_a_local_image_that_runs() -> None:
    """A local image that runs is the answer."""
    place = local(
        ("mlc:0.20.0-r36.4-cu126-22.04", label("mlc:0.20.0-r36.4-cu126-22.04", ["mlc:0.20.0"], ORIN), "arm64")
    )
    choice = choose(["mlc"], ORIN, (place,), AutotagOptions())
    assert choice.image == "mlc:0.20.0-r36.4-cu126-22.04"
    assert [(entry.rank, entry.verdict.ok) for entry in choice.candidates] == [(1, True)]


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


@pytest.mark.parametrize(
    "reference", ["jetson-containers/stage:mlc-r36.4-cu126-22.04", "jetson-containers/stage/mlc:r36.4-cu126-22.04"]
)
def test_autotag_knows_a_stage_by_its_name_too(reference: str) -> None:
    """A stage is known by its name too."""
    choice = choose([reference.partition(":")[0]], ORIN, (local((reference, {}, "arm64")),), AutotagOptions())
    assert choice.image is None
    assert [entry.verdict.rule for entry in choice.candidates] == ["image-role"]


def test_autotag_ignores_images_without_a_name() -> None:
    """Images without a name are not candidates."""
    engine = FakeEngine()
    engine.store["x"] = LocalImage(
        id="sha256:1",
        references=("mlc:<none>", "<none>:<none>"),
        labels={},
        architecture="arm64",
        created="2026-11-20",
        size=1,
    )
    engine.store["y"] = LocalImage(
        id="sha256:2",
        references=(),
        labels=label("mlc:1-r36.4", ["mlc"], ORIN),
        architecture="arm64",
        created="2026-11-20",
        size=1,
    )
    assert choose(["mlc"], ORIN, (LocalSource(lambda: engine),), AutotagOptions()).candidates == ()


def test_autotag_judges_an_image_without_labels_by_its_name() -> None:
    """An image without labels is judged by its name."""
    choice = choose(["mlc"], ORIN, (local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64")),), AutotagOptions())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"


def test_autotag_does_not_believe_inherited_labels() -> None:
    """Somebody's image built FROM ours inherits role, packages and name; it is not ours and not named so."""
    marks = label("mlc:0.20.0-r36.4-cu126-22.04", ["numpy", "mlc:0.20.0"], ORIN)
    assert choose(["mlc"], ORIN, (local(("my/app:1", marks, "arm64")),), AutotagOptions()).candidates == ()
    choice = choose(["my/app"], ORIN, (local(("my/app:1", marks, "arm64")),), AutotagOptions())
    assert choice.image == "my/app:1"  # its platform, inherited, is true


def test_autotag_without_an_engine_has_no_local_images_and_says_so() -> None:
    """Without an engine there are no local images, and a notice says so."""

    def none() -> Any:
        raise EngineMissingError("no container engine")

    choice = choose(["mlc"], ORIN, (LocalSource(none),), AutotagOptions())
    assert choice.candidates == ()
    assert "no container engine" in choice.notices[0]


# several packages


BOTH = ("numpy:2.2", "llama_cpp:b9016")


def test_autotag_requires_all_packages_in_one_image() -> None:
    """An image must hold all packages."""
    both, one = "llm:r36.4-cu126-22.04", "llama_cpp:b9016-r36.4-cu126-22.04"
    place = local((one, label(one, BOTH[1:], ORIN), "arm64"), (both, label(both, BOTH, ORIN), "arm64"))
    choice = choose(["llama_cpp", "numpy"], ORIN, (place,), AutotagOptions())
    assert choice.image == both
    refused = [entry for entry in choice.candidates if not entry.verdict.ok]
    assert [(entry.candidate.reference, entry.verdict.rule) for entry in refused] == [(one, "contents")]


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


# registries and their order


def test_autotag_answers_from_the_shipped_list_without_network(tmp_path: Path) -> None:
    """The shipped list answers without network."""
    choice = choose(["mlc"], ORIN, (hub(tmp_path),), AutotagOptions())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"
    assert choice.notices[0].startswith("offline; using the list of docker.io of 2025-05-06")


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


OLD = "dustynv/mlc:0.1.4-r36.4.2"


@pytest.mark.parametrize(
    ("order", "image"),
    [
        ((SourceKind.LOCAL, SourceKind.REGISTRY), OLD),
        ((SourceKind.REGISTRY, SourceKind.LOCAL), "dustynv/mlc:0.20.0-r36.4.0"),
        ((SourceKind.REGISTRY,), "dustynv/mlc:0.20.0-r36.4.0"),
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_autotag_follows_the_preferred_source(
    tmp_path: Path, order: tuple[SourceKind, ...], image: str, everything: bool
) -> None:
    """The preferred source decides."""
    engine = engine_with((OLD, {}, "arm64"))
    chosen = AutotagOptions(order=order, registries=(ImageRepository("docker.io", "dustynv"),), explain=everything)
    places = sources(config(tmp_path), lambda: engine, chosen)
    choice = choose(["mlc"], ORIN, places, chosen)
    assert choice.image == image
    assert choice.candidates[0].rank == 1


def test_autotag_does_not_ask_a_registry_when_the_local_store_has_an_answer() -> None:
    """A registry is not asked when the local store has an answer."""

    class Never:
        kind = SourceKind.REGISTRY

        def find(self, request: Any, host: Any) -> SourceFindings:
            raise AssertionError("asked")

    place = local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64"))
    assert choose(["mlc"], ORIN, (place, Never()), AutotagOptions()).image
    with pytest.raises(AssertionError, match="asked"):
        choose(["mlc"], ORIN, (place, Never()), AutotagOptions(explain=True))


def listings_of(tmp_path: Path) -> Listings:
    clock = Clock()
    wire = Transport(clock=clock, sleep=clock.sleep, jitter=lambda: 0.0, env={})
    return Listings(tmp_path / "cache", lambda: RegistryClient(wire, lambda _host: None))


def test_autotag_asks_any_registry_and_reads_labels(tmp_path: Path) -> None:
    """Any registry is asked and its labels read."""
    name = "llama_cpp:b9016-r36.4-cu126-22.04"
    with FakeRegistry() as registry:
        registry.add_image("ns/llama_cpp", name.partition(":")[2], labels=label(name, BOTH, ORIN))
        registry.add_image("ns/llama_cpp", "b1-r32.7.1")
        place = RegistrySource(listings_of(tmp_path), (ImageRepository(registry.host, "ns"),))
        choice = choose(["llama_cpp", "numpy"], ORIN, (place,), AutotagOptions())
        assert choice.image == f"{registry.host}/ns/{name}"
        assert choice.best is not None
        assert choice.best.digest
        assert not any("b1-r32.7.1" in path for path in registry.paths())  # its name says enough


def test_autotag_reads_from_labels_what_the_name_does_not_say(tmp_path: Path) -> None:
    """What the name does not say comes from the labels."""
    with FakeRegistry() as registry:
        registry.add_image("ns/llm", "latest", labels=label("llm:latest", BOTH, ORIN))
        place = RegistrySource(listings_of(tmp_path), (ImageRepository(registry.host, "ns"),))
        assert choose(["llm"], ORIN, (place,), AutotagOptions()).image == f"{registry.host}/ns/llm:latest"
        assert choose(["llm"], NANO, (place,), AutotagOptions()).image is None


def test_autotag_finds_each_platform_of_a_multi_platform_tag(tmp_path: Path) -> None:
    """A multi-platform tag serves each of its platforms."""
    with FakeRegistry() as registry:
        images = {
            arch: registry.add_image("ns/llm", f"only-{arch}", arch=arch, labels=label("llm:latest", BOTH, platform))
            for arch, platform in (("arm64", ORIN), ("amd64", PC))
        }
        registry.add_index("ns/llm", "latest", images)
        place = RegistrySource(listings_of(tmp_path), (ImageRepository(registry.host, "ns"),))
        for host in (ORIN, PC):
            choice = choose(["llm:latest"], host, (place,), AutotagOptions())
            assert choice.image == f"{registry.host}/ns/llm:latest", refusals(choice.candidates)


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


def test_autotag_asks_the_other_registries_when_one_is_down(tmp_path: Path) -> None:
    """When one registry is down, the others are asked."""
    with FakeRegistry() as gone:
        down = ImageRepository(gone.host, "ns")
    with FakeRegistry() as registry:
        registry.add_image("ns/mlc", "0.20.0-r36.4-cu126-22.04")
        place = RegistrySource(listings_of(tmp_path), (down, ImageRepository(registry.host, "ns")))
        choice = choose(["mlc"], ORIN, (place,), AutotagOptions())
    assert choice.image == f"{registry.host}/ns/mlc:0.20.0-r36.4-cu126-22.04"
    assert "connection refused" in choice.problems[0].message


def test_autotag_asks_only_the_registry_that_a_request_names(tmp_path: Path) -> None:
    """A request that names a registry is asked there only."""
    with FakeRegistry() as registry:
        registry.add_image("deep/ns/mlc", "0.20.0-r36.4-cu126-22.04")
        place = RegistrySource(listings_of(tmp_path), (ImageRepository("registry.example", "ns"),))
        choice = choose([f"{registry.host}/deep/ns/mlc:0.20.0"], ORIN, (place,), AutotagOptions())
    assert choice.image == f"{registry.host}/deep/ns/mlc:0.20.0-r36.4-cu126-22.04"


# options


def test_options_are_made_of_words(tmp_path: Path) -> None:
    """Options are made of words."""
    made = options(config(tmp_path), prefer=["registry", "local"], disable=["local"])
    assert made.order == (SourceKind.REGISTRY,)
    assert made.registries[:2] == (
        ImageRepository("docker.io", "dustynv"), ImageRepository("ghcr.io", "nvidia-ai-iot"),
    )  # fmt: skip
    assert options(config(tmp_path)).order == (SourceKind.LOCAL, SourceKind.REGISTRY, SourceKind.BUILD)


@pytest.mark.parametrize(
    ("user", "registries", "expected"),
    [
        ("me", (), [ImageRepository("docker.io", "me")]),
        ("", ("reg:5000/ns", "ghcr.io/x"), [ImageRepository("reg:5000", "ns"), ImageRepository("ghcr.io", "x")]),
        ("me", ("reg:5000",), [ImageRepository("reg:5000", "me")]),
    ],
)
def test_options_user_and_registry_say_where_to_look(
    tmp_path: Path, user: str, registries: tuple[str, ...], expected: list[ImageRepository]
) -> None:
    """User and registry say where to look."""
    assert options(config(tmp_path), user=user, registries=registries).registries == tuple(expected)


@pytest.mark.parametrize("word", ["cloud", "Local", ""])
def test_options_refuse_an_unknown_source(tmp_path: Path, word: str) -> None:
    """A source that does not exist is an error."""
    with pytest.raises(UsageError, match="unknown source of images"):
        options(config(tmp_path), prefer=[word])


# finding: asking, pulling, building


def run(
    tmp_path: Path, request: Sequence[str] = ("mlc",), host: Platform = ORIN, *, engine: FakeEngine | None = None,
    console: Console | None = None, build: Any = None, **more: Any,
) -> str:  # fmt: skip
    made = config(tmp_path)
    return find(
        request, host, engine or FakeEngine(), made, console or quiet_console(), options(made, **more), build=build
    )


REMOTE = "dustynv/mlc:0.20.0-r36.4.0"


def test_autotag_without_a_terminal_answers_with_a_registry_image_and_pulls_nothing(tmp_path: Path) -> None:
    """Without a terminal a registry image is the answer, and nothing is pulled."""
    engine = FakeEngine()
    assert run(tmp_path, engine=engine) == REMOTE
    assert [call for call in engine.calls if call[0] == "pull"] == []


def test_autotag_without_a_terminal_builds_nothing(tmp_path: Path) -> None:
    """Without a terminal nothing is built."""
    with pytest.raises(NoCompatibleImageError) as caught:
        run(tmp_path, host=THOR, build=lambda _request: pytest.fail("built"))
    assert caught.value.exit_code == 127
    assert "./build.sh mlc" in (caught.value.hint or "")


@pytest.mark.parametrize(("answer", "pulled"), [("\n", True), ("y\n", True), ("n\n", False)])
def test_autotag_on_a_terminal_asks_for_a_pull_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, pulled: bool
) -> None:
    """On a terminal a pull is asked for, with its size."""
    engine = FakeEngine()
    engine.registry[REMOTE] = LocalImage(
        id="sha256:1", references=(REMOTE,), labels={}, architecture="arm64", created="2026-11-20", size=1
    )
    console = quiet_console(answers=answer, monkeypatch=monkeypatch)
    if pulled:
        assert run(tmp_path, engine=engine, console=console, disable=["build"]) == REMOTE
    else:
        with pytest.raises(NoCompatibleImageError, match="was not wanted"):
            run(tmp_path, engine=engine, console=console, disable=["build"])
    assert f"Found {REMOTE} (2025-05-02, " in said(console)
    assert " GB); pull it? [Y/n]" in said(console)
    assert (("pull", REMOTE) in engine.calls) is pulled


def test_autotag_with_yes_pulls_without_asking(tmp_path: Path) -> None:
    """`--yes` pulls without asking."""
    engine = FakeEngine()
    engine.registry[REMOTE] = LocalImage(
        id="sha256:1", references=(REMOTE,), labels={}, architecture="arm64", created="2026-11-20", size=1
    )
    console = quiet_console()
    assert run(tmp_path, engine=engine, console=console, yes=True) == REMOTE
    assert ("pull", REMOTE) in engine.calls
    assert "?" not in said(console)


def test_autotag_pull_that_fails_is_an_error(tmp_path: Path) -> None:
    """A pull that fails is an error."""
    with pytest.raises(RegistryError):
        run(tmp_path, engine=FakeEngine(registry_down=True), yes=True)


@pytest.mark.parametrize(
    ("answers", "more", "built"),
    [
        ("y\n", {}, True),
        ("n\n", {}, False),
        ("\n", {}, False),
        ("y\n", {"quiet": True}, False),
        (None, {"yes": True}, True),
    ],
)
def test_autotag_builds_when_it_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str | None, more: dict[str, Any], built: bool
) -> None:
    """A build happens when it was wanted."""
    requests: list[Sequence[str]] = []

    def build(request: Sequence[str]) -> str:
        requests.append(request)
        return "mlc:built"

    console = quiet_console(answers=answers, monkeypatch=monkeypatch)
    if built:
        assert run(tmp_path, host=THOR, console=console, build=build, **more) == "mlc:built"
    else:
        with pytest.raises(NoCompatibleImageError):
            run(tmp_path, host=THOR, console=console, build=build, **more)
    assert bool(requests) is built
    if more.get("quiet"):
        assert "?" not in said(console)


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


@pytest.mark.parametrize(
    ("target", "package", "image"),
    [
        ("r39.2", "vllm", "vllm/vllm-openai:v0.29.0"),
        ("r38.2", "vllm", "vllm/vllm-openai:v0.29.0"),
        ("r36.4.3", "vllm", "ghcr.io/nvidia-ai-iot/vllm:0.14.0-r36.4-tegra-aarch64-cu126-22.04"),
        ("r36.3", "vllm", None),
        ("x86_64,cu129", "vllm", "vllm/vllm-openai:v0.28.0-cu129"),
        ("r38.2", "llama_cpp", "ghcr.io/nvidia-ai-iot/llama_cpp:latest-jetson-thor"),
        ("r38.2", "ollama", "ghcr.io/nvidia-ai-iot/ollama:r38.2.arm64-sbsa-cu130-24.04"),
        ("r36.4.3", "ollama", "ollama/ollama:0.40.0"),
        ("r35.4.1", "ollama", "ollama/ollama:0.40.0"),
        ("r38.2", "sglang", "nvcr.io/nvidia/sglang:25.10-py3"),
        ("agx-thor,r39.2", "sglang", "nvcr.io/nvidia/sglang:26.01-py3"),
        ("agx-orin-64gb,r39.2", "sglang", None),
        ("r36.4.3", "mlc", "dustynv/mlc:0.20.0-r36.4.0"),
        ("r39.2", "vllm:v0.23.0", "vllm/vllm-openai:v0.23.0-aarch64-ubuntu2404"),
        ("r39.2", "vllm:0.23.0", "vllm/vllm-openai:v0.23.0-aarch64-ubuntu2404"),
        ("r38.2", "vllm/vllm-openai", "vllm/vllm-openai:v0.29.0"),
    ],
)
def test_autotag_answers_from_the_default_registries(
    tmp_path: Path, target: str, package: str, image: str | None
) -> None:
    """The newest version among several registries that runs there; what nobody says anything about is no answer."""
    settings = config(tmp_path)
    chosen = options(settings, disable=["local"])
    places = sources(settings, FakeEngine, chosen)
    assert choose([package], parse_target(target), places, chosen).image == image


def test_autotag_finds_an_official_image_that_is_here(tmp_path: Path) -> None:
    """An image of another project's that was pulled is found by the package it holds."""
    engine = engine_with(("vllm/vllm-openai:v0.28.0", {}, "arm64"), ("somebody/vllm-openai:v0.28.0", {}, "arm64"))
    chosen = options(config(tmp_path), disable=["registry"])
    choice = choose(["vllm"], THOR, (LocalSource(lambda: engine),), chosen)
    assert [entry.candidate.reference for entry in choice.candidates] == ["vllm/vllm-openai:v0.28.0"]
    assert choice.image == "vllm/vllm-openai:v0.28.0"


def test_autotag_says_that_a_registry_refused_beside_its_answer(tmp_path: Path) -> None:
    """Where one registry refuses and another answers, both are said."""
    console = quiet_console()
    with FakeRegistry() as open_one, FakeRegistry(auth="basic", login=("me", "secret")) as closed:
        open_one.add_image("ns/mlc", "0.20.0-r36.4-cu126-22.04")
        chosen = options(
            config(tmp_path, offline=False), registries=[f"{closed.host}/ns", f"{open_one.host}/ns"], disable=["local"]
        )
        image = find(["mlc"], ORIN, FakeEngine(), config(tmp_path, offline=False), console, chosen)
    assert image == f"{open_one.host}/ns/mlc:0.20.0-r36.4-cu126-22.04"
    assert f"registry {closed.host}: wants a login" in said(console)


def test_autotag_build_can_be_preferred_and_disabled(tmp_path: Path) -> None:
    """Building can be preferred and disabled."""
    assert run(tmp_path, prefer=["build", "registry"], yes=True, build=lambda _r: "mlc:built") == "mlc:built"
    with pytest.raises(NoCompatibleImageError):
        run(tmp_path, host=THOR, disable=["build"], yes=True, build=lambda _r: "mlc:built")


def test_autotag_offers_a_build_after_a_refused_pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a refused pull, building is offered."""
    console = quiet_console(answers="n\ny\n", monkeypatch=monkeypatch)
    assert run(tmp_path, console=console, build=lambda _r: "mlc:built") == "mlc:built"


def test_autotag_without_an_engine_answers_from_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an engine the registry still answers."""
    engine = FakeEngine(missing=EngineMissingError("no container engine"))
    console = quiet_console(answers="", monkeypatch=monkeypatch)
    assert run(tmp_path, engine=engine, console=console) == REMOTE
    assert "local images are not considered: no container engine" in said(console)
    assert "?" not in said(console)


def test_autotag_says_the_age_of_the_list_once(tmp_path: Path) -> None:
    """The age of the list is said once."""
    console = quiet_console()
    run(tmp_path, console=console, explain=True)
    assert said(console).count("using the list of docker.io of 2025-05-06") == 1


def test_autotag_reports_an_unreachable_registry_when_nothing_is_known(tmp_path: Path) -> None:
    """A registry that cannot be asked is the error when nothing is known."""
    with FakeRegistry() as gone:
        place = RegistrySource(listings_of(tmp_path), (ImageRepository(gone.host, "ns"),))
    choice = choose(["mlc"], ORIN, (place,), AutotagOptions())
    assert refusal(choice).exit_code == 4
    with_candidates = merge(["mlc"], ORIN, [choose(["mlc"], THOR, (hub(tmp_path),), AutotagOptions()), choice])
    error = refusal(with_candidates)
    assert error.exit_code == 127
    assert "connection refused" in error.details[-1]


# pins


def test_pin_is_a_reference_with_its_digest(tmp_path: Path) -> None:
    """A pin is a reference with its digest."""
    image = run(tmp_path, pin=True)
    assert image.startswith(REMOTE + "@sha256:")
    parsed = ImageName.parse(image)
    assert parsed.digest


def test_pin_of_a_local_image_of_a_registry_is_its_digest(tmp_path: Path) -> None:
    """A local image that came from a registry is pinned by its digest."""
    engine = FakeEngine()
    digest = "sha256:" + "a" * 64
    engine.store[REMOTE] = LocalImage(
        id="sha256:1",
        references=(REMOTE,),
        labels={},
        architecture="arm64",
        created="2026-11-20T00:00:00Z",
        size=1,
        digests=(f"dustynv/mlc@{digest}",),
    )
    assert run(tmp_path, engine=engine, pin=True) == f"{REMOTE}@{digest}"


def test_pin_of_a_local_image_without_digest_is_its_id_with_a_notice(tmp_path: Path) -> None:
    """A local image without digest is pinned by its id, with a notice."""
    console = quiet_console()
    image = run(tmp_path, engine=engine_with((REMOTE, {}, "arm64")), console=console, pin=True)
    assert image == f"sha256:{0:064x}"
    assert "on this machine only" in said(console)


# what is shown


def test_refusals_name_the_nearest_and_give_one_line_per_reason(tmp_path: Path) -> None:
    """The refusals are the nearest image and one line per rule, with how many it refuses."""
    choice = choose(["mlc"], THOR, (hub(tmp_path),), AutotagOptions())
    rows = refusals(choice.candidates)
    rules = [entry.verdict.rule for entry in choice.candidates]
    assert rows[0].startswith("nearest: dustynv/mlc:0.20.0-r36")
    assert [row.split()[0] for row in rows[1:-1]] == list(dict.fromkeys(rules))
    assert sum(int(row.split()[1]) for row in rows[1:-1]) == len(rules) == 29
    assert rows[-1] == "`--explain` shows each"
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


def test_autotag_of_an_unknown_name_finds_no_image(tmp_path: Path) -> None:
    """An unknown name finds no image."""
    with pytest.raises(NoCompatibleImageError, match="no image of nothing-like-it is known"):
        run(tmp_path, ["nothing-like-it"])


def test_explanation_json_is_the_documented_one(tmp_path: Path) -> None:
    """The explanation has the documented JSON."""
    choice = choose(["mlc"], ORIN, (hub(tmp_path),), AutotagOptions(explain=True))
    console = quiet_console()
    console.result_json(choice.to_json())
    assert isinstance(console.out, io.StringIO)
    data = json.loads(console.out.getvalue())
    assert data["request"] == ["mlc"]
    assert data["choice"] == REMOTE
    assert data["platform"]["arch"] == "tegra"
    assert {"image", "source", "ok", "reason", "rank"} <= set(data["candidates"][0])
    assert [entry["rank"] for entry in data["candidates"] if entry["ok"]] == list(
        range(1, 1 + sum(entry["ok"] for entry in data["candidates"]))
    )
    assert all(entry["rank"] is None and entry["reason"] for entry in data["candidates"] if not entry["ok"])


def test_explanation_goes_to_stderr(tmp_path: Path) -> None:
    """The explanation goes to the standard error."""
    console = quiet_console()
    explain(choose(["mlc"], ORIN, (hub(tmp_path),), AutotagOptions(explain=True)), console)
    assert REMOTE in said(console)
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue() == ""


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
    assert one == two


def test_autotag_asks_each_source_once(tmp_path: Path) -> None:
    """A source is asked once."""
    asked: list[int] = []

    class Counting:
        kind = SourceKind.LOCAL

        def find(self, request: Any, host: Any) -> SourceFindings:
            asked.append(1)
            return SourceFindings()

    search = ImageSearch(["mlc"], ORIN, (Counting(),), replace(AutotagOptions(), order=(SourceKind.LOCAL,)))
    search.of(SourceKind.LOCAL)
    search.everything()
    assert asked == [1]


class CountedTags(tuple[Tag, ...]):
    """The tags of a listing, which count how often all of them are gone through."""

    __slots__ = ()
    passes = 0

    def __iter__(self) -> Iterator[Tag]:
        CountedTags.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("count", [100, 400])
@pytest.mark.parametrize("pattern", ["r36.4.{}", "0.{}-r36.4.0", "v{}", "r35.{}", "{}-cu126"])
def test_autotag_work_grows_only_with_the_tags_of_a_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, pattern: str
) -> None:
    """Images are never compared with one another, and however many tags there are, they are gone through as often."""
    CountedTags.passes = 0
    asked: list[str] = []
    tags = CountedTags(Tag(tag=pattern.format(number)) for number in range(count))

    class Given(Listings):
        def get(self, repository: ImageRepository) -> TagListing:
            return TagListing(repository=repository, tags=tags, fetched="2026-01-01T00:00:00Z", origin="live")

        def _describe(self, repository: ImageRepository, tag: str, architecture: str) -> list[Tag]:
            asked.append(tag)
            return []

    def compared(_self: ImageCandidate, _other: object) -> bool:
        raise AssertionError("compared with another image")

    def no_client() -> RegistryClient:
        raise AssertionError("nobody is asked here")

    monkeypatch.setattr(ImageCandidate, "__eq__", compared)
    source = RegistrySource(Given(tmp_path, no_client), (ImageRepository("registry.test", "ns"),))
    choice = choose(["mlc"], ORIN, (source,), AutotagOptions())
    assert len(choice.candidates) == count
    assert 0 < len(asked) == len(set(asked)) <= MOST_CONFIGS
    assert CountedTags.passes <= 6
