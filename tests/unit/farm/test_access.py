"""Addresses and certificates of farms."""

from __future__ import annotations

import builtins
import socket
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.farm import access
from jetson_containers.farm.access import FarmAccess

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786", "tls://10.0.0.5:8786", "tls://farm.example:9"],
)
def test_address_on_loopback_or_with_tls_is_taken(address: str) -> None:
    """Loopback needs no TLS; any other address has it."""
    assert access.check(address, FarmAccess(), "--farm") == address


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.5:8786", "tcp://farm.example:8786", "tcp://[2001:db8::1]:8786", "tcp://0.0.0.0:1"]
)
def test_address_without_tls_beyond_loopback_is_refused_unless_allowed(address: str) -> None:
    """Whoever reaches a farm can run programs, so this takes an option of its own."""
    with pytest.raises(UsageError, match="is not encrypted") as caught:
        access.check(address, FarmAccess(), "--farm")
    assert "--allow-unencrypted" in (caught.value.hint or "")
    assert access.check(address, FarmAccess(unencrypted=True), "--farm") == address


@pytest.mark.parametrize(
    "address", ["", "farm", "http://a:1", "tcp://a", "tcp://a:0", "tcp://a:65536", "tcp://a b:1", "tcp://:8786"]
)
def test_address_that_is_none_is_refused(address: str) -> None:
    """What is not SCHEME://HOST:PORT is refused with an example."""
    with pytest.raises(UsageError, match="is not an address of a scheduler") as caught:
        access.check(address, FarmAccess(unencrypted=True), "ADDRESS")
    assert caught.value.hint == access.HINT


def test_tls_needs_certificates_and_all_sides_get_them(tmp_path: Path) -> None:
    """With tls:// a certificate is needed; the files count for client, scheduler and worker."""
    with pytest.raises(UsageError, match="needs certificates"):
        FarmAccess().security(tls=True)
    with pytest.raises(UsageError, match="--tls-key: there is no file"):
        FarmAccess(key=tmp_path / "none").security(tls=True)
    for name in ("ca", "cert", "key"):
        (tmp_path / name).touch()
    security = FarmAccess(ca=tmp_path / "ca", certificate=tmp_path / "cert", key=tmp_path / "key").security(tls=True)
    assert security.require_encryption
    assert {security.tls_client_cert, security.tls_scheduler_cert, security.tls_worker_cert} == {str(tmp_path / "cert")}


def test_farm_without_dask_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is not installed everywhere; the error names it."""
    real = builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "distributed":
            raise ImportError("No module named 'distributed'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(NotReadyError, match="a farm needs Dask") as caught:
        access.require()
    assert "jetson-containers[farm]" in (caught.value.hint or "")


def test_address_where_nobody_listens_is_refused_at_once() -> None:
    """A closed port and an unknown host need no waiting; an open port is left to Dask."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        closed = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(NotReadyError, match=r"no scheduler answers at .*: connection refused") as caught:
            access.check_listens(closed)
        assert caught.value.hint == access.START
        server.listen()
        access.check_listens(closed)


def test_address_of_an_unknown_host_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without an address is named; what is only slow is left to Dask, which tries on."""

    def fails(error: OSError) -> None:
        def connect(*_args: object, **_kwargs: object) -> None:
            raise error

        monkeypatch.setattr(socket, "create_connection", connect)

    fails(socket.gaierror(-2, "Name or service not known"))
    with pytest.raises(NotReadyError, match="name or service not known"):
        access.check_listens("tls://farm.invalid:8786")
    fails(TimeoutError("timed out"))
    access.check_listens("tls://farm.invalid:8786")
