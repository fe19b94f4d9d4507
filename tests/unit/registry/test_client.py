"""Registries: what is asked, what is believed, what is kept, and what is said when nothing answers."""

from __future__ import annotations

import base64
import json
import socket
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jetson_containers.core.errors import RegistryError, UsageError
from jetson_containers.registry import (
    ImageRepository,
    Listings,
    Tag,
    TagListing,
    UnreachableError,
    dockerhub,
    human_age,
    snapshot,
)
from jetson_containers.registry.auth import Challenge, Credentials, docker_credentials, parse_challenge
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport, _retry_after
from jetson_containers.registry.types import plain_http_allowed, split_host
from tests.unit.fakeregistry import Clock, FakeRegistry, Fault, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_HOME = {"HOME": "/nonexistent"}


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


def transport(clock: Clock | None = None, **more: Any) -> Transport:
    clock = clock or Clock()
    more = {"timeout": 20.0, "env": {}, **more}
    return Transport(clock=clock, sleep=clock.sleep, jitter=lambda: 1.0, **more)


def client(login: Credentials | None = None, **more: Any) -> RegistryClient:
    return RegistryClient(transport(**more), lambda _host: login)


# names


@pytest.mark.parametrize(
    ("text", "host", "path", "reference"),
    [
        ("docker.io/dustynv", "docker.io", "dustynv", "dustynv"),
        ("dustynv/mlc", "docker.io", "dustynv/mlc", "dustynv/mlc"),
        ("index.docker.io/dustynv", "docker.io", "dustynv", "dustynv"),
        ("reg:5000/ns/mlc", "reg:5000", "ns/mlc", "reg:5000/ns/mlc"),
        ("localhost/mlc", "localhost", "mlc", "localhost/mlc"),
        ("https://ghcr.io/nvidia-ai-iot/", "ghcr.io", "nvidia-ai-iot", "ghcr.io/nvidia-ai-iot"),
    ],
)
def test_repository_parse_splits_as_docker_does(text: str, host: str, path: str, reference: str) -> None:
    """A repository is read as docker reads it."""
    repository = ImageRepository.parse(text)
    assert (repository.host, repository.path, repository.reference) == (host, path, reference)


@pytest.mark.parametrize("text", ["", "reg:5000/", "ns/mlc:1.0", "ns//mlc", "ns/mlc@sha256:0"])
def test_repository_parse_refuses_other_text(text: str) -> None:
    """Text that does not name a repository is an error."""
    with pytest.raises(UsageError, match="no repository"):
        ImageRepository.parse(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:5000", True), ("127.3.2.1", True), ("localhost:5000", True), ("[::1]:5000", True),
        ("listed.lan:5000", True), ("listed.lan", False), ("whole.lan:1", True), ("10.0.0.1:5000", False),
        ("docker.io", False), ("127.0.0.1.evil.com", False), ("localhost.evil.com", False),
    ],
)  # fmt: skip
def test_plain_http_is_allowed_to_loopback_and_listed_registries(host: str, allowed: bool) -> None:
    """Plain HTTP goes only to loopback and to listed registries."""
    assert plain_http_allowed(host, ["listed.lan:5000", "whole.lan"]) is allowed


def test_split_host_needs_a_dot_a_port_or_localhost() -> None:
    """A first part is a host if it has a dot or a port, or is localhost."""
    assert split_host("ns/mlc") == ("docker.io", "ns/mlc")
    assert split_host("mlc") == ("docker.io", "mlc")
    assert split_host("my.reg/mlc") == ("my.reg", "mlc")


# transport


def test_transport_returns_status_body_and_headers(registry: FakeRegistry) -> None:
    """An answer is read with its headers."""
    response = transport().request("GET", registry.url + "/v2/")
    assert (response.status, response.body) == (200, b"{}")
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(503), Fault(503)],
        [Fault(500)],
        [Fault(408)],
        [Fault(drop=True)],
        [Fault(drop=True), Fault(502)],
        [Fault(shorten=True)],
        [Fault(body=b'{"tags": ["0.1')],
    ],
    ids=["503 twice", "500", "408", "dropped", "dropped, 502", "truncated", "truncated JSON"],
)
def test_transport_retries_passing_failures(registry: FakeRegistry, faults: list[Fault]) -> None:
    """Failures that may pass are tried again."""
    registry.faults = list(faults)
    clock = Clock()
    response = transport(clock).request("GET", registry.url + "/v2/", want_json=True)
    assert response.json() == {}
    assert len(registry.seen) == len(faults) + 1
    assert len(clock.slept) == len(faults)


def test_transport_pauses_double_with_jitter(registry: FakeRegistry) -> None:
    """Pauses double and have jitter."""
    registry.faults = [Fault(503)] * 3
    clock = Clock()
    transport(clock).request("GET", registry.url + "/v2/")
    assert clock.slept == [0.5, 1.0, 2.0]
    registry.faults = [Fault(503)] * 2
    calm = Clock()
    Transport(clock=calm, sleep=calm.sleep, jitter=lambda: 0.0, env={}).request("GET", registry.url + "/v2/")
    assert calm.slept == [0.25, 0.5]


def test_transport_gives_up_in_bounded_time(registry: FakeRegistry) -> None:
    """A registry that stays down is given up in bounded time."""
    registry.faults = [Fault(503)] * 50
    clock = Clock()
    with pytest.raises(UnreachableError, match=r"answered 503 \(6 attempts\)") as caught:
        transport(clock).request("GET", registry.url + "/v2/")
    assert registry.host in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 4
    assert sum(clock.slept) < 20


def test_retry_after_in_seconds_is_obeyed(registry: FakeRegistry) -> None:
    """A Retry-After in seconds is obeyed."""
    registry.faults = [Fault(429, {"Retry-After": "7"})]
    clock = Clock()
    assert transport(clock).request("GET", registry.url + "/v2/").status == 200
    assert clock.slept == [7.0]


def test_retry_after_may_be_a_date(registry: FakeRegistry) -> None:
    """Retry after may be a date."""
    when = datetime.now(timezone.utc) + timedelta(seconds=9)
    registry.faults = [Fault(429, {"Retry-After": format_datetime(when, usegmt=True)})]
    clock = Clock()
    assert transport(clock).request("GET", registry.url + "/v2/").status == 200
    assert clock.slept == [pytest.approx(8.5, abs=1.5)]


def test_retry_after_beyond_the_limit_is_refused_at_once(registry: FakeRegistry) -> None:
    """A wait longer than the limit is refused at once."""
    registry.faults = [Fault(429, {"Retry-After": "3600"})]
    clock = Clock()
    with pytest.raises(UnreachableError, match=r"too many requests.*asks to wait 3600 s"):
        transport(clock).request("GET", registry.url + "/v2/")
    assert clock.slept == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_transport_does_not_retry_lasting_failures(registry: FakeRegistry, status: int) -> None:
    """Failures that will not pass are not tried again."""
    registry.faults = [Fault(status)]
    assert transport().request("GET", registry.url + "/v2/").status == status
    assert len(registry.seen) == 1


@pytest.mark.parametrize("fault", [Fault(delay=0.5), Fault(trickle=0.02)], ids=["silent", "a byte at a time"])
def test_transport_leaves_a_slow_registry(registry: FakeRegistry, fault: Fault) -> None:
    """A registry slower than the time limit is left."""
    registry.faults = [fault]
    slow = Transport(timeout=0.15, env={}, jitter=lambda: 0.0)
    with pytest.raises(UnreachableError, match=r"no answer within|truncated"):  # without a limit it is a good answer
        slow.request("GET", registry.url + "/v2/")


def test_fake_registry_keeps_its_port_when_closed() -> None:
    """The port of a closed test registry stays taken, so that nothing answers there."""
    with FakeRegistry() as gone:
        host, _, port = gone.host.partition(":")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((host, int(port)))


def test_transport_names_a_refused_connection() -> None:
    """A refused connection is named."""
    with FakeRegistry() as gone:
        url = gone.url
    with pytest.raises(UnreachableError, match="connection refused"):
        transport().request("GET", url + "/v2/")


def test_transport_refuses_plain_http_to_a_public_host() -> None:
    """A public host is never asked without encryption."""
    with pytest.raises(RegistryError, match="without encryption") as caught:
        transport().request("GET", "http://registry.example/v2/")
    assert "INSECURE_REGISTRIES=registry.example" in (caught.value.hint or "")
    assert transport(insecure=["reg.lan:5000"]).base_url("reg.lan:5000") == "http://reg.lan:5000"
    assert transport().base_url("reg.lan:5000") == "https://reg.lan:5000"


def test_redirect_to_another_host_drops_credentials(registry: FakeRegistry) -> None:
    """A redirect is followed, and another host gets no credentials."""
    with FakeRegistry() as other:
        other.routes["/blob"] = lambda request: other.send(request, 200, b'{"far": 1}')
        registry.routes["/near"] = lambda request: registry.send(request, 200, b'{"near": 1}')
        for target in (other.url + "/blob", registry.url + "/near"):
            registry.faults = [Fault(307, {"Location": target})]
            transport().request("GET", registry.url + "/x", headers={"Authorization": "Bearer s3cret"})
        assert "Authorization" not in other.seen[0].headers
        assert registry.seen[-1].headers["Authorization"] == "Bearer s3cret"


def test_redirect_to_plain_http_is_refused(registry: FakeRegistry) -> None:
    """A redirect to a public host without encryption is refused."""
    registry.faults = [Fault(302, {"Location": "http://registry.example/x"})]
    with pytest.raises(RegistryError, match=r"registry\.example: would be spoken to without encryption"):
        transport().request("GET", registry.url + "/x")


def test_redirect_keeps_the_method_head(registry: FakeRegistry) -> None:
    """A HEAD request stays one when redirected."""
    registry.faults = [Fault(307, {"Location": registry.url + "/v2/"})]
    assert transport().request("HEAD", registry.url + "/x").status == 200
    assert [seen.method for seen in registry.seen] == ["HEAD", "HEAD"]


def test_transport_cuts_off_an_endless_answer(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless answer is cut off."""
    monkeypatch.setattr("jetson_containers.registry.http.MAX_BODY", 1000)
    registry.faults = [Fault(body=b"x" * 5000)]
    with pytest.raises(RegistryError, match="larger than"):
        transport().request("GET", registry.url + "/v2/")


def test_proxy_comes_from_the_environment(registry: FakeRegistry) -> None:
    """Proxies come from the environment, and their password is not shown."""
    registry.faults = [Fault(403)] * 5
    through = transport(env={"HTTPS_PROXY": f"http://user:pw@{registry.host}"})
    with pytest.raises(RegistryError) as caught:
        through.request("GET", "https://registry.example/v2/")
    first = registry.seen[0]
    assert (first.method, first.path) == ("CONNECT", "registry.example:443")
    assert "pw" not in caught.value.message + str(caught.value.hint)


def test_proxy_is_not_used_for_loopback_and_no_proxy(registry: FakeRegistry) -> None:
    """Loopback and hosts in no_proxy are asked directly."""
    env = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1", "no_proxy": "reg.lan,.corp"}
    assert transport(env=env).request("GET", registry.url + "/v2/").status == 200
    from urllib.request import Request

    handler = transport(env=env)._proxy_handler()
    assert handler.proxy_open(Request("https://reg.lan/v2/"), "http://127.0.0.1:1", "https") is None
    assert handler.proxy_open(Request("https://a.corp/v2/"), "http://127.0.0.1:1", "https") is None


def test_ca_bundle_without_certificates_is_an_error(tmp_path: Path, registry: FakeRegistry) -> None:
    """A CA bundle without certificates is an error."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(RegistryError, match=r"ca.pem: no usable certificates"):
        transport(ca_bundle=tmp_path / "ca.pem").request("GET", registry.url + "/v2/")


# credentials


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"',
            Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull"),
        ),
        ('Basic realm="Registry Realm"', Challenge("basic", "Registry Realm")),
        ('Basic realm="x", Bearer realm="https://r/t"', Challenge("bearer", "https://r/t")),
        ('bearer realm="https://r/t",scope="repository:a/b:pull,push"',
         Challenge("bearer", "https://r/t", "", "repository:a/b:pull,push")),
        ("Negotiate", None),
        ("", None),
    ],
)  # fmt: skip
def test_parse_challenge_reads_www_authenticate(header: str, expected: Challenge | None) -> None:
    """The header WWW-Authenticate is read."""
    assert parse_challenge(header) == expected


@given(st.text())
@example("0\x1f")
def test_parse_challenge_and_retry_after_accept_any_text(text: str) -> None:
    """No text in a header raises an error."""
    parse_challenge(text)
    pause = _retry_after(text)
    assert pause is None or pause >= 0


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ({"auths": {"reg:5000": {"auth": encoded("me", "p:w")}}}, "reg:5000", Credentials("me", "p:w")),
        ({"auths": {"https://reg.io/v2/": {"auth": encoded("me", "pw")}}}, "reg.io", Credentials("me", "pw")),
        ({"auths": {"https://index.docker.io/v1/": {"auth": encoded("me", "pw")}}}, "docker.io",
         Credentials("me", "pw")),
        ({"auths": {"reg.io": {"auth": encoded("00000000", ""), "identitytoken": "tok"}}}, "reg.io",
         Credentials("00000000", "", "tok")),
        ({"auths": {"reg.io": {"username": "me", "password": "pw"}}}, "reg.io", Credentials("me", "pw")),
        ({"auths": {"reg.io": {}}}, "reg.io", None),
        ({"auths": {"other.io": {"auth": encoded("me", "pw")}}}, "reg.io", None),
        ({"auths": {"reg.io.evil.com": {"auth": encoded("me", "pw")}}}, "reg.io", None),
        ({}, "reg.io", None),
    ],
)  # fmt: skip
def test_docker_credentials_reads_docker_config(
    tmp_path: Path, config: dict[str, Any], host: str, expected: Credentials | None
) -> None:
    """Logins are read from docker's configuration."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert docker_credentials(host, {"DOCKER_CONFIG": str(tmp_path)}) == expected


@pytest.mark.parametrize("text", ["{", '{"auths": {"reg.io": {"auth": "%%%"}}}'])
def test_docker_credentials_names_a_damaged_config(tmp_path: Path, text: str) -> None:
    """A damaged configuration of docker is named."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RegistryError, match=r"config\.json"):
        docker_credentials("reg.io", {"DOCKER_CONFIG": str(tmp_path)})


HELPER = """#!/bin/sh
echo "$@" > "{dir}/argv"
read server
case "$server" in
  reg.io) echo '{{"ServerURL":"reg.io","Username":"me","Secret":"s3cret"}}' ;;
  token.io) echo '{{"ServerURL":"token.io","Username":"<token>","Secret":"refresh"}}' ;;
  broken.io) echo nonsense ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ({"credHelpers": {"reg.io": "fake"}}, "reg.io", Credentials("me", "s3cret")),
        ({"credsStore": "fake"}, "reg.io", Credentials("me", "s3cret")),
        ({"credsStore": "fake"}, "token.io", Credentials("", "", "refresh")),
        ({"credsStore": "fake"}, "unknown.io", None),
        ({"credsStore": "fake", "auths": {"plain.io": {"auth": encoded("a", "b")}}}, "plain.io",
         Credentials("a", "b")),
    ],
)  # fmt: skip
def test_credential_helper_is_asked_over_stdin(
    tmp_path: Path, config: dict[str, Any], host: str, expected: Credentials | None
) -> None:
    """A credential helper is asked over its standard input."""
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(HELPER.format(dir=tmp_path))
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps(config))
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert _with_path(env, host) == expected
    assert (tmp_path / "argv").read_text() == "get\n"


def _with_path(env: dict[str, str], host: str) -> Credentials | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", env["PATH"])
        return docker_credentials(host, env)


@pytest.mark.parametrize(("helper", "host"), [("missing", "reg.io"), ("fake", "broken.io")])
def test_credential_helper_that_fails_is_named(tmp_path: Path, helper: str, host: str) -> None:
    """A credential helper that is missing or fails is named."""
    file = tmp_path / "docker-credential-fake"
    file.write_text(HELPER.format(dir=tmp_path))
    file.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": helper}))
    with pytest.raises(RegistryError, match=f"docker-credential-{helper}"):
        _with_path({"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}, host)


def test_credentials_repr_hides_the_password() -> None:
    """A password does not show in a repr."""
    assert "pw" not in repr(Credentials("me", "pw", "pw"))


# client


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
    with pytest.raises(UnreachableError, match="no registry's answer"):
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
        assert client(Credentials("me", "pw")).tags(ImageRepository(registry.host, "ns/mlc")) == ("a",)


def test_refresh_token_is_exchanged() -> None:
    """A refresh token is exchanged for an access token."""
    with FakeRegistry(auth="bearer", login=("me", "pw")) as registry:
        registry.tags["ns/mlc"] = ["a"]
        assert client(Credentials("", "", "refresh")).tags(ImageRepository(registry.host, "ns/mlc")) == ("a",)


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
    [(Credentials("me", "wrong"), "does not accept the login"), (None, "wants a login")],
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
        client(Credentials("me", "pw")).tags(ImageRepository(registry.host, "ns/mlc"))


def test_token_service_without_encryption_gets_no_credentials(registry: FakeRegistry) -> None:
    """Credentials do not go to a token service without encryption."""
    registry.faults = [Fault(401, {"WWW-Authenticate": 'Bearer realm="http://auth.example/token"'})]
    with pytest.raises(RegistryError, match=r"auth\.example: would be spoken to without encryption"):
        client(Credentials("me", "pw")).tags(ImageRepository(registry.host, "ns/mlc"))


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


def test_inspect_refuses_a_manifest_of_another_type(registry: FakeRegistry) -> None:
    """A manifest of another type is refused."""
    body = json.dumps({"mediaType": "application/vnd.unknown"}).encode()
    registry.manifests["ns/mlc", "1.0"] = ("application/vnd.unknown", body)
    with pytest.raises(UnreachableError, match=r"type `application/vnd\.unknown`"):
        client().inspect(ImageRepository(registry.host, "ns/mlc"), "1.0", "arm64")


# Docker Hub


def hub_row(name: str, *arches: str, pushed: str = "2025-05-02T10:00:00Z") -> dict[str, Any]:
    return {
        "name": name, "tag_last_pushed": pushed, "full_size": 99, "digest": digest_of(name.encode()),
        "images": [{"architecture": arch, "size": 50, "digest": "sha256:1"} for arch in arches],
    }  # fmt: skip


def test_docker_hub_lists_date_size_and_architecture() -> None:
    """Docker Hub tells date, size and architecture of a tag."""
    with FakeRegistry(page=2) as registry:
        registry.hub["dustynv/mlc"] = [hub_row("1", "arm64"), hub_row("2", "amd64", "arm64", "unknown"), hub_row("3")]
        answer = dockerhub.list_tags(transport(), ImageRepository("docker.io", "dustynv/mlc"), base=registry.url)
    assert answer is not None
    assert answer[0] == (
        Tag("1", "2025-05-02", 50, "arm64", digest_of(b"1")),
        Tag("2", "2025-05-02", 50, "amd64", digest_of(b"2")),
        Tag("2", "2025-05-02", 50, "arm64", digest_of(b"2")),
        Tag("3", "2025-05-02", 99, None, digest_of(b"3")),
    )


def test_docker_hub_says_when_nothing_changed() -> None:
    """Docker Hub answers that nothing changed."""
    with FakeRegistry() as registry:
        registry.hub["dustynv/mlc"] = [hub_row("1", "arm64")]
        repository = ImageRepository("docker.io", "dustynv/mlc")
        first = dockerhub.list_tags(transport(), repository, base=registry.url)
        assert first is not None
        assert dockerhub.list_tags(transport(), repository, etag=first[1], base=registry.url) is None
        registry.hub["dustynv/mlc"].append(hub_row("2", "arm64"))
        again = dockerhub.list_tags(transport(), repository, etag=first[1], base=registry.url)
        assert again is not None
        assert len(again[0]) == 2


def test_docker_hub_without_the_repository_lists_no_tags(registry: FakeRegistry) -> None:
    """Docker Hub lists no tags for an absent repository."""
    assert dockerhub.list_tags(transport(), ImageRepository("docker.io", "a/b"), base=registry.url) == ((), "")


# listings


class Today:
    """A clock on the wall, for ages."""

    def __init__(self, text: str = "2026-11-21T00:00:00+00:00") -> None:
        self.now = datetime.fromisoformat(text).timestamp()

    def __call__(self) -> float:
        return self.now


def listings(tmp_path: Path, *, offline: bool = False, today: Today | None = None, hub: str = "") -> Listings:
    return Listings(tmp_path, client, offline=offline, now=today or Today(), hub=hub)


def test_listing_is_asked_for_once_in_ten_minutes(tmp_path: Path, registry: FakeRegistry) -> None:
    """A listing is asked for once in ten minutes."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    first = listings(tmp_path, today=today).get(repository)
    assert (first.origin, first.tags) == ("live", (Tag("1"),))
    registry.tags["ns/mlc"] = ["1", "2"]
    today.now += 599
    again = listings(tmp_path, today=today).get(repository)
    assert (again.origin, len(again.tags), again.notice) == ("cache", 1, "")
    today.now += 2
    assert len(listings(tmp_path, today=today).get(repository).tags) == 2
    assert len(registry.seen) == 2


def test_listing_of_an_unreachable_registry_is_the_kept_one_with_its_age(tmp_path: Path) -> None:
    """For an unreachable registry the kept list is used and its age is said."""
    today = Today("2026-11-01T12:00:00+00:00")
    with FakeRegistry() as registry:
        registry.tags["ns/mlc"] = ["1"]
        repository = ImageRepository(registry.host, "ns/mlc")
        listings(tmp_path, today=today).get(repository)
    today.now += 20 * 86400 + 60
    after = listings(tmp_path, today=today)
    listing = after.get(repository)
    assert listing.tags == (Tag("1"),)
    assert listing.notice == f"registry {registry.host} not reachable; using the list of 2026-11-01, 20 days old"
    assert "connection refused" in after.notes[0]


def test_listing_of_an_unreachable_registry_without_a_kept_one_is_an_error(tmp_path: Path) -> None:
    """An unreachable registry without a kept list is an error."""
    with FakeRegistry() as gone:
        repository = ImageRepository(gone.host, "ns/mlc")
    with pytest.raises(UnreachableError, match="connection refused"):
        listings(tmp_path).get(repository)


def test_listing_refused_by_the_registry_is_an_error_despite_a_kept_one(tmp_path: Path, registry: FakeRegistry) -> None:
    """A refusal is an error also where an old list is kept."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    listings(tmp_path, today=today).get(repository)
    today.now += 700
    registry.faults = [Fault(403)]
    with pytest.raises(RegistryError, match="403"):
        listings(tmp_path, today=today).get(repository)


def test_listing_of_docker_hub_falls_back_to_the_shipped_one(tmp_path: Path) -> None:
    """Where Docker Hub is down, the shipped list is used."""
    with FakeRegistry() as gone:
        hub = gone.url
    listing = listings(tmp_path, hub=hub).get(ImageRepository("docker.io", "dustynv/mlc"))
    assert listing.origin == "snapshot"
    assert "0.20.0-r36.4.0" in {tag.tag for tag in listing.tags}
    assert listing.notice == "registry docker.io not reachable; using the list of 2025-05-06, 564 days old"


def test_listing_offline_sends_no_request(tmp_path: Path, registry: FakeRegistry) -> None:
    """Offline, no registry is asked."""
    offline = listings(tmp_path, offline=True)
    hub = offline.get(ImageRepository("docker.io", "dustynv/mlc"))
    assert len(hub.tags) == 29
    assert hub.notice == "offline; using the list of docker.io of 2025-05-06, 564 days old"
    unknown = offline.get(ImageRepository(registry.host, "ns/mlc"))
    assert unknown.tags == ()
    assert unknown.notice == f"offline: nothing is known of {registry.host}/ns/mlc"
    assert registry.seen == []


def test_listing_of_docker_hub_unchanged_costs_one_short_answer(tmp_path: Path, registry: FakeRegistry) -> None:
    """An unchanged list of Docker Hub costs one short answer."""
    registry.hub["dustynv/mlc"] = [hub_row("1", "arm64")]
    today, repository = Today(), ImageRepository("docker.io", "dustynv/mlc")
    listings(tmp_path, today=today, hub=registry.url).get(repository)
    today.now += 700
    again = listings(tmp_path, today=today, hub=registry.url).get(repository)
    assert [tag.tag for tag in again.tags] == ["1"]
    today.now += 500  # fresh again since the answer "unchanged"
    assert listings(tmp_path, today=today, hub=registry.url).get(repository).origin == "cache"
    assert len(registry.seen) == 2


def test_listings_of_several_registries_survive_one_that_is_down(tmp_path: Path, registry: FakeRegistry) -> None:
    """Several registries are asked at once, and one may be down."""
    registry.tags = {"ns/a": ["1"], "ns/b": ["2"]}
    with FakeRegistry() as gone:
        host = gone.host
    wanted = [
        ImageRepository(registry.host, "ns/a"),
        ImageRepository(host, "ns/a"),
        ImageRepository(registry.host, "ns/b"),
    ]
    first, second, third = listings(tmp_path).get_all(wanted)
    assert isinstance(first, TagListing)
    assert isinstance(second, UnreachableError)
    assert isinstance(third, TagListing)
    assert (first.tags, third.tags) == ((Tag("1"),), (Tag("2"),))


def test_labels_are_read_once_and_kept(tmp_path: Path, registry: FakeRegistry) -> None:
    """Labels are read once and kept."""
    labels = {"io.jetson-containers.packages": '["mlc:1"]', "maintainer": "x"}
    digest = registry.add_image("ns/mlc", "1.0", labels=labels)
    registry.add_image("ns/mlc", "2.0")
    repository = ImageRepository(registry.host, "ns/mlc")
    one = listings(tmp_path)
    full = one.described(one.get(repository), ["1.0"], "arm64")
    (row,) = [tag for tag in full.tags if tag.tag == "1.0"]
    assert row.labels == {"io.jetson-containers.packages": '["mlc:1"]'}
    assert (row.arch, row.digest, row.pushed) == ("arm64", digest, "2026-10-01")
    asked = len(registry.seen)
    two = listings(tmp_path)
    assert two.described(two.get(repository), ["1.0"], "arm64").tags == full.tags
    assert len(registry.seen) == asked


def test_labels_of_a_multi_platform_tag_are_read_for_each_target(tmp_path: Path, registry: FakeRegistry) -> None:
    """A multi-platform tag is read for each target."""
    images = {
        arch: registry.add_image("ns/x", arch, arch=arch, labels={"io.jetson-containers.key": arch})
        for arch in ("amd64", "arm64")
    }
    registry.add_index("ns/x", "1.0", images)
    repository = ImageRepository(registry.host, "ns/x")
    for arch in ("amd64", "arm64"):
        one = listings(tmp_path)
        full = one.described(one.get(repository), ["1.0"], arch)
        rows = {tag.arch: tag.labels for tag in full.tags if tag.tag == "1.0"}
        assert rows[arch] == {"io.jetson-containers.key": arch}
        assert set(rows) == {"amd64", "arm64"}


def test_labels_that_cannot_be_read_stay_unknown_with_a_note(tmp_path: Path, registry: FakeRegistry) -> None:
    """A tag that cannot be read stays unknown, with a note."""
    registry.add_image("ns/mlc", "1.0")
    registry.blobs.clear()
    one = listings(tmp_path)
    full = one.described(one.get(ImageRepository(registry.host, "ns/mlc")), ["1.0"], "arm64")
    assert full.tags == (Tag("1.0"),)
    assert "ns/mlc:1.0" in one.notes[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "repository": "other/x"}'])
def test_cache_that_is_damaged_is_made_again(tmp_path: Path, registry: FakeRegistry, text: str) -> None:
    """A damaged cache is made again."""
    registry.tags["ns/mlc"] = ["1"]
    repository = ImageRepository(registry.host, "ns/mlc")
    listings(tmp_path).get(repository)
    (file,) = (tmp_path / "registry").rglob("*.json")
    file.write_text(text)
    assert listings(tmp_path).get(repository).origin == "live"
    assert json.loads(file.read_text())["tags"] == [{"tag": "1"}]


def test_cache_from_the_future_is_not_trusted(tmp_path: Path, registry: FakeRegistry) -> None:
    """A listing from the future is not trusted."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    listings(tmp_path, today=today).get(repository)
    today.now -= 86400
    assert listings(tmp_path, today=today).get(repository).origin == "live"


def test_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, registry: FakeRegistry) -> None:
    """A cache that cannot be written costs only time."""
    (tmp_path / "registry").write_text("a file where the folder should be")
    registry.tags["ns/mlc"] = ["1"]
    one = listings(tmp_path)
    assert one.get(ImageRepository(registry.host, "ns/mlc")).tags == (Tag("1"),)
    assert any("not kept" in note for note in one.notes)


def test_cache_path_stays_below_the_cache(tmp_path: Path) -> None:
    """No name of a repository leads outside the cache."""
    path = listings(tmp_path)._path(ImageRepository("..", "../../etc/passwd"))
    assert path.parent.parent == tmp_path / "registry" or path.is_relative_to(tmp_path / "registry")
    assert ".." not in path.name.split("/")


def test_shipped_listing_has_every_published_image() -> None:
    """The shipped list has every published image."""
    data = json.loads((snapshot.__globals__["SNAPSHOT"]).read_bytes())
    assert (data["schema"], data["fetched"]) == (1, "2025-05-06")
    tags = [tag for entry in data["repositories"] for tag in entry["tags"]]
    assert (len(data["repositories"]), len(tags)) == (132, 752)
    assert all(tag["digest"].startswith("sha256:") and tag["bytes"] > 0 and tag["pushed"] for tag in tags)
    assert snapshot(ImageRepository("docker.io", "dustynv/nothing")).tags == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "less than a minute"), (60, "1 minute"), (7300, "2 hours"), (86400, "1 day"), (48729600, "564 days")],
)
def test_human_age_of_seconds(seconds: float, text: str) -> None:
    """Ages are said in words."""
    assert human_age(seconds) == text
