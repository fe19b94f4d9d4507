"""The client of a registry: tags, logins, manifests and configurations."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from jetson_containers.core.docker_login import Credentials
from jetson_containers.core.errors import RegistryError
from jetson_containers.registry.types import ImageRepository, UnreachableError
from tests.unit.fakeregistry import FakeRegistry, Fault
from tests.unit.registry.helpers import client


def test_tags_come_page_by_page() -> None:
    """Tags come page by page."""
    with FakeRegistry(page=2) as registry:
        registry.tags["ns/mlc"] = ["a", "b", "c", "d", "e"]
        assert client().tags(ImageRepository(registry.host, "ns/mlc")) == ("a", "b", "c", "d", "e")
        assert len(registry.seen) == 3


def test_tags_of_an_absent_repository_are_empty(registry: FakeRegistry) -> None:
    """A repository that does not exist has no tags."""
    assert client().tags(ImageRepository(registry.host, "ns/none")) == ()


def test_tags_refuse_pages_that_do_not_end(registry: FakeRegistry) -> None:
    """Pages that do not end are an error."""
    link = '</v2/ns/mlc/tags/list?n=1000>; rel="next"'
    registry.faults = [Fault(200, {"Link": link}, body=b'{"tags": ["a"]}')] * 5
    with pytest.raises(UnreachableError, match="do not end"):
        client().tags(ImageRepository(registry.host, "ns/mlc"))


def test_tags_refuse_a_next_page_on_another_host(registry: FakeRegistry) -> None:
    """A next page on another host is not followed."""
    registry.faults = [Fault(200, {"Link": '<http://127.0.0.9:1/v2/x>; rel="next"'}, body=b'{"tags": ["a"]}')]
    with pytest.raises(UnreachableError, match=r"another host, 127\.0\.0\.9:1"):
        client().tags(ImageRepository(registry.host, "ns/mlc"))


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"null"])
def test_tags_refuse_json_of_another_form(registry: FakeRegistry, body: bytes) -> None:
    """JSON of another form is an error."""
    registry.faults = [Fault(body=body)]
    with pytest.raises(UnreachableError, match="not a registry's answer"):
        client().tags(ImageRepository(registry.host, "ns/mlc"))


def test_tags_refuse_a_login_page(registry: FakeRegistry) -> None:
    """A login page is not taken for a list of tags."""
    registry.faults = [Fault(body=b"<html>")] * 9
    with pytest.raises(UnreachableError, match="no valid JSON"):
        client().tags(ImageRepository(registry.host, "ns/mlc"))


def test_token_without_a_login_is_fetched_once() -> None:
    """An anonymous token is fetched once."""
    with FakeRegistry(auth="bearer", page=1) as registry:
        registry.tags["ns/mlc"] = ["a", "b", "c"]
        assert client().tags(ImageRepository(registry.host, "ns/mlc")) == ("a", "b", "c")
        tokens = [path for path in registry.paths() if path.startswith("/token")]
        assert len(tokens) == 1
        assert parse_qs(tokens[0].partition("?")[2]) == {"service": ["fake"], "scope": ["repository:ns/mlc:pull"]}


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_login_is_used_for_basic_and_bearer(auth: str) -> None:
    """A login is used for both forms of authentication."""
    with FakeRegistry(auth=auth, login=("me", "pw")) as registry:
        registry.tags["ns/mlc"] = ["a"]
        assert client(Credentials(username="me", password="pw")).tags(ImageRepository(registry.host, "ns/mlc")) == (
            "a",
        )


def test_refresh_token_is_exchanged() -> None:
    """A refresh token is exchanged for an access token."""
    with FakeRegistry(auth="bearer", login=("me", "pw")) as registry:
        registry.tags["ns/mlc"] = ["a"]
        assert client(Credentials(username="", password="", identity_token="refresh")).tags(
            ImageRepository(registry.host, "ns/mlc")
        ) == ("a",)


def test_token_that_expired_is_renewed() -> None:
    """An expired token is renewed."""
    with FakeRegistry(auth="bearer") as registry:
        registry.tags["ns/mlc"] = ["a"]
        one = client()
        assert one.tags(ImageRepository(registry.host, "ns/mlc")) == ("a",)
        one._headers = dict.fromkeys(one._headers, "Bearer expired")
        assert one.tags(ImageRepository(registry.host, "ns/mlc")) == ("a",)


@pytest.mark.parametrize("auth", ["basic", "bearer"])
@pytest.mark.parametrize(
    ("login", "says"),
    [(Credentials(username="me", password="wrong"), "does not accept the login"), (None, "wants a login")],
)
def test_login_refusal_names_host_and_remedy(auth: str, login: Credentials | None, says: str) -> None:
    """A refused login names the host and what to do."""
    with FakeRegistry(auth=auth, login=("me", "pw")) as registry:
        registry.tags["ns/mlc"] = ["a"]
        with pytest.raises(RegistryError, match=says) as caught:
            client(login).tags(ImageRepository(registry.host, "ns/mlc"))
        assert registry.host in caught.value.message
        assert caught.value.hint == f"`docker login {registry.host}`"
        assert "wrong" not in str(caught.value)
        assert not isinstance(caught.value, UnreachableError)


def test_login_without_permission_is_an_error(registry: FakeRegistry) -> None:
    """A login that may not read the repository is an error."""
    registry.faults = [Fault(403)]
    with pytest.raises(RegistryError, match="does not let this login read ns/mlc"):
        client(Credentials(username="me", password="pw")).tags(ImageRepository(registry.host, "ns/mlc"))


def test_token_service_without_encryption_gets_no_credentials(registry: FakeRegistry) -> None:
    """Credentials do not go to a token service without encryption."""
    registry.faults = [Fault(401, {"WWW-Authenticate": 'Bearer realm="http://auth.example/token"'})]
    with pytest.raises(RegistryError, match=r"auth\.example: would be spoken to without encryption"):
        client(Credentials(username="me", password="pw")).tags(ImageRepository(registry.host, "ns/mlc"))


def test_inspect_reads_digest_size_and_labels(registry: FakeRegistry) -> None:
    """Inspecting an image reads its digest, size and labels."""
    labels = {"io.jetson-containers.role": '"final"'}
    digest = registry.add_image("ns/mlc", "1.0", labels=labels, size=5000)
    info = client().inspect(ImageRepository(registry.host, "ns/mlc"), "1.0", "arm64")
    assert info is not None
    assert (info.digest, info.architecture, info.platforms) == (digest, "arm64", ("arm64",))
    assert info.labels == labels
    assert info.size > 5000
    assert info.created == "2026-10-01T00:00:00Z"


@pytest.mark.parametrize(("wanted", "found"), [("arm64", "arm64"), ("amd64", "amd64"), ("riscv64", "amd64")])
def test_inspect_reads_the_fitting_image_of_an_index(registry: FakeRegistry, wanted: str, found: str) -> None:
    """Of an index the image of the wanted architecture is read."""
    images = {arch: registry.add_image("ns/mlc", f"only-{arch}", arch=arch) for arch in ("amd64", "arm64")}
    digest = registry.add_index("ns/mlc", "1.0", images)
    info = client().inspect(ImageRepository(registry.host, "ns/mlc"), "1.0", wanted)
    assert info is not None
    assert (info.digest, info.architecture, info.platforms) == (digest, found, ("amd64", "arm64"))


def test_digest_of_a_tag_is_read(registry: FakeRegistry) -> None:
    """The digest of a tag is read."""
    repository = ImageRepository(registry.host, "ns/mlc")
    digest = registry.add_image("ns/mlc", "1.0")
    assert client().digest(repository, "1.0") == digest
    assert [seen.method for seen in registry.seen] == ["HEAD"]
    assert client().digest(repository, "none") is None
    assert client().inspect(repository, "none", "arm64") is None


def test_digest_without_a_header_is_computed(registry: FakeRegistry) -> None:
    """Without its header the digest is computed."""
    digest = registry.add_image("ns/mlc", "1.0")
    media_type, body = registry.manifests["ns/mlc", "1.0"]
    path = "/v2/ns/mlc/manifests/1.0"
    registry.routes[path] = lambda request: registry.send(request, 200, body, kind=media_type)
    assert client().digest(ImageRepository(registry.host, "ns/mlc"), "1.0") == digest


def test_inspect_refuses_a_config_with_a_wrong_digest(registry: FakeRegistry) -> None:
    """A config whose digest is wrong is refused."""
    registry.add_image("ns/mlc", "1.0")
    registry.blobs = dict.fromkeys(registry.blobs, b'{"architecture": "arm64"}')
    with pytest.raises(UnreachableError, match="does not have that content"):
        client().inspect(ImageRepository(registry.host, "ns/mlc"), "1.0", "arm64")


@pytest.mark.parametrize("index", [False, True], ids=["image", "image of an index"])
def test_inspect_refuses_a_manifest_of_another_digest(registry: FakeRegistry, index: bool) -> None:
    """What is read under a digest must be what an engine pulls by it: labels of one image never vouch for another."""
    digest, other = registry.add_image("ns/mlc", "1.0"), registry.add_image("ns/mlc", "2.0", labels={"a": "b"})
    media_type, body = registry.manifests["ns/mlc", "2.0"]
    headers = {} if index else {"Docker-Content-Digest": digest}
    said = lambda request: registry.send(request, 200, body, kind=media_type, headers=headers)  # noqa: E731
    registry.routes[f"/v2/ns/mlc/manifests/{digest if index else '1.0'}"] = said
    assert digest != other
    with pytest.raises(RegistryError, match=f"is not {digest}"):
        client().inspect(ImageRepository(registry.host, "ns/mlc"), digest if index else "1.0", "arm64")


def test_inspect_refuses_a_manifest_of_another_type(registry: FakeRegistry) -> None:
    """A manifest of another type is refused."""
    body = json.dumps({"mediaType": "application/vnd.unknown"}).encode()
    registry.manifests["ns/mlc", "1.0"] = ("application/vnd.unknown", body)
    with pytest.raises(UnreachableError, match=r"type `application/vnd\.unknown`"):
        client().inspect(ImageRepository(registry.host, "ns/mlc"), "1.0", "arm64")


def test_tags_come_from_the_mirror_of_a_registry() -> None:
    """A mirror is asked below its own path; other registries are asked themselves."""
    with FakeRegistry() as registry:
        registry.tags["hub/ns/mlc"] = ["a", "b"]
        one = client()
        one._mirrors = {"docker.io": f"{registry.host}/hub"}
        assert one.tags(ImageRepository("docker.io", "ns/mlc")) == ("a", "b")
        assert one.has_mirror("docker.io")
        assert not one.has_mirror(registry.host)
