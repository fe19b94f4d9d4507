"""Only what is signed runs: from a name to the digest that was verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import SignatureError, UsageError
from jetson_containers.engine.interface import LocalImage
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing import signatures
from jetson_containers.signing.keys import PrivateKey, new_pair
from jetson_containers.signing.verified import check_base, required, verified
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.core.settings import Settings


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        yield started


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private key's file; the public one lies beside it."""
    folder = tmp_path_factory.mktemp("pair")
    private, public = new_pair(b"")
    (folder / "a.key").write_text(private)
    (folder / "a.pub").write_text(public)
    return folder / "a.key"


def config(folder: Path, **more: Any) -> Settings:
    return settings.load({"cache": folder, **more}, env={"HOME": str(folder)}, files=(), root=folder)


def signed(registry: FakeRegistry, pair: Path, folder: Path, tag: str = "1", **more: Any) -> str:
    digest = registry.add_image("robots/llm", tag, **more)
    client = RegistryClient.of(config(folder))
    key = PrivateKey.read(pair, lambda: b"")
    signatures.sign(client, ImageRepository(registry.host, "robots/llm"), digest, key)
    return digest


def local(*digests: str) -> LocalImage:
    return LocalImage(
        id="sha256:1", references=("x",), labels={}, architecture="arm64", created="", size=1, digests=digests
    )


def test_verified_gives_the_digest_of_a_tag(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """A tag becomes the digest that was verified, so that nothing else runs if the tag moves a moment later."""
    digest = signed(registry, pair, tmp_path)
    image = f"{registry.host}/robots/llm:1"
    assert verified(image, pair.with_suffix(".pub"), config(tmp_path), None) == f"{registry.host}/robots/llm@{digest}"
    pinned = f"{registry.host}/robots/llm@{digest}"
    assert verified(pinned, pair.with_suffix(".pub"), config(tmp_path), None) == pinned


def test_verified_refuses_a_tag_that_was_moved(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """A tag that now points to another image is refused, although the old one was signed."""
    signed(registry, pair, tmp_path)
    registry.add_image("robots/llm", "1", size=666)
    with pytest.raises(SignatureError, match="no signature"):
        verified(f"{registry.host}/robots/llm:1", pair.with_suffix(".pub"), config(tmp_path), None)


def test_verified_takes_the_digest_of_the_local_image(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """What is here is what is verified: the older image of a tag, without a download of the newer one."""
    old = signed(registry, pair, tmp_path)
    registry.add_image("robots/llm", "1", size=666)
    place = f"{registry.host}/robots/llm"
    here = local(f"other.example/llm@sha256:{'0' * 64}", f"{place}@{old}")
    assert verified(f"{place}:1", pair.with_suffix(".pub"), config(tmp_path), here) == f"{place}@{old}"


def test_verified_refuses_a_local_image_that_no_registry_has(
    registry: FakeRegistry, pair: Path, tmp_path: Path
) -> None:
    """An image built here under a signed name is not what was signed."""
    signed(registry, pair, tmp_path)
    with pytest.raises(SignatureError, match="did not come from its registry") as caught:
        verified(f"{registry.host}/robots/llm:1", pair.with_suffix(".pub"), config(tmp_path), local())
    assert "push --sign KEY" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["llama_cpp:1", "sha256:" + "0" * 64, "0123456789ab"])
def test_verified_refuses_names_without_a_registry(name: str, pair: Path, tmp_path: Path) -> None:
    """Names of this machine and IDs have no registry that could hold a signature."""
    with pytest.raises(SignatureError, match="names no registry"):
        verified(name, pair.with_suffix(".pub"), config(tmp_path), None)


def test_verified_says_that_a_tag_is_missing(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """A tag that the registry does not have is not an image that could be signed."""
    with pytest.raises(SignatureError, match="is not in its registry"):
        verified(f"{registry.host}/robots/llm:2", pair.with_suffix(".pub"), config(tmp_path), None)


def test_verified_says_that_it_needs_the_network(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """Offline nothing counts as verified, and nothing is asked."""
    with pytest.raises(UsageError, match="cannot be looked up offline"):
        verified(f"{registry.host}/robots/llm:1", pair.with_suffix(".pub"), config(tmp_path, offline=True), None)
    assert registry.seen == []


def test_required_asks_for_a_signature_only_where_a_key_is_set(
    registry: FakeRegistry, pair: Path, tmp_path: Path
) -> None:
    """Without the setting a name stays what it is, and nobody is asked; with it the name becomes a digest."""
    image = f"{registry.host}/robots/llm:1"
    assert required(image, config(tmp_path), None) == image
    assert registry.seen == []
    digest = signed(registry, pair, tmp_path)
    chosen = config(tmp_path, verify_key=pair.with_suffix(".pub"))
    assert required(image, chosen, None) == f"{registry.host}/robots/llm@{digest}"


def test_check_base_passes_what_was_made_here_only(registry: FakeRegistry, pair: Path, tmp_path: Path) -> None:
    """An image without a registry's digest was made here; one with it must be signed by that digest."""
    chosen = config(tmp_path, verify_key=pair.with_suffix(".pub"))
    place = f"{registry.host}/robots/llm"
    good, bad = signed(registry, pair, tmp_path), registry.add_image("robots/llm", "2", size=666)
    for image in (None, local(), local(f"{place}@{good}")):
        check_base(f"{place}:1", chosen, image)
    with pytest.raises(SignatureError, match="has no signature"):
        check_base(f"{place}:2", chosen, local(f"{place}@{bad}"))
