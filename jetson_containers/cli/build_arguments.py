"""What was given on the line of `build`, and what its texts mean."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.cli.app import App

# Which images a command is about, for all that plan some.
MULTIPLE = click.option("--multiple", is_flag=True, help="One image per matching package instead of one chain.")
ORDER = click.option(
    "--order",
    type=click.Choice(["declared", "canonical"]),
    default="declared",
    show_default=True,
    help="Of packages in an image: as declared, or so that many images share most.",
)


@dataclass(frozen=True, kw_only=True)
class BuildArguments:
    """What was given on the line of `build`; the options of the same names say what each means."""

    packages: tuple[str, ...]
    name: str
    base: str
    multiple: bool
    order: str
    build_args: str
    build_flags: str
    skip_packages: str
    keep_going: bool
    skip_tests: str
    test_only: str
    tests: str
    dry_run: bool
    push: str
    stage_registry: str | None
    push_stages: bool
    stage: str
    rebuild: bool
    no_cache: bool
    jobs: int
    engine: str | None
    buildkit: bool | None
    buildkit_device: str
    progress: str
    cache_from: tuple[str, ...]
    cache_to: tuple[str, ...]
    use_proxy: bool
    ca_bundle: str | None
    wheelhouse: str | None
    mirrors: str | None
    log_dir: Path | None
    list_packages: bool
    show_packages: bool
    ccache: bool | None
    ccache_options: str
    log_options: str
    farm: str | None
    farm_labels: str
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    allow_unencrypted: bool
    locked: Path | None
    locked_request: Mapping[str, Any] | None = None  # what the lock says was asked for


def chosen_base(app: App, given: BuildArguments) -> str:
    """The base image the user chose, or `""`; what is not an image is refused before anybody is asked for it."""
    from jetson_containers.images.name import ImageName

    chosen = str(given.base or app.settings["base"])
    try:
        if chosen:
            ImageName.parse(chosen.removeprefix("sha256:"))  # an image may also be named by its ID
    except UsageError as error:
        origin = "--base" if given.base else app.settings.origin("base")
        raise UsageError(f"{origin}: {error.message}", hint=error.hint) from error
    return chosen


def split_flags(text: str) -> tuple[str, ...]:
    """Split `--build-flags` as a shell splits words. Raises UsageError for an open quote."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(
            f"--build-flags: `{text}` cannot be split into words: {error}",
            hint="close each quote, as in a shell",
        ) from error


def parse_build_args(text: str) -> dict[str, str]:
    """Parse upstream's `K:V,K2:V2`, or `K=V`; a value may hold both signs, and a comma before something without a key.

    Raises UsageError for a part without either or with a name that Docker would not take.
    """
    found: dict[str, str] = {}
    last = ""
    for part in text.split(",") if text else ():
        name, sign, value = re.match(r"([^:=]*)([:=]?)(.*)", part, re.DOTALL).groups()  # type: ignore[union-attr]
        if sign and name.strip().isidentifier():
            last = name.strip()
            found[last] = value
        elif last:
            found[last] += "," + part
        else:
            raise UsageError(
                f"--build-args: `{part}` is not of the form KEY:VALUE",
                hint="e.g. --build-args CUDA_VERSION:12.6,JOBS:2",
            )
    return found


def build_args_of(given: BuildArguments) -> dict[str, str]:
    """The build arguments: those of the lock, else those of the line."""
    return dict(given.locked_request["build_args"]) if given.locked_request else parse_build_args(given.build_args)


def build_flags_of(given: BuildArguments) -> tuple[str, ...]:
    """The flags of `docker build`: those of the lock, else those of the line."""
    return tuple(given.locked_request["build_flags"]) if given.locked_request else split_flags(given.build_flags)
