"""What MLC compiles for: devices, suffixes, hosts, what has to be installed; and its switches, old spellings too."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.llm.runtimes.interface import Job

DEFAULT_OPT = "O2"  # O3 is the same on one GPU of these boards, see facts: `faster_transformer` is off in the source
CHUNK = 1024  # tokens prefilled at once: the buffers for it grow with it, the speed hardly does
PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class DeviceTarget:
    """Where a compiled library runs (`targets` of facts/mlc.yaml). Tokens 0: the documentation gives none."""

    name: str
    device: str  # as `mlc_llm compile --device` calls it
    old: str  # as `mlc_llm.build --target` calls it; "" where it cannot
    file: str  # what the library's name says
    suffix: str
    host: str = ""  # LLVM triple; "" is the machine that compiles
    preset: bool = False  # MLC sets the host itself
    static: bool = False  # linked into an application
    context: int = 0
    window: int = 0
    window_chunk: int = 0
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """What a target needs beside MLC. `probe` is a shell line that prints `found` where it is there."""

    name: str
    probe: tuple[str, ...]
    missing: str
    remedy: str


@functools.cache
def targets() -> Mapping[str, DeviceTarget]:
    """All targets by name."""
    return {
        name: DeviceTarget(
            name=name,
            device=row["device"],
            old=row["old"],
            file=row["file"],
            suffix=row["suffix"],
            host=row.get("host", ""),
            preset=row.get("preset") == "yes",
            static=row.get("static") == "yes",
            context=int(row.get("context", 0)),
            window=int(row.get("window", 0)),
            window_chunk=int(row.get("window_chunk", 0)),
            needs=tuple(row.get("needs", ())),
        )
        for name, row in load_facts("mlc")["targets"].items()
    }


def device_target_of(job: Job) -> DeviceTarget:
    """The target of a job: the default is what runs it. Raises UsageError naming the targets there are."""
    asked = (job.device or job.target.device).lower()
    name = load_facts("mlc")["also"].get(asked, asked)
    if name == "vulkan" and "windows" in job.host:
        name = "windows"
    if name not in targets():
        raise UsageError(f"MLC does not compile for the device `{job.device}`", hint=f"--device {'|'.join(targets())}")
    return targets()[name]


def toolchains(place: DeviceTarget) -> tuple[Toolchain, ...]:
    """What has to be there before this target compiles."""
    rows = load_facts("mlc")["toolchains"]
    return tuple(
        Toolchain(
            name=name,
            probe=("sh", "-c", rows[name]["probe"]),
            missing=rows[name]["missing"],
            remedy=rows[name]["remedy"],
        )
        for name in place.needs
    )


def missing(place: DeviceTarget, probed: Mapping[str, str]) -> tuple[Toolchain, ...]:
    """Which of them an image said it lacks; what was not asked counts as there."""
    found = []
    for tool in toolchains(place):
        answer = probed.get(" ".join(tool.probe))
        if answer is not None and answer.strip().rpartition("\n")[2] != "found":
            found.append(tool)
    return tuple(found)


def library(stem: str, place: DeviceTarget) -> str:
    """The file name of a library, as MLC's documentation writes it; `stem` is model and mode."""
    return f"{stem}-{place.file}{place.suffix}"


def usual_context(device: str) -> int:
    """The context (tokens) that MLC's documentation gives to a kind of device; 0 where it gives none."""
    name = load_facts("mlc")["also"].get(device.lower(), device.lower())
    return targets()[name].context if name in targets() else 0


def translate_opt(value: str) -> tuple[str, tuple[str, ...]]:
    """Write `--opt` as the present MLC reads it; old spellings are replaced, and a notice says so.

    Raises UsageError for what no MLC knew.
    """
    table = load_facts("mlc")["opt"]
    text = value.strip().strip("'\"") or DEFAULT_OPT
    if "=" not in text:
        if text.upper() in table["presets"]:
            return text.upper(), ()
        raise UsageError(
            f"unknown optimization level `{value}` of MLC", hint=f"{', '.join(table['presets'])}, or switches"
        )
    chosen: dict[str, str] = {}
    notices = []
    for key, setting in _pairs(text, "--opt"):
        name = table["legacy"].get(key, key)
        if name != key:
            notices.append(f"--opt: `{key}` is now part of `{name}`; MLC rejects the old name")
            if chosen.get(name, setting) != setting:
                notices.append(f"--opt: the old switches for `{name}` disagree; it is on when one of them is")
                setting = "1"  # noqa: PLW2901 - the pair as it is written
        _check_switch(name, setting, table)
        chosen[name] = setting
    return ";".join(f"{key}={setting}" for key, setting in chosen.items()), tuple(notices)


def translate_overrides(value: str, which: str = "compile") -> tuple[dict[str, str], tuple[str, ...]]:
    """Read `--overrides`; old keys are replaced, and a notice says so. Raises UsageError for what MLC never knew."""
    table = load_facts("mlc")["overrides"]
    chosen: dict[str, str] = {}
    notices = []
    for key, setting in _pairs(value.strip().strip("'\""), "--overrides"):
        name = table["legacy"].get(key, key)
        if name != key:
            notices.append(f"--overrides: `{key}` is called `{name}` now")
        if name not in table[which]:
            raise UsageError(f"--overrides: unknown key `{key}`", hint=f"keys: {', '.join(table[which])}")
        if not re.fullmatch(r"-?[0-9]+|(?i:true|false)", setting):
            raise UsageError(f"--overrides: `{key}={setting}` is not a number", hint=f"e.g. {name}=1024")
        chosen[name] = setting
    return chosen, tuple(notices)


def join_settings(settings: Mapping[str, object]) -> str:
    """Write settings as `--overrides` takes them."""
    return ";".join(f"{key}={value}" for key, value in settings.items())


def _pairs(text: str, option: str) -> list[tuple[str, str]]:
    pairs = []
    for part in text.split(";"):
        if not part.strip():
            continue
        key, equals, setting = part.partition("=")
        if not equals:
            raise UsageError(f"{option}: `{part}` has no value", hint="KEY=VALUE;KEY=VALUE")
        pairs.append((key.strip().lstrip("-").replace("-", "_"), setting.strip()))
    return pairs


def _check_switch(name: str, setting: str, table: Mapping[str, Any]) -> None:
    choices = table["choices"].get(name, ["0", "1"])
    if name not in table["switches"] and name not in table["choices"]:
        known = [*table["switches"], *table["choices"]]
        raise UsageError(f"--opt: unknown switch `{name}`", hint=f"switches: {', '.join(known)}")
    if setting not in choices:
        raise UsageError(f"--opt: `{name}={setting}`: it takes {' or '.join(choices)}")
