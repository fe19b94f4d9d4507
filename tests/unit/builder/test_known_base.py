"""What a base image says of its own platform, before anything is built on it."""

from __future__ import annotations

import json

import pytest

from jetson_containers.builder import known_base
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target


@pytest.mark.parametrize(
    ("reference", "target", "reason", "remedy"),
    [
        (
            "nvcr.io/nvidia/l4t-jetpack:r35.4.1",
            "r36.4.3",
            "L4T 35.4.1, and the target is L4T 36.4.3",
            "--target r35.4.1",
        ),
        ("dustynv/l4t-pytorch:r32.7.1", "r35.4.1", "L4T 32.7.1, and the target is L4T 35.4.1", "--target r32.7.1"),
        ("nvcr.io/nvidia/l4t-jetpack:r36.2.0", "r36.4.3", "CUDA 12.2, and the target is CUDA 12.6", "r36.4.3,cu122"),
        ("me/torch:2.7-r36.4.0-cu128-24.04", "r36.4.3", "CUDA 12.8, and the target is CUDA 12.6", "r36.4.3,cu128"),
        (
            "nvidia/cuda:12.4.1-devel-ubuntu22.04",
            "x86_64,cu129",
            "CUDA 12.4, and the target is CUDA 12.9",
            "x86_64,cu124",
        ),
        ("nvcr.io/nvidia/l4t-cuda:11.4.19-devel", "r36.4.3", "CUDA 11.4, and the target is CUDA 12.6", "r36.4.3,cu114"),
        ("me/app:1-x86_64-cu126-22.04", "r36.4.3", "is for x86_64, and the target is aarch64", "architecture"),
    ],
)
def test_base_image_for_another_platform_is_told_by_its_name(
    reference: str, target: str, reason: str, remedy: str
) -> None:
    """What is built on it is labeled with a platform that it is not for."""
    told = known_base.misfit(reference, parse_target(target))
    assert told is not None
    assert reason in told[0]
    assert remedy in told[1]


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        ("ubuntu:20.04", "r36.4.3"),
        ("nvcr.io/nvidia/l4t-base:r36.2.0", "r36.4.3"),  # the newest there is for JetPack 6; it holds no CUDA
        ("nvcr.io/nvidia/l4t-jetpack:r36.4.0", "r36.4.3"),
        ("nvcr.io/nvidia/l4t-jetpack:r35.3.1", "r35.4.1"),
        ("nvcr.io/nvidia/cuda:12.6.3-devel-ubuntu22.04", "r36.4.3"),
        ("nvcr.io/nvidia/cuda:13.0.0-devel-ubuntu24.04", "r38.2.0"),
        ("me/cuda:latest", "r36.4.3"),
        ("nvidia/cuda:12.4.1-base-ubuntu22.04", "x86_64,cpu"),
        ("me/app:1-x86_64-cpu-22.04", "x86_64,cu129"),
        ("sha256:" + "0" * 64, "r36.4.3"),
    ],
)
def test_base_image_that_fits_or_says_nothing_is_let_through(reference: str, target: str) -> None:
    """Nothing is guessed of a name that says nothing."""
    assert known_base.misfit(reference, parse_target(target)) is None


def test_base_image_is_judged_by_its_label_where_it_has_one() -> None:
    """The label of an image that one of our builds made counts, whatever name the image has now."""
    said = {labels.PLATFORM: json.dumps(labels.platform_value(parse_target("r36.4.3,cu128")))}
    told = known_base.misfit("me/base:r36.4-cu126", parse_target("r36.4.3"), said)
    assert told is not None
    assert "CUDA 12.8, and the target is CUDA 12.6" in told[0]
    assert known_base.misfit("me/base:cu126", parse_target("r36.4.3,cu128"), said) is None
