"""What `facts/` says of L4T releases, boards, distributions and CUDA.

The tables hold text; what is a version, number or list is said by the classes here.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core.errors import TargetError
from jetson_containers.core.facts import load_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True, kw_only=True)
class Release:
    """One L4T release. Versions of libraries are text as NVIDIA writes them; None where none was published."""

    l4t: Version
    jetpack: str | None
    arch: str  # "tegra" or "sbsa"
    ubuntu: str
    socs: tuple[str, ...]
    cuda: Version  # major.minor
    driver_cuda: Version  # newest CUDA the driver runs natively, major.minor
    toolkit: str  # full version of the toolkit, or just major.minor
    base: str | None  # NVIDIA's base image; None: plain Ubuntu
    cudnn: str | None = None
    tensorrt: str | None = None
    vpi: str | None = None
    driver: str | None = None
    date: str | None = None
    status: str = "released"

    @property
    def sm(self) -> tuple[int, ...]:
        """Compute capabilities ×10 of all chips the release runs on, ascending."""
        return tuple(sorted(soc_sm(soc) for soc in self.socs))


@dataclass(frozen=True, kw_only=True)
class Board:
    """One Jetson module. Memory in GiB (soldered) and MiB (`visible`: MemTotal), bandwidth in GB/s.

    `mhz`: the highest clock of its GPU outside the Super modes.
    """

    id: str
    name: str
    soc: str
    memory: int
    l4t: tuple[str, ...]
    modules: tuple[str, ...]
    also: tuple[str, ...] = ()
    compatible: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    visible: int | None = None
    bandwidth: float | None = None
    super_bandwidth: float | None = None
    cores: int | None = None
    mhz: int | None = None

    def boots(self, l4t: Version) -> bool:
        """Whether the module runs an L4T release, known or not."""
        return any(_in_range(l4t, text) for text in self.l4t)


def series(version: Version) -> Version:
    """Cut a version to major.minor, which is how CUDA levels are compared."""
    return Version(f"{version.major}.{version.minor}")


@functools.cache
def releases() -> tuple[Release, ...]:
    """All known releases, newest first."""
    table = load_facts("l4t")
    rows = [_release(l4t, row, table["families"][l4t.split(".")[0]]) for l4t, row in table["releases"].items()]
    return tuple(sorted(rows, key=lambda row: row.l4t, reverse=True))


@functools.cache
def release_for(l4t: Version) -> Release | None:
    """The release itself, else the nearest lower of the same major.minor, else of the same major; else None.

    Never another major. A release that is not a general release stands in for another only within its own major.minor.
    """
    lower = [row for row in releases() if row.l4t.major == l4t.major and row.l4t <= l4t]
    if lower and lower[0].l4t == l4t:
        return lower[0]
    same_minor = [row for row in lower if row.l4t.minor == l4t.minor]
    return next(iter(same_minor or [row for row in lower if row.status == "released"]), None)


def majors() -> tuple[int, ...]:
    """The L4T families there are releases of, ascending."""
    return tuple(sorted({row.l4t.major for row in releases()}))


def newest(keep: Callable[[Release], bool]) -> Release | None:
    """The newest general release that satisfies `keep`."""
    return next((row for row in releases() if row.status == "released" and keep(row)), None)


@functools.cache
def boards() -> Mapping[str, Board]:
    """All known modules by id."""
    return {key: _board(key, row) for key, row in load_facts("boards")["boards"].items()}


@functools.cache
def board_ids() -> Mapping[str, str]:
    """Every accepted spelling of a board → its id."""
    return {name: board.id for board in boards().values() for name in (board.id, *board.also)}


def board_id(name: str) -> str | None:
    """The id that a name means: an id, a module's part number, or what NVIDIA and shops call it.

    Case, blanks, hyphens, the maker and words such as "developer kit" are left out of account, and so is the order of
    the words: `Jetson Orin Nano 8 GB`, `NVIDIA Jetson AGX Orin Developer Kit`, `Xavier AGX 16`, `p3767-0000`.
    """
    words = re.findall(r"[a-z0-9]+", name.lower())
    kit = ["devkit"] if {"devkit", "kit"} & set(words) else []
    plain = [word for word in words if word not in _LEFT_OUT_OF_NAMES]
    memory = [word for word in plain if re.fullmatch(r"[0-9]+(gb?)?|gb", word, re.ASCII)]
    names = [word for word in plain if word not in memory]
    size = [re.sub(r"(?<=[0-9])g?$", "gb", "".join(memory))] if memory else []
    swapped = [*reversed(names)] if len(names) == 2 else names
    spellings = _spellings()
    # The first developer kit of AGX Orin is another board than the module with as much memory.
    for joined in (words, [*names, *kit, *size], plain, [*names, *size], [*swapped, *size]):
        if found := spellings.get("".join(joined)):
            return found
    return None


# What stands in the names of kits besides the board: it decides nothing.
_LEFT_OUT_OF_NAMES = frozenset(
    (
        "nvidia",
        "jetson",
        "developer",
        "development",
        "dev",
        "kit",
        "devkit",
        "engineering",
        "reference",
        "super",
        "module",
    )
)


@functools.cache
def _spellings() -> Mapping[str, str]:
    """Every accepted spelling and part number, without what separates its words → the id."""
    named = {name: board.id for board in boards().values() for name in (*board.modules, board.id, *board.also)}
    return {re.sub(r"[^a-z0-9]", "", name): found for name, found in named.items()}


def socs() -> Mapping[str, Mapping[str, str]]:
    """The chips: name, gpu, sm; `compatible` of those with L4T, `arch` of those without."""
    found: Mapping[str, Mapping[str, str]] = load_facts("boards")["socs"]
    return found


def soc_arch(soc: str) -> str | None:
    """The user space of a chip that runs without L4T; None for the Jetson chips, whose releases say it."""
    return socs()[soc].get("arch")


def soc_sm(soc: str) -> int:
    """Compute capability ×10 of a chip."""
    return int(socs()[soc]["sm"])


def march(architectures: Iterable[int]) -> str:
    """What GCC's `-march` has to be for the chips with these GPUs: that of the oldest; servers count as new ones."""
    names = {int(row["sm"]): row["march"] for row in socs().values()}
    return str(names.get(min(architectures, default=0), load_facts("boards")["server_march"]))


def toolkits() -> tuple[Version, ...]:
    """CUDA toolkits images may be made for, oldest first."""
    return tuple(Version(text) for text in load_facts("cuda")["toolkits"])


def default_cuda() -> Version:
    """The CUDA of a cross target for x86_64 or sbsa that names none."""
    return Version(load_facts("cuda")["default"])


def driver_cuda(driver: str) -> Version | None:
    """Newest CUDA a desktop or server driver runs natively; None for one older than the table."""
    branch = int(driver.split(".", maxsplit=1)[0])
    known = [int(row) for row in load_facts("cuda")["drivers"] if int(row) <= branch]
    return Version(load_facts("cuda")["drivers"][str(max(known))]) if known else None


def oldest_driver(cuda: Version) -> int | None:
    """First driver branch that runs a CUDA natively; None when the table has none."""
    rows = load_facts("cuda")["drivers"].items()
    return min((int(branch) for branch, runs in rows if Version(runs) >= cuda), default=None)


def gpu_name(sm: int) -> str | None:
    """What a compute capability belongs to: `Ampere (Orin)`; None for an unknown one."""
    row = load_facts("cuda")["gpus"].get(str(sm))
    return str(row["name"]) if row else None


def needs_cuda(sm: int) -> Version | None:
    """First CUDA that makes code for a compute capability; None for an unknown one."""
    row = load_facts("cuda")["gpus"].get(str(sm))
    return Version(row["cuda"]) if row else None


def generic_sm(arch: str, cuda: Version) -> tuple[int, ...]:
    """What is compiled for on `sbsa` or `x86_64` when no Jetson chip decides, ascending."""
    rows = load_facts("cuda")["sm"][arch]
    wanted = [*rows["always"], *(rows["new"] if cuda.major >= 13 else ())]
    return tuple(sorted(int(sm) for sm in wanted if (first := needs_cuda(int(sm))) and first <= cuda))


def distro(name: str, version: str) -> Mapping[str, str] | None:
    """Row of a distribution (codename, python, like); None for an unknown one."""
    row: Mapping[str, str] | None = load_facts("distros").get(name, {}).get(version)
    return row


def _release(l4t: str, row: Mapping[str, str], family: Mapping[str, Any]) -> Release:
    toolkit = row.get("cuda", family["cuda"])
    cuda = series(Version(toolkit))
    image, base = row.get("image", family.get("image")), row.get("base")
    return Release(
        l4t=Version(l4t),
        jetpack=row.get("jetpack"),
        arch=row.get("arch", family["arch"]),
        ubuntu=row.get("ubuntu", family["ubuntu"]),
        socs=tuple(row.get("socs", family["socs"])),
        cuda=cuda,
        driver_cuda=Version(row["driver_cuda"]) if "driver_cuda" in row else cuda,
        toolkit=toolkit,
        base=f"{image}:{base}" if image and base else None,
        cudnn=row.get("cudnn"),
        tensorrt=row.get("tensorrt"),
        vpi=row.get("vpi"),
        driver=row.get("driver"),
        date=row.get("date"),
        status=row.get("status", "released"),
    )


def _board(key: str, row: Mapping[str, Any]) -> Board:
    return Board(
        id=key,
        name=row["name"],
        soc=row["soc"],
        memory=int(row["memory"]),
        l4t=tuple(row["l4t"]),
        modules=tuple(row["modules"]),
        also=tuple(row.get("also", ())),
        compatible=tuple(row.get("compatible", ())),
        model=tuple(row.get("model", ())),
        visible=int(row["visible"]) if "visible" in row else None,
        bandwidth=float(row["bandwidth"]) if "bandwidth" in row else None,
        super_bandwidth=float(row["super"]) if "super" in row else None,
        cores=int(row["cores"]) if "cores" in row else None,
        mhz=int(row["mhz"]) if "mhz" in row else None,
    )


def _in_range(version: Version, text: str) -> bool:
    """`35.3.1-36`: from 35.3.1 to everything that begins with 36; `39`: everything that begins with 39."""
    first, _, last = text.partition("-")
    end = _numbers(last or first)
    return version >= Version(first) and version.release[: len(end)] <= end


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def listing(values: Iterable[object]) -> str:
    """Join values for a message: `a, b, c`."""
    return ", ".join(str(value) for value in values)


def distro_row(name: str, version: str, origin: str) -> Mapping[str, str]:
    """Find a distribution. Raises TargetError, naming the known ones, for one that is not in the table."""
    row = distro(name, version)
    if row is None:
        known = [f"{n} {v}" for n, versions in load_facts("distros").items() for v in versions]
        raise TargetError(
            f"`{name} {version}` ({origin}) is not a known distribution", details=(f"known: {listing(known)}",)
        )
    return row
