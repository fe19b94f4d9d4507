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
from jetson_containers.autotag.search import Options, Search, choose, explain, find, options, refusal, refusals, sources
from jetson_containers.autotag.sources import MOST_CONFIGS, LocalSource, RegistrySource
from jetson_containers.autotag.types import Candidate, Found, Kind, Wanted
from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import EngineMissingError, NoCompatibleImageError, RegistryError, UsageError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.images import labels
from jetson_containers.images.name import ImageName
from jetson_containers.platforms.detect import Arch, Platform
from jetson_containers.registry import Listing, Listings, Repository, Tag
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.listing import SNAPSHOT
from tests.fakes import FakeEngine
from tests.unit.fakeregistry import Clock, FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings

ORIN = Platform(
    Arch.TEGRA, Version("36.4.3"), "6.2", Version("12.6"), Version("12.6"), Version("3.10"), "ubuntu", "22.04", (87,),
    soc="t234", board="agx-orin-64gb",
)  # fmt: skip
NANO = Platform(
    Arch.TEGRA, Version("32.7.4"), "4.6.4", Version("10.2"), Version("10.2"), Version("3.6"), "ubuntu", "18.04", (53,),
    soc="t210", board="nano",
)  # fmt: skip
THOR = Platform(
    Arch.SBSA, Version("38.4.0"), "7.1", Version("13.0"), Version("13.0"), Version("3.12"), "ubuntu", "24.04", (110,),
    soc="t264", board="agx-thor",
)  # fmt: skip
PC = Platform(Arch.X86_64, None, None, None, None, Version("3.12"), "ubuntu", "24.04", ())


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
            f"sha256:{number:064x}",
            (reference,),
            image_labels,
            architecture,
            f"2026-11-{20 - number:02}T00:00:00Z",
            1000,
        )
    return engine


def local(*images: tuple[str, Mapping[str, str], str]) -> LocalSource:
    engine = engine_with(*images)
    return LocalSource(lambda: engine)


def hub(tmp_path: Path) -> RegistrySource:
    """Docker Hub as it was when the shipped list was made."""
    return RegistrySource(Listings.of(config(tmp_path)), (Repository("docker.io", "dustynv"),))


def quiet_console(*, answers: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> Console:
    """A console that is no terminal, or one where somebody types `answers`."""
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
def test_a_request_is_a_package_or_an_image(
    text: str, registry: str | None, namespace: str | None, name: str, tag: str | None
) -> None:
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace, wanted.name, wanted.tag) == (registry, namespace, name, tag)


@pytest.mark.parametrize(
    "text", ["", " ", "mlc:", "a b", "-x", "ns//mlc", "mlc:$(x)", "mlc@sha256:1", "/mlc", "mlc;ls"]
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no package and no image"):
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
def test_a_tag_fits_as_upstream_has_it(wanted: str, tag: str, fits: bool) -> None:
    assert Wanted.parse(wanted).fits(tag) is fits


def test_every_published_reference_requests_itself() -> None:
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
def test_a_request_has_the_parts_of_the_reference_it_is(
    registry: str, namespace: list[str], name: str, tag: str | None
) -> None:
    text = registry + "/".join([*namespace, name]) + (f":{tag}" if tag else "")
    assume(registry or not namespace or (not set(namespace[0]) & set(".:") and namespace[0] != "localhost"))
    wanted = Wanted.parse(text)
    assert (wanted.registry, wanted.namespace) == (registry.rstrip("/") or None, "/".join(namespace) or None)
    assert (wanted.name, wanted.tag) == (name, tag)
    assert wanted.in_place(ImageName.parse(text))


@given(st.text(max_size=30))
def test_any_text_is_a_request_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        Wanted.parse(text)


def test_no_request_is_an_error() -> None:
    with pytest.raises(UsageError, match="no package was named"):
        choose([], ORIN, (), Options())


# the local store


def test_a_local_image_that_runs_is_the_answer() -> None:
    place = local(
        ("mlc:0.20.0-r36.4-cu126-22.04", label("mlc:0.20.0-r36.4-cu126-22.04", ["mlc:0.20.0"], ORIN), "arm64")
    )
    choice = choose(["mlc"], ORIN, (place,), Options())
    assert choice.image == "mlc:0.20.0-r36.4-cu126-22.04"
    assert [(entry.rank, entry.verdict.ok) for entry in choice.candidates] == [(1, True)]


def test_local_images_are_judged_like_remote_ones() -> None:
    """JC#353: 'local images come first, and for those it does no version checks'."""
    place = local(
        ("dustynv/mlc:r35.4.1", {}, "arm64"),
        ("mlc:0.1.0-r32.7.1", {}, "arm64"),
        ("mlc:0.20.0-x86_64-cu128-24.04", {}, "amd64"),
    )
    choice = choose(["mlc"], ORIN, (place,), Options())
    assert choice.image is None
    assert len(choice.candidates) == 3
    assert all(entry.verdict.rule and entry.verdict.reason for entry in choice.candidates)


@pytest.mark.parametrize("role", [labels.STAGE, labels.ARTIFACT, "building"])
def test_an_image_under_construction_never_wins(role: str) -> None:
    """JC#324, JC#787: half-built images were offered as the result."""
    name = "mlc:0.20.0-r36.4-cu126-22.04"
    marks = label(name, ["mlc:0.20.0"], ORIN, role)
    choice = choose(["mlc"], ORIN, (local((name, marks, "arm64")),), Options())
    assert choice.image is None
    assert choice.candidates[0].verdict.rule == "image-role"


@pytest.mark.parametrize(
    "reference", ["jetson-containers/stage:mlc-r36.4-cu126-22.04", "jetson-containers/stage/mlc:r36.4-cu126-22.04"]
)
def test_a_stage_is_known_by_its_name_too(reference: str) -> None:
    choice = choose([reference.partition(":")[0]], ORIN, (local((reference, {}, "arm64")),), Options())
    assert choice.image is None
    assert [entry.verdict.rule for entry in choice.candidates] == ["image-role"]


def test_nameless_images_are_no_candidates() -> None:
    engine = FakeEngine()
    engine.store["x"] = LocalImage("sha256:1", ("mlc:<none>", "<none>:<none>"), {}, "arm64", "2026-11-20", 1)
    engine.store["y"] = LocalImage("sha256:2", (), label("mlc:1-r36.4", ["mlc"], ORIN), "arm64", "2026-11-20", 1)
    assert choose(["mlc"], ORIN, (LocalSource(lambda: engine),), Options()).candidates == ()


def test_an_image_without_labels_is_judged_by_its_name() -> None:
    choice = choose(["mlc"], ORIN, (local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64")),), Options())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"


def test_labels_inherited_from_one_of_ours_prove_nothing() -> None:
    """Somebody's image built FROM ours inherits role, packages and name; it is not ours and not named so."""
    marks = label("mlc:0.20.0-r36.4-cu126-22.04", ["numpy", "mlc:0.20.0"], ORIN)
    assert choose(["mlc"], ORIN, (local(("my/app:1", marks, "arm64")),), Options()).candidates == ()
    choice = choose(["my/app"], ORIN, (local(("my/app:1", marks, "arm64")),), Options())
    assert choice.image == "my/app:1"  # its platform, inherited, is true


def test_no_engine_means_no_local_images_and_is_said() -> None:
    def none() -> Any:
        raise EngineMissingError("no container engine")

    choice = choose(["mlc"], ORIN, (LocalSource(none),), Options())
    assert choice.candidates == ()
    assert "no container engine" in choice.notices[0]


# several packages


BOTH = ("numpy:2.2", "llama_cpp:b9016")


def test_an_image_must_hold_all_packages() -> None:
    both, one = "llm:r36.4-cu126-22.04", "llama_cpp:b9016-r36.4-cu126-22.04"
    place = local((one, label(one, BOTH[1:], ORIN), "arm64"), (both, label(both, BOTH, ORIN), "arm64"))
    choice = choose(["llama_cpp", "numpy"], ORIN, (place,), Options())
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
def test_versions_are_those_of_the_label(request_: list[str], fits: bool) -> None:
    name = "llama_cpp:b9016-r36.4-cu126-22.04"
    choice = choose(request_, ORIN, (local((name, label(name, BOTH, ORIN), "arm64")),), Options())
    assert (choice.image == name) is fits
    if not fits:
        assert choice.candidates[0].verdict.rule == "version"


def test_unknown_contents_never_match_a_second_package(tmp_path: Path) -> None:
    """JC: `autotag a b` used only the first package."""
    choice = choose(["mlc", "pytorch"], ORIN, (hub(tmp_path),), Options())
    assert choice.image is None
    named = {entry.verdict.rule for entry in choice.candidates}
    assert named == {"contents"}


def test_contents_may_be_known_from_elsewhere(tmp_path: Path) -> None:
    inside = {"mlc": ["mlc", "pytorch"]}
    chosen = Options(contents=lambda name: inside.get(name, ()))
    choice = choose(["mlc", "pytorch"], ORIN, (hub(tmp_path),), chosen)
    assert choice.image is not None
    assert choice.image.startswith("dustynv/mlc:")


def test_an_image_that_bears_the_name_comes_before_one_that_holds_the_package() -> None:
    named, other = "numpy:2.1-r36.4-cu126-22.04", "llama_cpp:b9016-r36.4-cu126-22.04"
    place = local((other, label(other, BOTH, ORIN), "arm64"), (named, label(named, ["numpy:2.1"], ORIN), "arm64"))
    choice = choose(["numpy"], ORIN, (place,), Options())
    assert [entry.candidate.reference for entry in choice.candidates] == [named, other]
    assert choose(["llama_cpp"], ORIN, (place,), Options()).image == other


def test_of_images_that_only_hold_it_the_smallest_set_wins() -> None:
    large, small = "b:1-r36.4-cu126-22.04", "a:9-r36.4-cu126-22.04"
    place = local(
        (large, label(large, ["numpy", "x", "y", "b:1"], ORIN), "arm64"),
        (small, label(small, ["numpy", "a:9"], ORIN), "arm64"),
    )
    assert choose(["numpy"], ORIN, (place,), Options()).image == small


def test_aliases_are_names(tmp_path: Path) -> None:
    chosen = Options(aliases=lambda name: ["pytorch"] if name == "torch" else [])
    image = choose(["torch"], ORIN, (hub(tmp_path),), chosen).image
    assert image is not None
    assert image.startswith("dustynv/pytorch:")


def test_aliases_are_asked_for_only_when_the_name_finds_nothing(tmp_path: Path) -> None:
    asked: list[str] = []

    def aliases(name: str) -> list[str]:
        asked.append(name)
        return ["pytorch"] if name == "torch" else []

    places = (local(("dustynv/pytorch:2.6-r36.4.0-cu128", {}, "arm64")), hub(tmp_path))
    assert choose(["mlc"], ORIN, places, Options(aliases=aliases)).image
    assert asked == []
    choice = choose(["torch"], ORIN, places, Options(aliases=aliases))
    assert asked == ["torch"]
    assert choice.image == "dustynv/pytorch:2.6-r36.4.0-cu128"  # the local one, as without an alias
    assert choose(["nothing-like-it"], ORIN, places, Options(aliases=aliases)).candidates == ()


def test_a_namespace_is_kept(tmp_path: Path) -> None:
    """JC: `foo/mlc` became `dustynv/mlc`."""
    assert choose(["foo/mlc"], ORIN, (hub(tmp_path),), Options()).image is None
    place = local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64"), ("foo/mlc:0.19.0-r36.4.0", {}, "arm64"))
    assert choose(["foo/mlc"], ORIN, (place,), Options()).image == "foo/mlc:0.19.0-r36.4.0"
    assert choose(["foo/mlc:0.20.0"], ORIN, (place,), Options()).image is None


# registries and their order


def test_the_shipped_list_answers_without_network(tmp_path: Path) -> None:
    choice = choose(["mlc"], ORIN, (hub(tmp_path),), Options())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"
    assert choice.notices[0].startswith("offline; using the list of docker.io of 2025-05-06")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [(ORIN, {"r36.4"}), (NANO, {"r32.7"}), (THOR, set()), (PC, set())],
    ids=["Orin", "Nano", "Thor", "PC without GPU"],
)
@pytest.mark.parametrize("name", ["mlc", "llama_cpp", "l4t-pytorch", "nano_llm", "jetson-inference"])
def test_only_images_of_the_hosts_own_release_family(
    tmp_path: Path, host: Platform, allowed: set[str], name: str
) -> None:
    choice = choose([name], host, (hub(tmp_path),), Options())
    fit = [entry.candidate.name for entry in choice.candidates if entry.verdict.ok]
    releases = {f"r{one.platform.l4t.major}.{one.platform.l4t.minor}" for one in fit if one.platform.l4t}
    assert releases <= allowed
    assert len(choice.candidates) > 1


def test_an_exact_reference_is_judged_too(tmp_path: Path) -> None:
    assert choose(["dustynv/mlc:0.20.0-r36.4.0"], ORIN, (hub(tmp_path),), Options()).image
    refused = choose(["dustynv/mlc:0.20.0-r36.4.0"], NANO, (hub(tmp_path),), Options())
    assert refused.image is None
    (entry,) = [e for e in refused.candidates if e.candidate.reference == "dustynv/mlc:0.20.0-r36.4.0"]
    assert entry.verdict.rule not in {"version", "contents"}


def test_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    choice = choose(["mlc:0.19.*"], ORIN, (hub(tmp_path),), Options())
    fit = [entry.candidate.name.tag for entry in choice.candidates if entry.verdict.ok]
    assert fit == ["0.19.5-r36.4.0", "0.19.4-r36.4.0", "0.19.3-r36.4.0", "0.19.2-r36.4.0", "0.19.1-r36.4.0",
                   "0.19.0-r36.4.0"]  # fmt: skip
    assert {e.verdict.rule for e in choice.candidates if not e.verdict.ok} == {"version"}


def test_a_digest_is_an_exact_request(tmp_path: Path) -> None:
    first = choose(["mlc"], ORIN, (hub(tmp_path),), Options()).best
    assert first is not None
    choice = choose([f"dustynv/mlc@{first.digest}"], ORIN, (hub(tmp_path),), Options())
    assert choice.image == first.reference
    assert {e.verdict.rule for e in choice.candidates if not e.verdict.ok} == {"digest"}


OLD = "dustynv/mlc:0.1.4-r36.4.2"


@pytest.mark.parametrize(
    ("order", "image"),
    [
        ((Kind.LOCAL, Kind.REGISTRY), OLD),
        ((Kind.REGISTRY, Kind.LOCAL), "dustynv/mlc:0.20.0-r36.4.0"),
        ((Kind.REGISTRY,), "dustynv/mlc:0.20.0-r36.4.0"),
    ],
)
@pytest.mark.parametrize("everything", [False, True])
def test_the_preferred_source_decides(tmp_path: Path, order: tuple[Kind, ...], image: str, everything: bool) -> None:
    engine = engine_with((OLD, {}, "arm64"))
    chosen = Options(order=order, registries=(Repository("docker.io", "dustynv"),), explain=everything)
    places = sources(config(tmp_path), lambda: engine, chosen)
    choice = choose(["mlc"], ORIN, places, chosen)
    assert choice.image == image
    assert choice.candidates[0].rank == 1


def test_a_registry_is_not_asked_when_the_local_store_has_an_answer() -> None:
    class Never:
        kind = Kind.REGISTRY

        def find(self, request: Any, host: Any) -> Found:
            raise AssertionError("asked")

    place = local(("dustynv/mlc:0.20.0-r36.4.0", {}, "arm64"))
    assert choose(["mlc"], ORIN, (place, Never()), Options()).image
    with pytest.raises(AssertionError, match="asked"):
        choose(["mlc"], ORIN, (place, Never()), Options(explain=True))


def listings_of(tmp_path: Path) -> Listings:
    clock = Clock()
    wire = Transport(clock=clock, sleep=clock.sleep, jitter=lambda: 0.0, env={})
    return Listings(tmp_path / "cache", lambda: RegistryClient(wire, lambda _host: None))


def test_any_registry_is_asked_and_its_labels_read(tmp_path: Path) -> None:
    name = "llama_cpp:b9016-r36.4-cu126-22.04"
    with FakeRegistry() as registry:
        registry.add_image("ns/llama_cpp", name.partition(":")[2], labels=label(name, BOTH, ORIN))
        registry.add_image("ns/llama_cpp", "b1-r32.7.1")
        place = RegistrySource(listings_of(tmp_path), (Repository(registry.host, "ns"),))
        choice = choose(["llama_cpp", "numpy"], ORIN, (place,), Options())
        assert choice.image == f"{registry.host}/ns/{name}"
        assert choice.best is not None
        assert choice.best.digest
        assert not any("b1-r32.7.1" in path for path in registry.paths())  # its name says enough


def test_what_the_name_does_not_say_comes_from_the_labels(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        registry.add_image("ns/llm", "latest", labels=label("llm:latest", BOTH, ORIN))
        place = RegistrySource(listings_of(tmp_path), (Repository(registry.host, "ns"),))
        assert choose(["llm"], ORIN, (place,), Options()).image == f"{registry.host}/ns/llm:latest"
        assert choose(["llm"], NANO, (place,), Options()).image is None


def test_a_multi_platform_tag_serves_each_of_its_platforms(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        images = {
            arch: registry.add_image("ns/llm", f"only-{arch}", arch=arch, labels=label("llm:latest", BOTH, platform))
            for arch, platform in (("arm64", ORIN), ("amd64", PC))
        }
        registry.add_index("ns/llm", "latest", images)
        place = RegistrySource(listings_of(tmp_path), (Repository(registry.host, "ns"),))
        for host in (ORIN, PC):
            choice = choose(["llm:latest"], host, (place,), Options())
            assert choice.image == f"{registry.host}/ns/llm:latest", refusals(choice.candidates)


def test_the_order_of_registries_breaks_a_tie(tmp_path: Path) -> None:
    name = "mlc:0.20.0-r36.4-cu126-22.04"
    with FakeRegistry() as one, FakeRegistry() as two:
        for registry in (one, two):
            registry.add_image("ns/mlc", name.partition(":")[2], labels=label(name, ["mlc:0.20.0"], ORIN))
        for first, second in ((one, two), (two, one)):
            spaces = (Repository(first.host, "ns"), Repository(second.host, "ns"))
            place = RegistrySource(listings_of(tmp_path), spaces)
            assert choose(["mlc"], ORIN, (place,), Options()).image == f"{first.host}/ns/{name}"


def test_one_registry_down_leaves_the_others(tmp_path: Path) -> None:
    with FakeRegistry() as gone:
        down = Repository(gone.host, "ns")
    with FakeRegistry() as registry:
        registry.add_image("ns/mlc", "0.20.0-r36.4-cu126-22.04")
        place = RegistrySource(listings_of(tmp_path), (down, Repository(registry.host, "ns")))
        choice = choose(["mlc"], ORIN, (place,), Options())
    assert choice.image == f"{registry.host}/ns/mlc:0.20.0-r36.4-cu126-22.04"
    assert "connection refused" in choice.problems[0].message


def test_a_request_that_names_a_registry_is_asked_there_only(tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        registry.add_image("deep/ns/mlc", "0.20.0-r36.4-cu126-22.04")
        place = RegistrySource(listings_of(tmp_path), (Repository("registry.example", "ns"),))
        choice = choose([f"{registry.host}/deep/ns/mlc:0.20.0"], ORIN, (place,), Options())
    assert choice.image == f"{registry.host}/deep/ns/mlc:0.20.0-r36.4-cu126-22.04"


# options


def test_options_are_words(tmp_path: Path) -> None:
    made = options(config(tmp_path), prefer=["registry", "local"], disable=["local"])
    assert made.order == (Kind.REGISTRY,)
    assert made.registries == (Repository("docker.io", "dustynv"),)
    assert options(config(tmp_path)).order == (Kind.LOCAL, Kind.REGISTRY, Kind.BUILD)


@pytest.mark.parametrize(
    ("user", "registries", "expected"),
    [
        ("me", (), [Repository("docker.io", "me")]),
        ("", ("reg:5000/ns", "ghcr.io/x"), [Repository("reg:5000", "ns"), Repository("ghcr.io", "x")]),
        ("me", ("reg:5000",), [Repository("reg:5000", "me")]),
    ],
)
def test_user_and_registry_say_where_to_look(
    tmp_path: Path, user: str, registries: tuple[str, ...], expected: list[Repository]
) -> None:
    assert options(config(tmp_path), user=user, registries=registries).registries == tuple(expected)


@pytest.mark.parametrize("word", ["cloud", "Local", ""])
def test_a_source_that_does_not_exist_is_an_error(tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError, match="no source of images"):
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


def test_without_a_terminal_a_registry_image_is_the_answer_and_nothing_is_pulled(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert run(tmp_path, engine=engine) == REMOTE
    assert [call for call in engine.calls if call[0] == "pull"] == []


def test_without_a_terminal_nothing_is_built(tmp_path: Path) -> None:
    with pytest.raises(NoCompatibleImageError) as caught:
        run(tmp_path, host=THOR, build=lambda _request: pytest.fail("built"))
    assert caught.value.exit_code == 127
    assert "./build.sh mlc" in (caught.value.hint or "")


@pytest.mark.parametrize(("answer", "pulled"), [("\n", True), ("y\n", True), ("n\n", False)])
def test_on_a_terminal_a_pull_is_asked_for_with_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, pulled: bool
) -> None:
    engine = FakeEngine()
    engine.registry[REMOTE] = LocalImage("sha256:1", (REMOTE,), {}, "arm64", "2026-11-20", 1)
    console = quiet_console(answers=answer, monkeypatch=monkeypatch)
    if pulled:
        assert run(tmp_path, engine=engine, console=console, disable=["build"]) == REMOTE
    else:
        with pytest.raises(NoCompatibleImageError, match="was not wanted"):
            run(tmp_path, engine=engine, console=console, disable=["build"])
    assert f"Found {REMOTE} (2025-05-02, " in said(console)
    assert " GB); pull it? [Y/n]" in said(console)
    assert (("pull", REMOTE) in engine.calls) is pulled


def test_yes_pulls_without_asking(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.registry[REMOTE] = LocalImage("sha256:1", (REMOTE,), {}, "arm64", "2026-11-20", 1)
    console = quiet_console()
    assert run(tmp_path, engine=engine, console=console, yes=True) == REMOTE
    assert ("pull", REMOTE) in engine.calls
    assert "?" not in said(console)


def test_a_pull_that_fails_is_an_error(tmp_path: Path) -> None:
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
def test_a_build_happens_when_it_was_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str | None, more: dict[str, Any], built: bool
) -> None:
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


def test_build_can_be_preferred_and_disabled(tmp_path: Path) -> None:
    assert run(tmp_path, prefer=["build", "registry"], yes=True, build=lambda _r: "mlc:built") == "mlc:built"
    with pytest.raises(NoCompatibleImageError):
        run(tmp_path, host=THOR, disable=["build"], yes=True, build=lambda _r: "mlc:built")


def test_after_a_refused_pull_building_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    console = quiet_console(answers="n\ny\n", monkeypatch=monkeypatch)
    assert run(tmp_path, console=console, build=lambda _r: "mlc:built") == "mlc:built"


def test_without_an_engine_the_registry_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(missing=EngineMissingError("no container engine"))
    console = quiet_console(answers="", monkeypatch=monkeypatch)
    assert run(tmp_path, engine=engine, console=console) == REMOTE
    assert "local images are not considered: no container engine" in said(console)
    assert "?" not in said(console)


def test_the_age_of_the_list_is_said_once(tmp_path: Path) -> None:
    console = quiet_console()
    run(tmp_path, console=console, explain=True)
    assert said(console).count("using the list of docker.io of 2025-05-06") == 1


def test_a_registry_that_cannot_be_asked_is_the_error_when_nothing_is_known(tmp_path: Path) -> None:
    with FakeRegistry() as gone:
        place = RegistrySource(listings_of(tmp_path), (Repository(gone.host, "ns"),))
    choice = choose(["mlc"], ORIN, (place,), Options())
    assert refusal(choice).exit_code == 4
    with_candidates = merge(["mlc"], ORIN, [choose(["mlc"], THOR, (hub(tmp_path),), Options()), choice])
    error = refusal(with_candidates)
    assert error.exit_code == 127
    assert "connection refused" in error.details[-1]


# pins


def test_a_pin_is_a_reference_with_its_digest(tmp_path: Path) -> None:
    image = run(tmp_path, pin=True)
    assert image.startswith(REMOTE + "@sha256:")
    parsed = ImageName.parse(image)
    assert parsed.digest


def test_a_local_image_that_came_from_a_registry_is_pinned_by_its_digest(tmp_path: Path) -> None:
    engine = FakeEngine()
    digest = "sha256:" + "a" * 64
    engine.store[REMOTE] = LocalImage(
        "sha256:1", (REMOTE,), {}, "arm64", "2026-11-20T00:00:00Z", 1, (f"dustynv/mlc@{digest}",)
    )
    assert run(tmp_path, engine=engine, pin=True) == f"{REMOTE}@{digest}"


def test_a_local_image_without_digest_is_pinned_by_its_id_and_that_is_said(tmp_path: Path) -> None:
    console = quiet_console()
    image = run(tmp_path, engine=engine_with((REMOTE, {}, "arm64")), console=console, pin=True)
    assert image == f"sha256:{0:064x}"
    assert "on this machine only" in said(console)


# what is shown


def test_the_table_of_refusals_has_the_nearest_first_and_counts_the_rest(tmp_path: Path) -> None:
    choice = choose(["mlc"], THOR, (hub(tmp_path),), Options())
    rows = refusals(choice.candidates)
    assert len(rows) == 13
    assert rows[-1] == "… and 17 more: `--explain` shows all"
    assert "r36" in rows[0]
    assert len({row.split()[1] for row in rows[:-1]}) >= 1
    error = refusal(choice)
    assert error.message == "no image of mlc can run here (L4T 38.4.0, sbsa, CUDA 13.0)"
    assert isinstance(error, NoCompatibleImageError)


def test_an_unknown_name_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(NoCompatibleImageError, match="no image of nothing-like-it is known"):
        run(tmp_path, ["nothing-like-it"])


def test_the_explanation_is_the_interface(tmp_path: Path) -> None:
    choice = choose(["mlc"], ORIN, (hub(tmp_path),), Options(explain=True))
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


def test_the_explanation_goes_to_stderr(tmp_path: Path) -> None:
    console = quiet_console()
    explain(choose(["mlc"], ORIN, (hub(tmp_path),), Options(explain=True)), console)
    assert REMOTE in said(console)
    assert isinstance(console.out, io.StringIO)
    assert console.out.getvalue() == ""


def test_the_same_candidates_give_the_same_choice_in_any_order(tmp_path: Path) -> None:
    found = hub(tmp_path).find([Wanted.parse("mlc")], ORIN)

    class Fixed:
        kind = Kind.REGISTRY

        def __init__(self, candidates: Any) -> None:
            self.candidates = candidates

        def find(self, request: Any, host: Any) -> Found:
            return Found(self.candidates)

    one = choose(["mlc"], ORIN, (Fixed(found.candidates),), Options())
    two = choose(["mlc"], ORIN, (Fixed(found.candidates[::-1]),), Options())
    assert one == two


def test_a_source_is_asked_once(tmp_path: Path) -> None:
    asked: list[int] = []

    class Counting:
        kind = Kind.LOCAL

        def find(self, request: Any, host: Any) -> Found:
            asked.append(1)
            return Found()

    search = Search(["mlc"], ORIN, (Counting(),), replace(Options(), order=(Kind.LOCAL,)))
    search.of(Kind.LOCAL)
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
def test_the_work_on_a_listing_grows_with_its_tags_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, pattern: str
) -> None:
    """Images are never compared with one another, and however many tags there are, they are gone through as often."""
    CountedTags.passes = 0
    asked: list[str] = []
    tags = CountedTags(Tag(pattern.format(number)) for number in range(count))

    class Given(Listings):
        def get(self, repository: Repository) -> Listing:
            return Listing(repository, tags, "2026-01-01T00:00:00Z", "live")

        def _describe(self, repository: Repository, tag: str, architecture: str) -> list[Tag]:
            asked.append(tag)
            return []

    def compared(_self: Candidate, _other: object) -> bool:
        raise AssertionError("compared with another image")

    def no_client() -> RegistryClient:
        raise AssertionError("nobody is asked here")

    monkeypatch.setattr(Candidate, "__eq__", compared)
    source = RegistrySource(Given(tmp_path, no_client), (Repository("registry.test", "ns"),))
    choice = choose(["mlc"], ORIN, (source,), Options())
    assert len(choice.candidates) == count
    assert 0 < len(asked) == len(set(asked)) <= MOST_CONFIGS
    assert CountedTags.passes <= 6
