"""What a user asks for: the parts of `--target` and upstream's environment variables, as text with an origin.

One part says one thing (`r36.4.3`, `jp6.2`, `orin-nx-16gb`, `sbsa`, `cu128`, `cpu`, `ubuntu24.04`, `py3.12`, `sm87`).
They are joined by commas in any order; the hyphens of an image tag (`r36.4-cu128-24.04`) do as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import ConfigError, JetsonError, TargetError, command
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.core.text import shown
from jetson_containers.core.versions import LONGEST, pep440
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import MACHINES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRAMMAR = (
    "L4T release: r36.4.3",
    "JetPack: jp6.2",
    "board: orin-nx-16gb, xavier-nx-8gb, nano …",
    "architecture: tegra, sbsa, x86_64, aarch64",
    "CUDA: cu128, or cpu for none",
    "distribution: ubuntu24.04, debian12",
    "Python: py3.12",
    "GPU code: sm87",
)
ELSEWHERE = "specify the platform: --target r36.4.3, --target x86_64,cu128, --target x86_64,cpu …"
CPU = "cpu"
# What a release must work on: every L4T family with its point releases that differ, servers and PCs.
SUPPORTED_TARGETS = (
    "r32.7.1", "r35.4.1", "r36.2.0", "r36.3.0", "r36.4.0", "r36.4.3", "r36.5.0", "r38.2.0", "r39.2.0",
    "sbsa", "x86_64", "x86_64-cu129", "x86_64-cpu",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TargetPart:
    """One thing that was asked for: its normalized value, unchanged written, and where."""

    value: str
    text: str
    origin: str  # "--target" or "$L4T_VERSION"

    def __str__(self) -> str:
        return f"`{self.text}` ({self.origin})"

    @property
    def place(self) -> str:
        """Where a value came from: `--target r36.4.3`, `$CUDA_VERSION 12.8`."""
        return f"{self.origin} {self.text}"


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All that was asked for. `sm` may be several, joined by commas in `value`."""

    l4t: TargetPart | None = None
    jetpack: TargetPart | None = None
    board: TargetPart | None = None
    arch: TargetPart | None = None  # "tegra", "sbsa", "x86_64", or "aarch64" for either of the first two
    cuda: TargetPart | None = None  # "12.8", or "cpu"
    distro: TargetPart | None = None  # "ubuntu 24.04"
    python: TargetPart | None = None  # "3.12"
    sm: TargetPart | None = None

    @property
    def names_machine(self) -> bool:
        """Whether a machine is named, so that the one we run on does not matter."""
        return any((self.l4t, self.jetpack, self.board, self.arch))

    @property
    def only_tegra(self) -> bool:
        """Whether `tegra` is said and the release is left to the host or the environment."""
        return bool(self.arch and self.arch.value == "tegra" and not (self.l4t or self.jetpack or self.board))


@dataclass
class _Collector:
    """Takes parts one by one and refuses a second value for the same thing."""

    found: dict[str, TargetPart] = field(default_factory=dict)

    def add(self, kind: str, part: TargetPart) -> None:
        old = self.found.get(kind)
        if old is None or old.value == part.value:
            self.found[kind] = part
        elif kind == "arch" and "aarch64" in (old.value, part.value) and "x86_64" not in (old.value, part.value):
            self.found[kind] = part if old.value == "aarch64" else old  # `arm64-sbsa`: the narrower one
        elif kind == "sm":
            self.found[kind] = TargetPart(
                value=f"{old.value},{part.value}", text=f"{old.text},{part.text}", origin=part.origin
            )
        else:
            raise conflict(old, part, "name two different things", hint="leave one of them out")


# The first line of /etc/nv_tegra_release, as pasted: "# R36 (release), REVISION: 4.3, GCID: …".
_RELEASE_FILE = re.compile(r"^[#\s]*R([0-9]+)\s+\(release\),\s*REVISION:\s*([0-9.]+)(,.*)?$", re.DOTALL)


def conflict(one: TargetPart, other: TargetPart, why: str, *, hint: str | None = None) -> JetsonError:
    """The error for two parts that cannot both hold."""
    kind = TargetError if "--target" in (one.origin, other.origin) else ConfigError
    return kind(f"{one} and {other}: {why}", hint=hint)


def from_target(target: str) -> Parts:
    """Parse `--target`. Raises TargetError for a part outside the grammar or two that contradict each other."""
    collector = _Collector()
    target = _RELEASE_FILE.sub(r"r\1.\2", target)
    for chunk in target.split(","):
        for text in _split_words(chunk.split()):
            kind, value = _recognize(text) or _unknown(text)
            collector.add(kind, TargetPart(value=value, text=text, origin="--target"))
    return Parts(**collector.found)


def from_env(env: Mapping[str, str]) -> Parts:
    """Read upstream's variables; an empty one counts as unset. Raises ConfigError for a value that cannot be right.

    A value is also taken as `--target` writes it: `CUDA_VERSION=cu128`, `PYTHON_VERSION=cp312`, `LSB_RELEASE=noble`.
    """
    collector = _Collector()
    for name, (kind, convert, _) in _VARIABLES.items():
        text = env.get(name, "").strip()
        if not text:
            continue
        value = _env_value(text, kind, convert)
        if value is None:
            raise ConfigError(f"${name}: `{shown(text)}` is not {_KINDS[kind]}", hint=_env_hint(name, text, kind))
        collector.add(kind, TargetPart(value=value, text=text, origin=f"${name}"))
    return Parts(**collector.found)


def _env_value(text: str, kind: str, convert: Callable[[str], str | None]) -> str | None:
    """What a variable says, as upstream writes it or as `--target` does: `12.8`, `128`, `cu128`, `CUDA 12.8`."""
    if not text.isascii() or len(text) > LONGEST:
        return None
    value = convert(text)
    if value is None:
        recognized, as_target = _recognize("-".join(text.split())) or ("", "")
        value = as_target if recognized == kind else None
    return value


def _env_hint(name: str, text: str, kind: str) -> str:
    """What to do about a value that cannot be right: `12,8` and `v12-8` look like 12.8."""
    numbers = ".".join(re.findall(r"[0-9]+", text[:LONGEST]))
    _, convert, example = _VARIABLES[name]
    meant = _recognize(text)
    if meant and meant[0] in _KINDS:
        return f"that is {_KINDS[meant[0]]}: unset {name}, and write {command('--target', text)}"
    if kind == "cuda" and (known := [cuda for cuda in tables.toolkits() if str(cuda.major) == numbers]):
        return f"of CUDA {numbers} there is {tables.listing(known)}: write one of them, or unset {name}"
    if text.isascii() and "." in numbers and _env_value(numbers, kind, convert):
        return f"did you mean `{numbers}`? Else unset {name}, or see --target"
    return f"write {name}={example}, or unset {name}"


def merge(env: Parts, target: Parts) -> Parts:
    """Let the target override the environment: one that names a machine replaces the variables that do."""
    if target.names_machine and not target.only_tegra:
        env = replace(env, l4t=None, jetpack=None, board=None, arch=None)
    return Parts(**{item.name: getattr(target, item.name) or getattr(env, item.name) for item in fields(Parts)})


def _split_words(words: Sequence[str]) -> list[str]:
    """Split at blanks, except within a name: `Jetson Orin Nano 8GB` and `JetPack 6.2` are one part each."""
    parts: list[str] = []
    while words:
        joined = (n for n in range(len(words), 1, -1) if _recognize("-".join(words[:n])))
        length = next(joined, 1)
        parts += ["-".join(words[:length])] if length > 1 else _split(words[0])
        words = words[length:]
    return parts


def _split(chunk: str) -> list[str]:
    """Split at hyphens where the pieces are parts, longest first: `orin-nx-16gb-cu128` is two parts."""
    chunk = re.sub(r"^([rR][0-9][0-9.]*)\.(?=[a-z])", r"\1-", chunk)  # upstream: r36.4.tegra-aarch64
    chunk = chunk.replace("amd64.x86_64", "x86_64")
    words = chunk.split("-")
    if len(chunk) > 2 * LONGEST:
        _unknown(chunk)
    parts = []
    while words:
        length = next((n for n in range(len(words), 0, -1) if _recognize("-".join(words[:n]))), 0)
        if not length:
            _unknown(chunk)
        parts.append("-".join(words[:length]))
        words = words[length:]
    return parts


def _recognize(text: str) -> tuple[str, str] | None:
    lower = text.lower()
    if len(lower) > LONGEST:
        return None
    for pattern, kind, value in _PATTERNS:
        if match := re.fullmatch(pattern, lower, re.ASCII):
            return kind, value(match)
    if known := tables.distro_of(lower):
        return "distro", known
    board = tables.board_id(lower)
    return ("board", board) if board else None


def _unknown(text: str) -> tuple[str, str]:
    words = [*tables.board_ids(), "tegra", "sbsa", "x86_64", "aarch64", "cpu"]
    meant = did_you_mean(text.lower()[:LONGEST], words)
    if re.fullmatch(r"[4-9]\.[0-9](?:\.[0-9])?", text):
        meant = f"is JetPack meant, `jp{text}`?"
    raise TargetError(
        f"unknown target component `{shown(text)}`{meant and '; '}{meant}",
        details=GRAMMAR,
        hint=f"boards: {tables.listing(sorted(tables.boards()))}",
    )


def _cuda(match: re.Match[str]) -> str:
    return f"{match[1]}.{match[2]}"


def _joined(match: re.Match[str]) -> str:
    return ".".join(filter(None, match.groups()))


_PATTERNS: tuple[tuple[str, str, Callable[[re.Match[str]], str]], ...] = (
    (r"(?:l4t[-_]?)?r(3[2-9])([0-9])([0-9])?", "l4t", _joined),  # r3643
    (r"(?:l4t[-_]?)?r([0-9]+(?:\.[0-9]+){0,3})", "l4t", lambda m: m[1]),
    (r"l4t[-_]?([0-9]+(?:\.[0-9]+){0,3})", "l4t", lambda m: m[1]),
    (r"(3[2-9]\.[0-9](?:\.[0-9]+)?)", "l4t", lambda m: m[1]),  # no Ubuntu and no JetPack is numbered so
    (r"(?:jp|jetpack)[-_]?([4-9])([0-9])([0-9])?", "jetpack", _joined),  # jp512
    (r"(?:jp|jetpack)[-_]?([0-9]+(?:\.[0-9]+){0,3}[a-z]*)", "jetpack", lambda m: m[1]),
    (r"tegra", "arch", lambda _: "tegra"),
    (r"sbsa", "arch", lambda _: "sbsa"),
    (r"(?:linux/)?(?:x86_64|amd64|x86)", "arch", lambda _: "x86_64"),
    (r"(?:linux/)?(?:aarch64|arm64)(?:/v8)?", "arch", lambda _: "aarch64"),
    (r"(?:cu|cuda)[-_]?([0-9]{2})([0-9]{1,2})", "cuda", _cuda),
    (r"(?:cu|cuda)[-_]?([0-9]{2})\.([0-9]{1,2})(?:\.[0-9]+)?", "cuda", _cuda),
    (CPU, "cuda", lambda _: CPU),
    (r"(?:ubuntu[-_]?)?([0-9]{2}\.[0-9]{2})(?:\.[0-9]+)?(?:-lts)?", "distro", lambda m: f"ubuntu {m[1]}"),
    (r"ubuntu[-_]?([0-9]{2})([0-9]{2})", "distro", lambda m: f"ubuntu {m[1]}.{m[2]}"),
    (r"debian[-_]?([0-9]{2})", "distro", lambda m: f"debian {m[1]}"),
    (r"(?:py|cp|python)[-_]?(3)\.?([0-9]{1,2})", "python", lambda m: f"{m[1]}.{m[2]}"),
    (r"sm[-_]?([0-9]{2,3})", "sm", lambda m: m[1]),
)


def _env_version(text: str) -> str | None:
    package = re.fullmatch(r"([0-9.]+)-[0-9]{14}", text)  # as dpkg numbers nvidia-l4t-core: 36.4.3-20250107174145
    version = pep440(package[1] if package else text.lstrip("rR"))
    return None if version is None else str(version)


def _env_cuda(text: str) -> str | None:
    match = re.fullmatch(r"v?([0-9]{1,3})\.([0-9]{1,3})(?:\.[0-9]+)*", text) or re.fullmatch(
        r"(1[0-9])([0-9])", text
    )  # 128 is 12.8
    return f"{match[1]}.{match[2]}" if match and int(match[1]) else None


def _env_python(text: str) -> str | None:
    if re.fullmatch(r"3\.[0-9]+(t|-nogil)", text):
        raise ConfigError(
            f"$PYTHON_VERSION: `{text}` asks for Python without its interpreter lock (GIL), which no package supports",
            hint="unset PYTHON_VERSION, or give 3.12",
        )
    match = re.fullmatch(r"(3\.[0-9]+)(?:\.[0-9]+)?", text) or re.fullmatch(r"(3)([0-9]{1,2})", text)
    return ".".join(match.groups()) if match else None


def _env_distro(text: str) -> str | None:
    match = re.fullmatch(r"([0-9]{2})\.?([0-9]{2})", text)
    return f"ubuntu {match[1]}.{match[2]}" if match else None


def _env_arch(text: str) -> str | None:
    flavors = {"tegra-aarch64": "tegra", "tegra": "tegra", "sbsa": "sbsa", "arm64-sbsa": "sbsa"}
    return {**flavors, **MACHINES}.get(text.lower())


def _env_jetpack(text: str) -> str | None:
    build = r"(?:\+b[0-9]+)?"  # as dpkg numbers nvidia-jetpack: 6.2.1+b38
    if digits := re.fullmatch(r"(?:jp)?([4-9])([0-9])([0-9])?", text.lower()):
        return _joined(digits)
    match = re.fullmatch(rf"(?:jp)?([0-9]+(?:\.[0-9]+){{0,3}}){build}[ -]?(\w*)", text.lower())
    return f"{match[1]}{match[2]}" if match else None


# What a variable sets, how upstream writes it, and an example.
_VARIABLES: dict[str, tuple[str, Callable[[str], str | None], str]] = {
    "L4T_VERSION": ("l4t", _env_version, "36.4.3"),
    "JETPACK_VERSION": ("jetpack", _env_jetpack, "6.2"),
    "CUDA_ARCH": ("arch", _env_arch, "tegra-aarch64"),
    "SYSTEM_ARCH": ("arch", _env_arch, "aarch64"),
    "CUDA_VERSION": ("cuda", _env_cuda, "12.8"),
    "LSB_RELEASE": ("distro", _env_distro, "24.04"),
    "PYTHON_VERSION": ("python", _env_python, "3.12"),
}
_KINDS = {
    "l4t": "an L4T release",
    "jetpack": "a JetPack",
    "arch": "an architecture",
    "cuda": "a CUDA version",
    "distro": "a release of Ubuntu",
    "python": "a Python version",
}


def version_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables such as `PYTORCH_VERSION` that may pin a package; those that describe the platform left out."""
    return {name: value for name, value in environ.items() if name.endswith("_VERSION") and name not in _VARIABLES}
