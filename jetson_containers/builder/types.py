"""What goes into a build run and what comes out; `builder` hands these on to the rest of the program."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DISK_PER_STAGE = 500_000_000  # bytes a stage is expected to need as long as no build of it was recorded


@dataclass(frozen=True, kw_only=True)
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
    push_stages: bool = False  # whether stages that were built go to the registry of stages
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_flags: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    ca_bundle: Path | None = None
    wheelhouse: Path | None = None
    index_url: str = ""
    mirrors: Mapping[str, Any] = field(default_factory=dict)  # the setting: other servers for all builds
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    progress: str = "auto"  # auto, plain, tty, json
    data: Path | None = None  # mounted as /data during tests that have docker's own rights
    least: bool = True  # tests have no capabilities, and a /data of their own
    run_options: tuple[str, ...] = ()  # of `docker run`, for tests: how containers get the GPU here
    engine_elsewhere: bool = False  # it does not see this machine's files: tests are deferred
    state_dir: Path | None = None  # locks and recorded times; None: `.state` in the log directory
    memory: int = 0  # bytes all stages together may plan with; 0: what the machine has available
    cores: int = 0  # CPU cores; 0: what this process may use
    disk_per_stage: int = DISK_PER_STAGE  # bytes; 0: do not look at the disk
    test_timeout: float = 1800.0  # seconds a package test may take unless the recipe says otherwise
    command: str = ""  # the user's command line, named as the next command after a failure
    env: Mapping[str, str] | None = field(default=None, repr=False)  # whose secrets to redact; None: os.environ

    @property
    def forced(self) -> bool:
        """Whether what is there already does not count."""
        return self.rebuild or self.no_cache

    @property
    def state(self) -> Path:
        """The directory of locks and recorded times, shared by all runs of this user."""
        return self.state_dir or self.log_dir / ".state"


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What became of one stage. `state`: built, cached, failed, skipped. Times in seconds.

    `tests`: passed, failed, cached, skipped, deferred or none; `""` when it did not come to tests.
    """

    package: str
    key: str
    image: str
    state: str
    seconds: float
    size: int | None = None
    tests: str = ""
    log: Path | None = None
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What became of a run; `ok` is false when anything failed."""

    ok: bool
    images: tuple[str, ...]
    stages: tuple[StageReport, ...]
    seconds: float
    log_dir: Path
    pushed: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as `build.json` holds it; paths as text."""
        data = asdict(self)
        data["log_dir"] = str(self.log_dir)
        for stage in data["stages"]:
            stage["log"] = str(stage["log"]) if stage["log"] else None
        return {"schema": 1, **data}
