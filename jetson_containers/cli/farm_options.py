"""The options with which a farm is reached or opened, as several commands have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.farm.access import FarmAccess

_FILE = click.Path(path_type=Path)


def access_options() -> tuple[Callable[[Any], Any], ...]:
    """The options of TLS; without them Dask's own configuration counts."""
    return (
        click.option("--tls-ca", type=_FILE, help="Certificate of the farm's authority."),
        click.option("--tls-cert", type=_FILE, help="This machine's certificate for the farm."),
        click.option("--tls-key", type=_FILE, help="The key of --tls-cert."),
        click.option(
            "--allow-unencrypted",
            is_flag=True,
            help="Let a farm go without TLS beyond this machine: whoever reaches it can run programs there.",
        ),
    )


def farm_access(ca: Path | None, certificate: Path | None, key: Path | None, *, unencrypted: bool) -> FarmAccess:
    """What was given of `access_options`."""
    from jetson_containers.farm import access

    return access.FarmAccess(ca=ca, certificate=certificate, key=key, unencrypted=unencrypted)
