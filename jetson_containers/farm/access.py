"""Who may talk to a farm: addresses, and TLS by Dask's own options.

Whoever reaches a scheduler or a worker can run any program there, because Dask's messages are pickles. So nothing but
loopback goes without TLS unless the user says so. With TLS both sides show a certificate of the farm's own authority.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from pathlib import Path

    import distributed

PORT = 8786  # Dask's own
_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):([0-9]{1,5})")
START = "start one: `jetson-containers farm scheduler`"
HINT = "as in `tls://build-host:8786`, or `tcp://127.0.0.1:8786` on one machine"


@dataclass(frozen=True, kw_only=True)
class FarmAccess:
    """How to reach or to open a farm. The files are PEM; None: what Dask's own configuration says."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    unencrypted: bool = False  # the user accepts connections without TLS beyond loopback

    def security(self, *, tls: bool) -> distributed.Security:
        """Dask's object for it. Raises UsageError for a file that is not there, or TLS without certificates."""
        library = require()
        files = {"--tls-ca": self.ca, "--tls-cert": self.certificate, "--tls-key": self.key}
        for option, path in files.items():
            if path is not None and not path.is_file():
                raise UsageError(f"{option}: there is no file `{path}`", hint="see docs/farm.md for how to make them")
        given: dict[str, Any] = {"tls_ca_file": self.ca}
        for side in ("client", "scheduler", "worker"):
            given |= {f"tls_{side}_cert": self.certificate, f"tls_{side}_key": self.key}
        chosen = {name: str(path) for name, path in given.items() if path is not None}
        security = library.Security(require_encryption=tls, **chosen)
        if tls and not (security.tls_ca_file and security.tls_client_cert):
            raise UsageError(
                "an address with tls:// needs certificates",
                hint="--tls-ca, --tls-cert and --tls-key; docs/farm.md says how to make them",
            )
        return security


def require() -> Any:
    """Dask's `distributed`. Raises NotReadyError with the command that installs it."""
    try:
        import distributed
    except ImportError as error:
        raise NotReadyError(
            f"a farm needs Dask's `distributed`, which cannot be imported: {error}",
            hint='`pip install "jetson-containers[farm]"`, in a checkout `.venv/bin/pip install ".[farm]"`',
        ) from error
    return distributed


def check(address: str, access: FarmAccess, option: str) -> str:
    """An address that may be used. Raises UsageError, naming `option`, for one that is none or is not protected."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise UsageError(f"{option}: `{shown(address)}` is not an address of a scheduler", hint=HINT)
    if match[1] == "tcp" and not access.unencrypted and not is_loopback(match[2]):
        raise UsageError(
            f"{option}: `{address}` is not encrypted, and whoever reaches a farm can run programs on its machines",
            hint="use tls:// with --tls-ca, --tls-cert and --tls-key; on a network where you trust every machine, "
            "--allow-unencrypted",
        )
    return address


def check_listens(address: str) -> None:
    """Raise NotReadyError where nobody listens: Dask tries on for its whole time limit, as if one were starting.

    What is only slow is left to Dask.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return
    try:
        socket.create_connection((match[2].strip("[]"), int(match[3])), timeout=5).close()
    except (ConnectionRefusedError, socket.gaierror) as error:
        raise NotReadyError(
            f"no scheduler answers at {address}: {(error.strerror or str(error)).lower()}", hint=START
        ) from error
    except OSError:
        return


def is_tls(address: str) -> bool:
    """Whether an address asks for TLS."""
    return address.startswith("tls://")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
