"""The transport: retries, time limits, redirects, proxies and certificates."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RegistryError
from jetson_containers.registry.http import Transport
from jetson_containers.registry.types import ClockError, UnreachableError
from tests.unit.fakeregistry import Clock, FakeRegistry, Fault
from tests.unit.registry.helpers import transport

if TYPE_CHECKING:
    from pathlib import Path


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


def test_redirect_to_a_redirect_is_followed(registry: FakeRegistry) -> None:
    """A redirect may lead to another one, as stores of blobs do."""
    registry.routes["/end"] = lambda request: registry.send(request, 200, b"[3]")
    registry.faults = [Fault(307, {"Location": f"{registry.url}/{name}"}) for name in ("a", "b", "end")]
    assert transport().request("GET", registry.url + "/x").body == b"[3]"


def test_stream_gives_blocks_and_says_where_it_breaks_off(registry: FakeRegistry) -> None:
    """A large answer comes block by block; one that breaks off, or does not come, names the host."""
    registry.routes["/large"] = lambda request: registry.send(request, 200, b"x" * 200_000)
    with transport().stream(f"{registry.url}/large", {}) as answer:
        assert sum(map(len, answer.blocks)) == 200_000
    registry.faults = [Fault(drop=True)]
    with pytest.raises(UnreachableError, match=registry.host), transport().stream(f"{registry.url}/large", {}):
        pass


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


def certificate(folder: Path, begins: int) -> Path:
    """A file with the key and the certificate of 127.0.0.1 that is valid for ten days from that day on."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    first = datetime.now(timezone.utc) + timedelta(days=begins)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(first + timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file = folder / "both.pem"
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return file


@pytest.mark.parametrize(("begins", "said"), [(10, "not yet valid"), (-20, "has expired")])
def test_certificate_that_is_out_of_date_names_the_clock(tmp_path: Path, begins: int, said: str) -> None:
    """The clock may be what is wrong, so the message has its date and the remedy sets it."""
    file = certificate(tmp_path, begins)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        with listening.accept()[0] as connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    thread = threading.Thread(target=greet)
    thread.start()
    with listening, pytest.raises(ClockError, match=said) as caught:
        transport(ca_bundle=file).request("GET", f"https://127.0.0.1:{listening.getsockname()[1]}/v2/")
    thread.join()
    assert time.strftime("which says %Y-") in caught.value.message
    assert "timedatectl" in (caught.value.hint or "")


def test_ca_bundle_without_certificates_is_an_error(tmp_path: Path) -> None:
    """A CA bundle without certificates is an error."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(RegistryError, match=r"ca.pem: no usable certificates"):
        transport(ca_bundle=tmp_path / "ca.pem").request("GET", "https://127.0.0.1:1/v2/")


def test_plain_http_reads_no_certificates(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the machine take longer to read than a registry in the same network takes to answer."""
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: pytest.fail("certificates were read"))
    assert transport().request("GET", registry.url + "/v2/").status == 200
