"""What is pushed is signed by the digest that the engine names, and the key stays in its process."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import NotReadyError
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing.keys import PrivateKey, new_pair
from jetson_containers.signing.signer import PushedDigest, Signer
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        yield started


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    """One with a new key."""
    (tmp_path / "a.key").write_text(new_pair(b"")[0])
    found = settings.load({"cache": tmp_path}, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)
    return Signer.of(PrivateKey.read(tmp_path / "a.key", lambda: b""), found)


def test_signer_signs_a_digest_once(registry: FakeRegistry, signer: Signer) -> None:
    """The signature is there afterwards, and a second one is not made."""
    digest = registry.add_image("robots/stage", "1")
    repository = ImageRepository(registry.host, "robots/stage")
    assert not signer.has_signed(repository, digest)
    signature, new = signer.sign(f"{registry.host}/robots/stage:1", digest)
    assert (signature, new) == (f"{registry.host}/robots/stage:{digest.replace(':', '-')}.sig", True)
    assert signer.has_signed(repository, digest)
    assert signer.sign(f"{registry.host}/robots/stage:1", digest) == (signature, False)


def test_signer_signs_nothing_without_a_digest_of_the_engine(signer: Signer) -> None:
    """What the registry says that the tag holds may be anybody's."""
    with pytest.raises(NotReadyError, match="pushed and not signed"):
        signer.sign("registry.example/robots/stage:1", "")


def test_pushed_digest_is_the_last_one_and_lines_go_on() -> None:
    """A digest within another text is none."""
    heard: list[str] = []
    pushed = PushedDigest(heard.append)
    lines = ["Pushed", f"1: digest: sha256:{64 * 'a'} size: 528", f"digest: sha256:{64 * 'b'} size: 1", "digest: no"]
    for line in lines:
        pushed(line)
    assert (pushed.value, heard) == (f"sha256:{64 * 'b'}", lines)
    assert PushedDigest().value == ""


def test_signer_is_never_shown_and_never_sent(signer: Signer) -> None:
    """A task of a farm, which is a pickle, cannot hold one."""
    assert "key" not in repr(signer)
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(signer)
