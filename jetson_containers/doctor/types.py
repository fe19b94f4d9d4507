"""What a check looks at, and what it finds."""

from __future__ import annotations

import enum
import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.text import without_passwords
from jetson_containers.registry.http import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Capabilities, Engine
    from jetson_containers.platforms.platform import Platform

ASK_TIMEOUT = 10  # seconds a program may take


def ask(argv: Sequence[str]) -> str:
    """What a program prints. Raises OSError where it is missing or fails, TimeoutError where it does not answer."""
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=ASK_TIMEOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"`{argv[0]}` did not answer within {ASK_TIMEOUT} s") from error
    if done.returncode != 0:
        raise OSError(f"`{argv[0]}` failed: {done.stderr.strip()[:200]}")
    return done.stdout


class Status(enum.Enum):
    """How a check ended; `doctor` exits 1 when one failed."""

    OK = "ok"
    NOTE = "note"  # nothing is wrong, but something can be better
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"  # it does not apply here, or cannot be found out; the finding says which


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found; `remedy` is the command or action that helps, `fix` the step of `setup` that does it."""

    status: Status
    text: str
    remedy: str = ""
    fix: str = ""

    def __post_init__(self) -> None:
        """Addresses of proxies, engines and indexes may hold a login, and reports are sent to others."""
        object.__setattr__(self, "text", without_passwords(self.text))
        object.__setattr__(self, "remedy", without_passwords(self.remedy))


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report. `remedy` is empty when all is well."""

    check: str
    status: Status
    finding: str
    remedy: str = ""
    why: str = ""
    fix: str = ""  # a step of `jetson-containers setup`


@dataclass(frozen=True, kw_only=True)
class DoctorContext:
    """What the checks may look at. `root` is "/" or a folder of captured files."""

    platform: Callable[[], Platform]
    engine: Callable[[], Engine]
    settings: Settings
    root: Path = Path("/")
    ask: Callable[[Sequence[str]], str] = ask
    head: Callable[[str], str] | None = None  # URL → its `Date` header; None: over the network
    now: Callable[[], float] = time.time
    user: int = field(default_factory=os.geteuid)
    settings_error: str = ""  # why the settings could not be read; `settings` are the defaults then

    @property
    def is_here(self) -> bool:
        """Whether the machine that is looked at is this one."""
        return self.root == Path("/")

    def reach(self, url: str) -> str:
        """The `Date` header of a server's answer, without a login. Raises RegistryError where it does not answer."""
        scheme, _, rest = url.partition("://")
        place, slash, path = rest.partition("/")
        url = f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
        if self.head is not None:
            return self.head(url)
        transport = Transport(
            timeout=5.0,
            ca_bundle=self.settings["ca_bundle"],
            insecure=(url.split("/")[2], *self.settings["insecure_registries"]) if url.startswith("http://") else (),
            env=self.settings.env,
        )
        return transport.request("HEAD", url).headers.get("date", "")


@dataclass(frozen=True, kw_only=True)
class CheckDefinition:
    """One check: its name, why it matters, and how to find out.

    `look` gets the context, `look_at_engine` the capabilities of the engine too and is left out without one, and where
    the engine is on another machine unless that makes no difference (`anywhere`).
    """

    name: str
    why: str
    look: Callable[[DoctorContext], Finding] | None = None
    look_at_engine: Callable[[DoctorContext, Capabilities], Finding] | None = None
    anywhere: bool = False
    limit: float = 15.0  # seconds


def ok(text: str) -> Finding:
    """Nothing to do."""
    return Finding(status=Status.OK, text=text)


def skip(text: str) -> Finding:
    """Not applicable here, or not to be found out."""
    return Finding(status=Status.SKIP, text=text)


def note(text: str, remedy: str, fix: str = "") -> Finding:
    """Something could be better."""
    return Finding(status=Status.NOTE, text=text, remedy=remedy, fix=fix)


def warn(text: str, remedy: str, fix: str = "") -> Finding:
    """Something is likely to fail or to be slow."""
    return Finding(status=Status.WARN, text=text, remedy=remedy, fix=fix)


def fail(text: str, remedy: str, fix: str = "") -> Finding:
    """Something that does not work."""
    return Finding(status=Status.FAIL, text=text, remedy=remedy, fix=fix)


def bare_command(*words: object) -> str:
    """A command as a remedy, with every word quoted where it has to be."""
    return shlex.join(map(str, words))


def read(path: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
