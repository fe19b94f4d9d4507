"""Signatures beside an image in its registry, in cosign's form."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import RegistryError, SignatureError
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing import signatures
from jetson_containers.signing.keys import PrivateKey, new_pair
from jetson_containers.signing.signatures import ANNOTATION, PAYLOAD_TYPE, listed, payload_of, signed_digest
from tests.unit.fakeregistry import MANIFEST, FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = "sha256:" + "ab" * 32


def key(folder: Any, name: str) -> PrivateKey:
    path = folder / name
    path.write_text(new_pair(b"")[0])
    return PrivateKey.read(path, lambda: b"")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    return key(folder, "a.key"), key(folder, "b.key")


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        yield started


@pytest.fixture
def client() -> RegistryClient:
    return RegistryClient(Transport(timeout=5, env={}), lambda _host: None)


def place(registry: FakeRegistry) -> ImageRepository:
    return ImageRepository(registry.host, "robots/llm")


def manifest(registry: FakeRegistry, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(registry.manifests["robots/llm", signatures.tag_of(digest)][1])
    return found


def test_sign_stores_what_cosign_reads(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """The tag, the media types, the payload and the annotation are those of cosign's specification."""
    digest = registry.add_image("robots/llm", "1")
    assert signatures.sign(client, place(registry), digest, keys[0])
    assert signatures.tag_of(digest) in registry.tags["robots/llm"]
    found = manifest(registry, digest)
    assert (found["schemaVersion"], found["mediaType"]) == (2, MANIFEST)
    (layer,) = found["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = registry.blobs[layer["digest"]]
    assert layer["size"] == len(payload)
    assert json.loads(payload) == {
        "critical": {
            "identity": {"docker-reference": str(place(registry))},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": None,
    }
    value = base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"])
    assert keys[0].public.verifies(value, payload)
    config = json.loads(registry.blobs[found["config"]["digest"]])
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}


def test_sign_adds_to_the_signatures_of_others_and_only_once(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """A second key adds its signature; the same key again adds nothing. Both then verify."""
    digest = registry.add_image("robots/llm", "1")
    made = [signatures.sign(client, place(registry), digest, one) for one in (*keys, keys[0])]
    assert made == [True, True, False]
    assert len(manifest(registry, digest)["layers"]) == 2
    for one in keys:
        signatures.verify(client, place(registry), digest, one.public)


def test_sign_asks_for_the_right_to_write(keys: tuple[PrivateKey, PrivateKey]) -> None:
    """A registry that wants a login is asked for a token that may push."""
    from jetson_containers.core.docker_login import Credentials

    with FakeRegistry(auth="bearer", login=("me", "secret")) as registry:
        registry.tokens = {"login-token"}
        digest = registry.add_image("robots/llm", "1")
        login = Credentials(username="me", password="secret")
        client = RegistryClient(Transport(timeout=5, env={}), lambda _host: login)
        assert signatures.sign(client, place(registry), digest, keys[0])
        assert any("scope=repository%3Arobots%2Fllm%3Apull%2Cpush" in path for path in registry.paths())


def test_sign_sends_nothing_to_another_host(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """A registry cannot lead the upload, and our login with it, to another host."""
    digest = registry.add_image("robots/llm", "1")
    registry.upload_at = "http://127.0.0.1:1/steal"
    with pytest.raises(RegistryError, match="an upload is on another host"):
        signatures.sign(client, place(registry), digest, keys[0])


def test_verify_refuses_an_image_without_a_signature(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """What nobody signed is refused, and so is what another key signed."""
    digest = registry.add_image("robots/llm", "1")
    with pytest.raises(SignatureError, match="has no signature by"):
        signatures.verify(client, place(registry), digest, keys[0].public)
    signatures.sign(client, place(registry), digest, keys[1])
    with pytest.raises(SignatureError, match="1 signatures, none of them by") as caught:
        signatures.verify(client, place(registry), digest, keys[0].public)
    assert "push --sign KEY IMAGE" in (caught.value.hint or "")


def test_verify_refuses_a_signature_of_another_image(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """The signature of a good image, put under the tag of a bad one, does not make it good."""
    good, bad = registry.add_image("robots/llm", "1"), registry.add_image("robots/llm", "2", size=666)
    signatures.sign(client, place(registry), good, keys[0])
    registry.manifests["robots/llm", signatures.tag_of(bad)] = registry.manifests["robots/llm", signatures.tag_of(good)]
    with pytest.raises(SignatureError, match="none of them by"):
        signatures.verify(client, place(registry), bad, keys[0].public)


def test_verify_refuses_a_payload_that_was_changed(
    registry: FakeRegistry, client: RegistryClient, keys: tuple[PrivateKey, PrivateKey]
) -> None:
    """A payload that speaks of the bad image has another checksum, or no valid signature."""
    digest = registry.add_image("robots/llm", "1")
    signatures.sign(client, place(registry), digest, keys[0])
    found = manifest(registry, digest)
    layer = found["layers"][0]
    forged = payload_of("x", DIGEST)
    registry.blobs[layer["digest"]] = forged
    with pytest.raises(RegistryError, match="does not have that content"):
        signatures.verify(client, place(registry), digest, keys[0].public)
    layer["digest"] = "sha256:" + hashlib.sha256(forged).hexdigest()
    registry.blobs[layer["digest"]] = forged
    registry.manifests["robots/llm", signatures.tag_of(DIGEST)] = (MANIFEST, json.dumps(found).encode())
    with pytest.raises(SignatureError, match="none of them by"):
        signatures.verify(client, place(registry), DIGEST, keys[0].public)


def test_listed_passes_over_other_layers() -> None:
    """Layers of other kinds, without a signature, or too large do not count."""
    fine = {"mediaType": PAYLOAD_TYPE, "size": 200, "digest": DIGEST, "annotations": {ANNOTATION: "AAAA"}}
    others = [{**fine, "mediaType": "text/plain"}, {**fine, "annotations": {}}, {**fine, "size": 1 << 30}]
    assert [found.payload for found in listed({"layers": [*others, fine]})] == [DIGEST]
    assert listed({}) == ()


@pytest.mark.parametrize("change", [{"annotations": {ANNOTATION: "no base64!"}}, {"size": -1}, {"annotations": 3}])
def test_listed_refuses_nonsense(change: dict[str, Any]) -> None:
    """A signature that is not base64, and sizes below zero, are said."""
    fine = {"mediaType": PAYLOAD_TYPE, "size": 200, "digest": DIGEST, "annotations": {ANNOTATION: "AAAA"}}
    with pytest.raises(ValueError, match=r"."):
        listed({"layers": [{**fine, **change}]})


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b'{"critical":{"type":"atomic container signature"}}', payload_of("x", "sha256:12"), b" " * (1 << 17)],
)
def test_signed_digest_refuses_other_payloads(payload: bytes) -> None:
    """A payload of another kind, and one without a whole digest, speak of no image."""
    with pytest.raises(ValueError, match=r"."):
        signed_digest(payload)
    assert signed_digest(payload_of("x", DIGEST)) == DIGEST
