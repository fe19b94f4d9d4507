"""autotag: what is a candidate, what is refused and why, which one wins, what is asked, what is printed."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.autotag.search import (
    AutotagOptions,
    choose,
    explain,
    options,
    sources,
)
from jetson_containers.autotag.sources import MOST_CONFIGS, LocalSource, RegistrySource
from jetson_containers.autotag.types import ImageCandidate, SourceFindings, SourceKind
from jetson_containers.core.errors import EngineMissingError, NoCompatibleImageError, RegistryError, UsageError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.images.name import ImageName
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.types import ImageRepository, Tag, TagListing
from tests.fakes import FakeEngine
from tests.unit.autotag.helpers import ORIN, THOR, config, engine_with, hub, label, local, quiet_console, run, said

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jetson_containers.registry.client import RegistryClient


def test_autotag_without_a_request_is_an_error() -> None:
    """Without a request there is an error."""
    with pytest.raises(UsageError, match="no package given"):
        choose([], ORIN, (), AutotagOptions())


def test_autotag_answers_with_a_local_image_that_runs() -> None:
    """A local image that runs is the answer."""
    place = local(
        ("mlc:0.20.0-r36.4-cu126-22.04", label("mlc:0.20.0-r36.4-cu126-22.04", ["mlc:0.20.0"], ORIN), "arm64")
    )
    choice = choose(["mlc"], ORIN, (place,), AutotagOptions())
    assert choice.image == "mlc:0.20.0-r36.4-cu126-22.04"
    assert [(entry.rank, entry.verdict.ok) for entry in choice.candidates] == [(1, True)]


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


@pytest.mark.parametrize("word", ["cloud", "locale", ""])
def test_options_refuse_an_unknown_source(tmp_path: Path, word: str) -> None:
    """A source that does not exist is an error."""
    with pytest.raises(UsageError, match="unknown source of images"):
        options(config(tmp_path), prefer=[word])


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
        with pytest.raises(NoCompatibleImageError, match="was declined"):
            run(tmp_path, engine=engine, console=console, disable=["build"])
    assert f"Found {REMOTE} (2025-05-02, " in said(console)
    assert " GB); pull it? [Y/n]" in said(console)
    assert (("pull", REMOTE) in engine.calls) is pulled


def test_autotag_offline_neither_offers_nor_does_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline the answer is the name, as without a terminal: asking for a download would end in an error."""
    engine = FakeEngine()
    console = quiet_console(answers="y\n", monkeypatch=monkeypatch)
    for yes in (False, True):
        chosen = {"engine": engine, "console": console, "disable": ["build"], "yes": yes}
        assert run(tmp_path, offline=True, **chosen) == REMOTE
    assert "pull it?" not in said(console)
    assert not [call for call in engine.calls if call[0] == "pull"]


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


def test_autotag_finds_an_official_image_that_is_here(tmp_path: Path) -> None:
    """An image of another project's that was pulled is found by the package it holds."""
    engine = engine_with(("vllm/vllm-openai:v0.28.0", {}, "arm64"), ("somebody/vllm-openai:v0.28.0", {}, "arm64"))
    chosen = options(config(tmp_path), disable=["registry"])
    choice = choose(["vllm"], THOR, (LocalSource(lambda: engine),), chosen)
    assert [entry.candidate.reference for entry in choice.candidates] == ["vllm/vllm-openai:v0.28.0"]
    assert choice.image == "vllm/vllm-openai:v0.28.0"


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


def test_autotag_of_an_unknown_name_finds_no_image(tmp_path: Path) -> None:
    """An unknown name finds no image."""
    with pytest.raises(NoCompatibleImageError, match="no image of nothing-like-it is known"):
        run(tmp_path, ["nothing-like-it"])


def test_refusal_suggests_commands_for_the_machine_that_was_asked_about(tmp_path: Path) -> None:
    """What is pasted builds for the board that was named, not for the one in front."""
    with pytest.raises(NoCompatibleImageError) as caught:
        run(tmp_path, host=THOR, where=("--target", "agx-thor"))
    assert "`./build.sh --target agx-thor mlc`" in (caught.value.hint or "")
    assert "`./autotag --explain --target agx-thor mlc` shows each" in caught.value.details


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
