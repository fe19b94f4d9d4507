"""How an image was made, as a statement of in-toto with SLSA's provenance v1; unsigned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.images import labels

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:jetson-containers:build:1"


def statement(reference: str, image: LocalImage) -> dict[str, Any]:
    """The statement for an image of ours, from the labels that its build wrote.

    The subject's digest is the image's ID (of its configuration), or for an image that came from a registry or was
    pushed the digest of its manifest, which is what a registry knows.
    """
    said = labels.read(image.labels)
    base = image.labels.get(f"{labels.OCI}base.name", "")
    revision = image.labels.get(f"{labels.OCI}revision", "")
    tree = {"uri": "git+urn:jetson-containers:packages", "digest": {"gitCommit": revision}}
    return {
        "_type": STATEMENT,
        "subject": [{"name": reference, "digest": {"sha256": _digest(image)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"packages": list(said.packages), "platform": dict(said.platform)},
                "internalParameters": {"plan": said.plan, "key": said.key},
                "resolvedDependencies": [*([{"uri": f"docker:{base}"}] if base else []), *([tree] if revision else [])],
            },
            "runDetails": {
                "builder": {"id": "urn:jetson-containers:builder", "version": {"jetson-containers": __version__}},
                "metadata": {"invocationId": said.plan, "finishedOn": image.labels.get(f"{labels.OCI}created", "")},
                "byproducts": [{"name": "tests", "annotations": {"status": str(said.tests.get("status", ""))}}],
            },
        },
    }


def _digest(image: LocalImage) -> str:
    known = [digest.partition("sha256:")[2] for digest in image.digests if "sha256:" in digest]
    return known[0] if known else image.id.removeprefix("sha256:")
