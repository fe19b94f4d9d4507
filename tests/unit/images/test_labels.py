"""Labels: what is written is what is read, and inherited ones are not believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jetson_containers.images import labels
from tests import example_platforms

ORIN = example_platforms.ORIN_TARGET
PC = example_platforms.PC_WITH_DEBIAN


def made(**changes: Any) -> dict[str, str]:
    values: dict[str, Any] = {
        "role": labels.FINAL,
        "name": "mlc:0.20.0-r36.4-cu126-22.04",
        "key": "sha256:aa",
        "packages": ("python", "mlc:0.20.0"),
        "platform": ORIN,
        "plan": "sha256:bb",
        "tests": {"status": "passed"},
    }
    return labels.make(**{**values, **changes})


def test_label_names_are_the_documented_ones() -> None:
    """The names of the labels are the documented ones."""
    ours = {name for name in made() if not name.startswith("org.opencontainers.image.")}
    assert ours == {f"io.jetson-containers.{name}" for name in ("key", "role", "packages", "platform", "plan", "tests")}


def test_labels_are_all_text() -> None:
    """Every label is text; absent values have no label."""
    assert all(isinstance(value, str) for value in made(plan="", tests=None).values())


def test_labels_are_read_as_they_were_made() -> None:
    """Labels are read as they were made."""
    read = labels.read(made(provenance=labels.Provenance(revision="abc")))
    assert read == labels.ImageLabels(
        key="sha256:aa",
        role="final",
        packages=("python", "mlc:0.20.0"),
        platform={"arch": "tegra", "l4t": "36.4.0", "cuda": "12.6", "python": "3.10", "distro": "22.04", "sm": [87]},
        plan="sha256:bb",
        tests={"status": "passed"},
        name="mlc:0.20.0-r36.4-cu126-22.04",
        revision="abc",
    )


def test_platform_label_without_cuda_and_l4t_says_null() -> None:
    """An image without CUDA and L4T says null."""
    assert json.loads(made(platform=PC)[labels.PLATFORM]) == {
        "arch": "x86_64",
        "l4t": None,
        "cuda": None,
        "python": "3.11",
        "distro": "debian12",
        "sm": [],
    }


def test_standard_labels_describe_the_image() -> None:
    """Standard labels describe the image."""
    origin = labels.Provenance(
        revision="rev", base="ubuntu:22.04", created="2026-01-01T00:00:00Z", licenses=("MIT", "Apache-2.0", "", "MIT")
    )
    values = made(provenance=origin, name="reg.io:5000/ns/mlc:0.20.0-r36.4")
    prefix = "org.opencontainers.image."
    found = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    assert found.pop("vendor").startswith("jetson-containers ")
    assert found == {
        "title": "mlc",
        "version": "0.20.0",
        "revision": "rev",
        "created": "2026-01-01T00:00:00Z",
        "base.name": "ubuntu:22.04",
        "licenses": "Apache-2.0 AND MIT",
        "ref.name": "reg.io:5000/ns/mlc:0.20.0-r36.4",
    }


@pytest.mark.parametrize(
    "broken",
    [{}, {labels.PACKAGES: "not json"}, {labels.PACKAGES: '{"a":1}'}, {labels.TESTS: "[1]"}, {labels.PLATFORM: "7"}],
)
def test_label_that_cannot_be_read_counts_as_absent(broken: dict[str, str]) -> None:
    """An unreadable label counts as absent."""
    assert labels.read(broken) == labels.ImageLabels()


@pytest.mark.parametrize(
    ("references", "believed"),
    [
        (("mlc:0.20.0-r36.4-cu126-22.04",), True),
        (("registry.io:5000/ns/mlc:0.20.0-r36.4-cu126-22.04",), True),
        (("other:latest", "me/mlc:0.20.0-r36.4-cu126-22.04"), True),
        (("my-app:latest",), False),  # somebody's image FROM ours inherits our labels
        (("mlc:latest",), False),
        (("notmlc:0.20.0-r36.4-cu126-22.04",), False),
        ((), False),
    ],
)
def test_labels_are_believed_only_under_their_own_name(references: tuple[str, ...], believed: bool) -> None:
    """Labels are believed only under the name they were made for."""
    assert labels.is_ours(references, made()) is believed


def test_labels_without_a_name_are_not_believed() -> None:
    """Labels without a name are not believed."""
    assert not labels.is_ours(("x:1",), {labels.KEY: "sha256:aa"})
