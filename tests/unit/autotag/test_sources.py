"""Where autotag looks: the local store, registries and the lists that are kept of them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.autotag.ranking import merge
from jetson_containers.autotag.search import (
    AutotagOptions,
    ImageSearch,
    choose,
    find,
    options,
    refusal,
    refusals,
    sources,
)
from jetson_containers.autotag.sources import LocalSource, RegistrySource
from jetson_containers.autotag.types import SourceFindings, SourceKind
from jetson_containers.core.errors import EngineMissingError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.platforms.detect import parse_target
from jetson_containers.registry.types import ImageRepository
from tests.fakes import FakeEngine
from tests.unit.autotag.helpers import (
    BOTH,
    NANO,
    ORIN,
    PC,
    THOR,
    config,
    hub,
    label,
    listings_of,
    local,
    quiet_console,
    run,
    said,
)
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from pathlib import Path


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


def test_autotag_answers_from_the_shipped_list_without_network(tmp_path: Path) -> None:
    """The shipped list answers without network."""
    choice = choose(["mlc"], ORIN, (hub(tmp_path),), AutotagOptions())
    assert choice.image == "dustynv/mlc:0.20.0-r36.4.0"
    assert choice.notices[0].startswith("offline; using the list of docker.io of 2025-05-06")


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
        ("r38.2", "sglang", "nvcr.io/nvidia/sglang:26.01-py3"),
        ("agx-thor,r39.2", "sglang", "nvcr.io/nvidia/sglang:26.01-py3"),
        ("agx-orin-64gb,r39.2", "sglang", None),
        ("x86_64,cu130", "sglang", "lmsysorg/sglang:v0.5.12-cu130"),
        ("x86_64,cu129", "sglang", "lmsysorg/sglang:v0.5.19-cu129"),
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


def test_autotag_names_all_lists_in_one_line(tmp_path: Path) -> None:
    """Offline, the lists of several registries are one note for people, and each a notice for programs."""
    console = quiet_console()
    run(tmp_path, ("vllm",), console=console, explain=True)
    notes = [line for line in said(console).splitlines() if "using the list" in line]
    assert len(notes) == 1
    assert re.match(r"note: offline; using the lists of docker\.io of \d{4}-\d\d-\d\d, \d+ \w+ old; ", notes[0])
    assert notes[0].count("nvcr.io of ") == notes[0].count("ghcr.io of ") == 1
    made = config(tmp_path)
    chosen = options(made, disable=["local"])
    choice = choose(["vllm"], ORIN, sources(made, FakeEngine, chosen), chosen)
    assert sum("using the list of nvcr.io" in notice for notice in choice.notices) == 1
    assert len(choice.notices) > 2


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
