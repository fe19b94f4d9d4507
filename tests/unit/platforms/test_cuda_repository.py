"""Which apt repository of NVIDIA a platform takes, the key of it, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.facts import load_facts
from jetson_containers.platforms import cuda_repository, detect
from jetson_containers.platforms.overrides import rebase

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform

OLD = "EB693B3035CD5710E231E123A4B469963BF863CC"


def platform(target: str) -> Platform:
    name, _, distro = target.partition("/")
    found = detect.parse_target(name)
    return rebase(found, *distro.split(), "test") if distro else found


@pytest.mark.parametrize(
    ("target", "own", "of_ubuntu"),
    [
        ("r35.4.1,cu118", "ubuntu2004/arm64", "ubuntu2004/arm64"),
        ("r36.4.3", "ubuntu2204/arm64", "ubuntu2204/arm64"),
        ("r36.4.3,cu129,ubuntu24.04", "ubuntu2204/arm64", "ubuntu2204/arm64"),
        ("r38.2.0", "ubuntu2404/sbsa", "ubuntu2404/sbsa"),
        ("sbsa,ubuntu22.04", "ubuntu2204/sbsa", "ubuntu2204/sbsa"),
        ("x86_64,cu126,ubuntu20.04", "ubuntu2004/x86_64", "ubuntu2004/x86_64"),
        ("x86_64/debian 12", "debian12/x86_64", "ubuntu2204/x86_64"),
        ("sbsa/debian 12", "ubuntu2204/sbsa", "ubuntu2204/sbsa"),
    ],
)
def test_repository_is_that_of_the_platform_with_its_key(target: str, own: str, of_ubuntu: str) -> None:
    """Each platform that could install CUDA before still can, from the same repository, which has a key."""
    for found, name in (
        (cuda_repository.own(platform(target)), own),
        (cuda_repository.of_ubuntu(platform(target)), of_ubuntu),
    ):
        assert (found.name, found.key_file, found.key, found.problem) == (name, "3bf863cc.pub", OLD, "")


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("sbsa/debian 13", "Debian 13 refuses the signing key of NVIDIA's apt repository ubuntu2404/sbsa"),
        ("x86_64,cu126/debian 13", "NVIDIA's apt repository debian13/x86_64 has no CUDA before 13.1"),
        ("x86_64,ubuntu26.04", "NVIDIA's apt repository ubuntu2604/x86_64 has no CUDA before 13.3"),
        ("sbsa,ubuntu26.04", "no signing key of NVIDIA's apt repository ubuntu2604/sbsa is known"),
        ("x86_64,ubuntu18.04", "no signing key of NVIDIA's apt repository ubuntu1804/x86_64 is known"),
    ],
)
def test_repository_that_cannot_be_used_says_why(target: str, problem: str) -> None:
    """A key that nobody knows is not guessed, and one that apt refuses is not tried."""
    assert cuda_repository.own(platform(target)).problem == problem


def test_repository_of_debian_13_has_a_key_of_its_own() -> None:
    """The packages for Ubuntu have the key that Debian 13 refuses."""
    debian = platform("x86_64/debian 13")
    found = cuda_repository.own(debian)
    assert (found.name, found.key_file, found.problem) == ("debian13/x86_64", "8793F200.pub", "")
    assert found.key != OLD
    assert found.key.endswith("8793F200")
    assert "refuses the signing key" in cuda_repository.of_ubuntu(debian).problem


def test_keys_are_whole_fingerprints_that_end_in_their_file_name() -> None:
    """Every repository names a key of the table, and every fingerprint has its 40 digits."""
    facts = load_facts("cuda_repositories")
    assert {row["key"] for row in facts["repositories"].values()} == set(facts["keys"])
    for file, key in facts["keys"].items():
        assert re.fullmatch(r"[0-9A-F]{40}", key["fingerprint"])
        assert key["fingerprint"].endswith(file.removesuffix(".pub").upper())
