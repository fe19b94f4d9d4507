"""The bill of materials and the provenance of an image, judged by the schema and by what their readers look for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from jetson_containers.engine.interface import LocalImage
from jetson_containers.export.provenance import statement
from jetson_containers.export.sbom import bill_of_materials
from jetson_containers.images.installed import Installed, InstalledContents

IMAGE = LocalImage(
    id="sha256:" + "a" * 64,
    references=("robot:1",),
    labels={
        "io.jetson-containers.plan": "sha256:" + "b" * 64,
        "io.jetson-containers.key": "sha256:" + "c" * 64,
        "io.jetson-containers.packages": '["python:3.10", "robot"]',
        "io.jetson-containers.platform": '{"arch": "tegra", "l4t": "36.4.3"}',
        "io.jetson-containers.tests": '{"status": "passed"}',
        "org.opencontainers.image.base.name": "ubuntu:22.04",
        "org.opencontainers.image.created": "2026-01-02T03:04:05Z",
        "org.opencontainers.image.revision": "d" * 40,
    },
    architecture="arm64",
    created="2026-01-02T03:04:05.123456789Z",
    size=1,
)
CONTENTS = InstalledContents(
    packages=(
        Installed(kind="deb", name="libc6", version="2.35-0ubuntu3", arch="arm64", place="var/lib/dpkg/status"),
        Installed(kind="npm", name="@a/b", version="1.0.0", place="node_modules/@a/b/package.json"),
        Installed(kind="pypi", name="numpy", version="2.2.6", place="numpy.dist-info/METADATA"),
    ),
    distro="ubuntu",
    release="22.04",
)


def test_sbom_names_packages_as_other_tools_look_for_them() -> None:
    """Each package has the URL by which vulnerability scanners find it, and the file that says it is installed."""
    pytest.importorskip("cyclonedx")
    found = json.loads(bill_of_materials("robot:1", IMAGE, CONTENTS))
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert (found["metadata"]["component"]["type"], found["metadata"]["component"]["version"]) == (
        "container",
        IMAGE.id,
    )
    assert {part.get("purl") for part in found["components"]} == {
        "pkg:deb/ubuntu/libc6@2.35-0ubuntu3?arch=arm64&distro=ubuntu-22.04",
        "pkg:npm/%40a/b@1.0.0",
        "pkg:pypi/numpy@2.2.6",
        None,
    }
    assert {part["name"] for part in found["components"] if "purl" not in part} == {"python", "robot"}
    numpy = next(part for part in found["components"] if part["name"] == "numpy")
    assert numpy["properties"][0]["value"] == "/numpy.dist-info/METADATA"


def test_sbom_of_the_same_image_has_the_same_bytes() -> None:
    """Nothing in it depends on when or where it is made; another image has another serial number."""
    pytest.importorskip("cyclonedx")
    one = bill_of_materials("robot:1", IMAGE, CONTENTS)
    assert one == bill_of_materials("robot:1", IMAGE, CONTENTS)
    other = json.loads(bill_of_materials("robot:1", replace(IMAGE, id="sha256:" + "e" * 64), CONTENTS))
    assert other["serialNumber"] != json.loads(one)["serialNumber"]


def test_provenance_is_a_statement_of_in_toto_about_this_image() -> None:
    """Subject, plan, request, base and commit stand where verifiers of SLSA look for them."""
    made = statement("robot:1", IMAGE)
    assert (made["_type"], made["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert made["subject"] == [{"name": "robot:1", "digest": {"sha256": "a" * 64}}]
    definition = made["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["packages"] == ["python:3.10", "robot"]
    assert definition["internalParameters"]["plan"] == "sha256:" + "b" * 64
    assert definition["resolvedDependencies"] == [
        {"uri": "docker:ubuntu:22.04"},
        {"uri": "git+urn:jetson-containers:packages", "digest": {"gitCommit": "d" * 40}},
    ]
    assert made["predicate"]["runDetails"]["metadata"]["finishedOn"] == "2026-01-02T03:04:05Z"


def test_provenance_of_a_pushed_image_has_the_digest_that_registries_know() -> None:
    """A registry knows an image by its manifest, not by the ID of the local store."""
    pushed = replace(IMAGE, digests=("registry.test/robot@sha256:" + "f" * 64,))
    assert statement("robot:1", pushed)["subject"][0]["digest"] == {"sha256": "f" * 64}
