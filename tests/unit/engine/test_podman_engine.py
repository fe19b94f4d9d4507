"""Podman as the engine that starts containers, with a program in its place that answers as Podman 4.3 does."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import EngineMissingError, NotReadyError, RegistryError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.engine.podman_engine import PodmanEngine
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

NOT_KNOWN = "Error: inspecting object: nope:1: image not known"


def described(name: str, **labels: str) -> dict[str, Any]:
    """What `podman image inspect` says, as far as it is read."""
    return {
        "Id": "7f87", "RepoTags": [name], "RepoDigests": [f"{name.rpartition(':')[0]}@sha256:af43"],
        "Created": "2026-11-29T23:53:18Z", "Architecture": "arm64", "Size": 1986853, "Config": {"Labels": labels},
    }  # fmt: skip


class Podman:
    """The program; `calls` are the words it was called with."""

    def __init__(self, folder: Path, docker: FakeEngine) -> None:
        self.folder = folder
        self.engine = PodmanEngine(folder, {"PATH": f"{folder}:/usr/bin:/bin"}, 0, lambda: docker)
        self.answers()

    def answers(self, *images: dict[str, Any], err: str = "", pulls: int = 0) -> None:
        listed = "echo sha256:7f87" if images else "true"
        script = (
            f'#!/bin/sh\necho "$*" >>{self.folder}/calls\ncase "$1 $2" in\n'
            f'"image ls") {listed} ;;\n'
            f"'image inspect') echo {shlex.quote(json.dumps(images))}; echo {shlex.quote(err)} >&2; "
            f"exit {125 if err else 0} ;;\n"
            f"pull*) echo Error: no such host; exit {pulls} ;;\nesac\n"
        )
        program = self.folder / "podman"
        program.write_text(script)
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def docker() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def podman(tmp_path: Path, docker: FakeEngine) -> Podman:
    return Podman(tmp_path, docker)


def image(name: str) -> LocalImage:
    return LocalImage(id="i", references=(name,), labels={}, architecture="arm64", created="", size=2_000_000_000)


def test_podman_image_has_the_name_that_docker_has(podman: Podman) -> None:
    """The registry that Docker leaves out is left out of names and digests; labels and the rest are as they are."""
    podman.answers(described("docker.io/library/mlc:0.20", role="final"))
    found = podman.engine.image("mlc:0.20")
    assert found is not None
    assert (found.references, found.digests) == (("mlc:0.20",), ("mlc@sha256:af43",))
    assert (found.labels, found.architecture, found.size) == ({"role": "final"}, "arm64", 1986853)


def test_podman_image_that_is_not_there_is_none(podman: Podman) -> None:
    """Podman's complaint about a missing image is an answer; another complaint is an error."""
    podman.answers(err=NOT_KNOWN)
    assert podman.engine.image("nope:1") is None
    assert podman.engine.images_named(["nope:1"]) == []
    podman.answers(err="Error: open /var/lib/containers: permission denied")
    with pytest.raises(NotReadyError, match="permission denied"):
        podman.engine.image("nope:1")


def test_podman_images_include_those_that_only_docker_has(podman: Podman, docker: FakeEngine) -> None:
    """Docker's images count too, once each: they can be copied. Without Docker there are Podman's own."""
    podman.answers(described("docker.io/library/mlc:0.20"))
    docker.store = {"a": image("mlc:0.20"), "b": image("llama_cpp:1")}
    assert [one.references for one in podman.engine.images()] == [("mlc:0.20",), ("llama_cpp:1",)]
    docker.missing = EngineMissingError("none")
    assert [one.references for one in podman.engine.images()] == [("mlc:0.20",)]


def test_podman_copies_an_image_from_docker(podman: Podman, docker: FakeEngine) -> None:
    """What Docker has is copied by Podman, with its size said before; what it lacks is not."""
    docker.store = {"llama_cpp:latest": image("llama_cpp:latest")}
    said: list[str] = []
    assert podman.engine.copy("llama_cpp", said.append, said.append)
    assert "2.0 GB" in said[0]
    assert podman.calls[-1] == "pull docker-daemon:llama_cpp:latest"
    assert not podman.engine.copy("vllm:1", said.append, said.append)
    docker.missing = EngineMissingError("none")
    assert not podman.engine.copy("llama_cpp", said.append, said.append)


def test_podman_pull_that_fails_says_what_podman_said(podman: Podman) -> None:
    """A registry that does not answer is a RegistryError with the name of the image."""
    podman.answers(pulls=125)
    said: list[str] = []
    with pytest.raises(RegistryError, match="pulling `dustynv/mlc:1`"):
        podman.engine.pull("dustynv/mlc:1", said.append, platform="linux/arm64")
    assert podman.calls[-1] == "pull --platform linux/arm64 dustynv/mlc:1"
    assert said == ["Error: no such host"]


def test_podman_that_is_missing_is_named_when_it_is_asked(tmp_path: Path) -> None:
    """Nothing is looked for before it is needed."""
    engine = PodmanEngine(tmp_path, {"PATH": str(tmp_path)}, 0, FakeEngine)
    with pytest.raises(EngineMissingError, match="no `podman`"):
        engine.image("mlc:1")
