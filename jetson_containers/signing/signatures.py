"""Signatures of a digest beside the image in its registry, as cosign writes and reads them.

Source: cosign's signature specification: the tag `sha256-<digest>.sig` names an OCI manifest, each layer of which is a
payload in the form of simple signing, with its signature as an annotation.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import RegistryError, SignatureError, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.registry.types import ImageRepository
    from jetson_containers.signing.keys import PrivateKey, PublicKey

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
PAYLOAD_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
KIND = "cosign container image signature"
MOST = 100  # signatures of one image that are looked at
LARGEST_PAYLOAD = 64 << 10  # bytes
_SIGN = ("jetson-containers", "push", "--sign", "KEY", "IMAGE")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class LayerSignature:
    """One signature: the digest of the bytes that were signed, and the signature in DER."""

    payload: str
    value: bytes


def tag_of(digest: str) -> str:
    """The tag of the signatures of a digest."""
    return digest.replace(":", "-") + ".sig"


def payload_of(reference: str, digest: str) -> bytes:
    """What is signed. The name is for people: like cosign, nobody relies on it."""
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": KIND,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()


def signed_digest(payload: bytes) -> str:
    """The digest that a payload speaks of. Raises ValueError for another kind of payload."""
    if len(payload) > LARGEST_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes")
    critical = checked.mapping(checked.mapping(json_text.parse(payload)).get("critical"))
    if critical.get("type") != KIND:
        raise ValueError("a payload of another kind")
    image = checked.mapping(critical.get("image"))
    digest = checked.text(image.get("docker-manifest-digest", image.get("Docker-manifest-digest")))
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a payload without a digest")
    return digest


def listed(manifest: Mapping[str, Any]) -> tuple[LayerSignature, ...]:
    """The signatures in a manifest; other layers are passed over. Raises ValueError for what is not a manifest."""
    found = []
    for layer in map(checked.mapping, checked.items(manifest.get("layers") or [])[:MOST]):
        digest, value = layer.get("digest"), checked.mapping(layer.get("annotations") or {}).get(ANNOTATION)
        if layer.get("mediaType") != PAYLOAD_TYPE or value is None:
            continue
        if checked.number(layer.get("size")) > LARGEST_PAYLOAD or not _DIGEST.fullmatch(checked.text(digest)):
            continue
        found.append(
            LayerSignature(payload=checked.text(digest), value=base64.b64decode(checked.text(value), validate=True))
        )
    return tuple(found)


def verify(client: RegistryClient, repository: ImageRepository, digest: str, key: PublicKey) -> None:
    """Raise SignatureError where the registry has no signature of this digest by this key; RegistryError."""
    found = _signatures(client, repository, digest)[1]
    if not any(_is_valid(client, repository, signature, digest, key) for signature in found):
        count = f"{len(found)} signatures, none of them" if found else "no signature"
        raise SignatureError(
            f"{repository}@{digest[:19]} has {count} by `{key.name}`",
            hint=f"whoever has the private key signs it with {command(*_SIGN)} or `cosign sign`; do not run it before",
        )


def sign(client: RegistryClient, repository: ImageRepository, digest: str, key: PrivateKey) -> bool:
    """Put a signature of a digest beside what is signed already; False where one by this key is there.

    Raises RegistryError.
    """
    manifest, found = _signatures(client, repository, digest)
    if any(_is_valid(client, repository, signature, digest, key.public) for signature in found):
        return False
    payload = payload_of(str(repository), digest)
    stored = client.put_blob(repository, payload)
    layer = {
        "mediaType": PAYLOAD_TYPE,
        "size": len(payload),
        "digest": stored,
        "annotations": {ANNOTATION: base64.b64encode(key.sign(payload)).decode()},
    }
    layers = [*(manifest.get("layers") or []), layer]
    config = _config(layers)
    described = {"mediaType": CONFIG_TYPE, "size": len(config), "digest": client.put_blob(repository, config)}
    body = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": layers}
    client.put_manifest(repository, tag_of(digest), json.dumps(body, separators=(",", ":")).encode(), MANIFEST_TYPE)
    return True


def _signatures(
    client: RegistryClient, repository: ImageRepository, digest: str
) -> tuple[dict[str, Any], tuple[LayerSignature, ...]]:
    """The manifest of the signatures of a digest, and these; both empty where there is none."""
    found = client.artifact(repository, tag_of(digest))
    if found is None:
        return {}, ()
    try:
        return found[0], listed(found[0])
    except ValueError as error:
        raise RegistryError(
            f"registry {repository.host}: {repository.path}:{tag_of(digest)} is not a list of signatures: {error}",
            hint="delete that tag in the registry, and sign the image again",
        ) from error


def _is_valid(
    client: RegistryClient, repository: ImageRepository, signature: LayerSignature, digest: str, key: PublicKey
) -> bool:
    payload = client.small_bytes(repository, signature.payload)
    try:
        return key.verifies(signature.value, payload) and signed_digest(payload) == digest
    except ValueError:
        return False


def _config(layers: list[dict[str, Any]]) -> bytes:
    """A configuration that tools for images accept; a file system is missing."""
    config = {
        "architecture": "",
        "created": "0001-01-01T00:00:00Z",
        "os": "",
        "config": {},
        "history": [{"created": "0001-01-01T00:00:00Z"} for _ in layers],
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    return json.dumps(config, separators=(",", ":")).encode()
