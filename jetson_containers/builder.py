"""Runs plans: what is built already is not built again, siblings in parallel, tests once per key, resumable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.console import Console
    from jetson_containers.engine.base import Engine
    from jetson_containers.plan import Plan


@dataclass(frozen=True)
class BuildOptions:
    """How plans are run."""

    log_dir: Path
    jobs: int = 0  # stages at the same time; 0: as memory and cores allow
    keep_going: bool = False
    rebuild: bool = False
    no_cache: bool = False
    tests: str = "once"  # all, once, warn, none
    skip_tests: tuple[str, ...] = ()  # package patterns, "intermediate", "all"
    test_only: tuple[str, ...] = ()
    push: str = ""  # registry namespace to push finals to
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_flags: tuple[str, ...] = ()
    network: str = "host"
    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    wheelhouse: Path | None = None
    index_url: str = ""
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    progress: str = "auto"  # auto, plain, tty, json
    data: Path | None = None  # mounted as /data during tests


@dataclass(frozen=True)
class StageReport:
    """What became of one stage. `state`: built, cached, failed, skipped. Times in seconds."""

    package: str
    key: str
    image: str
    state: str
    seconds: float
    size: int | None = None
    tests: str = ""  # "passed", "failed", "cached", "none", "skipped"
    log: Path | None = None
    cause: str = ""


@dataclass(frozen=True)
class BuildReport:
    """What became of a run; `ok` is false when anything failed."""

    ok: bool
    images: tuple[str, ...]
    stages: tuple[StageReport, ...]
    seconds: float
    log_dir: Path


def run(plans: Sequence[Plan], engine: Engine, options: BuildOptions, console: Console) -> BuildReport:
    """Build all plans. Raises BuildError/PackageTestError for the first failure unless `keep_going`.

    Ctrl-C stops the children, removes half-done names and raises InterruptedByUserError; the next run goes on at the
    stage that was interrupted.
    """
    raise NotImplementedError
