"""What the files of one root directory say about a machine. Reads, and decides nothing.

The root is a parameter, so that a folder of captured files is a machine. The one thing no file tells is the kernel's
machine name: a captured folder carries it as a first-level file `uname.machine` with the output of `uname -m`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core import json_text
from jetson_containers.core.errors import TargetError
from jetson_containers.core.memory import read_memory
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import MACHINES
from jetson_containers.platforms.target import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.platforms.tables import Board

WSL_DRIVER = "usr/lib/wsl/lib/libcuda.so.1"


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """A machine. `memory` is MemTotal in bytes; `toolkit` (the host's own CUDA) is only ever reported."""

    machine: str  # "x86_64" or "aarch64"
    l4t: Version | None = None
    l4t_origin: str = ""
    soc: str | None = None
    board: str | None = None
    board_origin: str = ""
    model: str = ""
    memory: int | None = None
    distro: str = ""
    distro_version: str = ""
    os_name: str = ""
    driver: str | None = None  # "570.124.06", NVIDIA's desktop and server driver
    toolkit: str | None = None
    notices: tuple[str, ...] = field(default=())


def read(root: Path) -> HostFacts:
    """Read a machine. Raises TargetError naming the file that is missing, unreadable or garbage."""
    l4t, l4t_origin = _l4t(root)
    machine = _machine(root, jetson=l4t is not None)
    compatible = _device_tree(root, "compatible")
    model = " ".join(_device_tree(root, "model"))
    memory = read_memory(root).total
    soc = _soc(compatible)
    board, board_origin = _find_board(root, compatible, model, soc, memory)
    os_release = _os_release(root)
    return HostFacts(
        machine=machine,
        l4t=l4t,
        l4t_origin=l4t_origin,
        soc=soc or (board.soc if board else None),
        board=board.id if board else None,
        board_origin=board_origin,
        model=model,
        memory=memory,
        distro=os_release.get("ID", ""),
        distro_version=os_release.get("VERSION_ID", ""),
        os_name=os_release.get("PRETTY_NAME", ""),
        driver=_driver(root),
        toolkit=_toolkit(root),
        notices=_notices(soc, board, model, memory) + _of_windows(root),
    )


def _notices(soc: str | None, board: Board | None, model: str, memory: int | None) -> tuple[str, ...]:
    found = []
    if soc and not board:
        found.append(
            f"this {tables.socs()[soc]['name']} module is not in the table of boards (`{model or 'no model'}`)"
        )
    if memory is None:
        found.append("/proc/meminfo does not say how much memory there is")
    return tuple(found)


def _of_windows(root: Path) -> tuple[str, ...]:
    """WSL has NVIDIA's driver from Windows: its libraries are there, and no file says its version."""
    if not (root / WSL_DRIVER).exists() or (root / "proc/driver/nvidia/version").exists():
        return ()
    text = f"this is WSL, whose driver is that of Windows (/{WSL_DRIVER}), and no file says its version: CPU only"
    return (f"{text}; `nvidia-smi` shows which CUDA it runs, for which `--target x86_64,cu128` stands",)


def _text(path: Path) -> str | None:
    """Read a text file; None when there is none. Device tree and release files may hold stray bytes."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}", hint=ELSEWHERE) from error


def _machine(root: Path, *, jetson: bool) -> str:
    captured = root / "uname.machine"
    name = (_text(captured) or "").strip()
    if not name and root == Path("/"):
        name = os.uname().machine
    if not name and jetson:
        name = "aarch64"
    if not name:
        raise TargetError(
            f"{root}: holds no captured machine: there is no `uname.machine` and no `etc/nv_tegra_release`",
            hint=ELSEWHERE,
        )
    if name not in MACHINES:
        raise TargetError(f"this machine is `{name}`; images exist for aarch64 and x86_64", hint=ELSEWHERE)
    return MACHINES[name]


def _l4t(root: Path) -> tuple[Version | None, str]:
    """L4T release and the file that says so; (None, "") on a machine that runs none."""
    path = root / "etc/nv_tegra_release"
    text = _text(path)
    if text is not None and text.strip():
        return _parse_release_file(path, text), "/etc/nv_tegra_release"
    package = _dpkg_version(root / "var/lib/dpkg/status", "nvidia-l4t-core")
    if package is None:
        return (None, "") if text is None else (_parse_release_file(path, text), "")  # empty: which is said
    match = re.match(r"([0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?)(?:-|$)", package)
    if not match:
        raise TargetError(
            f"{root / 'var/lib/dpkg/status'}: nvidia-l4t-core has version `{package}`, which is not an L4T release",
            hint=ELSEWHERE,
        )
    return Version(match[1]), "dpkg: nvidia-l4t-core"


def _parse_release_file(path: Path, text: str) -> Version:
    # A letter behind the revision is a patch of NVIDIA's or of a carrier board's maker, and no release of its own.
    line = r"#\s*R([0-9]{1,3})\s*\(release\),\s*REVISION:\s*([0-9]{1,3}(?:\.[0-9]{1,3}){0,3})[a-z]?\s*(?:,|$)"
    match = re.match(line, text.lstrip("\ufeff \n"), re.IGNORECASE)
    if not match:
        first = (text.strip().splitlines() or [""])[0][:60]
        raise TargetError(
            f"{path}: is not an L4T release file; it begins with `{first}`" if first else f"{path}: is empty",
            details=("expected: # R36 (release), REVISION: 4.3, GCID: …",),
            hint=f"reinstall it with `sudo apt install --reinstall nvidia-l4t-core`, or {ELSEWHERE}",
        )
    return Version(f"{match[1]}.{match[2]}")


def installed_version(root: Path, package: str) -> str | None:
    """Version of a Debian package; None where it is not installed. Raises TargetError for an unreadable list."""
    return _dpkg_version(root / "var/lib/dpkg/status", package)


def _dpkg_version(path: Path, package: str) -> str | None:
    """Version of an installed package. The file is several MB: no parser, one search."""
    text = _text(path)
    if text is None:
        return None
    start = f"Package: {package}\n"
    position = 0 if text.startswith(start) else text.find("\n" + start) + 1
    if not position and not text.startswith(start):
        return None
    entry = text[position:].split("\n\n", 1)[0]
    fields = dict(re.findall(r"^([\w-]+): (.*)$", entry, re.MULTILINE))
    if not fields.get("Status", "").endswith(" installed"):
        return None
    return fields.get("Version")


def _device_tree(root: Path, name: str) -> tuple[str, ...]:
    """A NUL separated list of strings of the device tree; empty where there is none."""
    for folder in ("proc/device-tree", "sys/firmware/devicetree/base"):
        text = _text(root / folder / name)
        if text is not None:
            return tuple(part.strip() for part in text.split("\0") if part.strip())
    return ()


def _soc(compatible: Iterable[str]) -> str | None:
    if not any("tegra" in name for name in compatible):
        return None  # spares other machines the reading of the table
    by_name = {row["compatible"]: soc for soc, row in tables.socs().items() if "compatible" in row}
    return next((by_name[name] for name in compatible if name in by_name), None)


def _find_board(
    root: Path, compatible: Sequence[str], model: str, soc: str | None, memory: int | None
) -> tuple[Board | None, str]:
    """Find the module: part numbers first, then names that several modules share, distinguished by memory."""
    if soc is None:
        return _of_product_name(root)
    by_module = {module: board for board in tables.boards().values() for module in board.modules}
    for module in re.findall(r"p[0-9]{4}-[0-9]{4}", " ".join(compatible)):
        if module in by_module:
            return by_module[module], f"/proc/device-tree/compatible: {module}"
    for module in _boot_modules(root):
        if module in by_module:
            return by_module[module], f"/etc/nv_boot_control.conf: {module}"
    shared = [board for board in tables.boards().values() if board.soc == soc and _named(board, compatible, model)]
    board = _by_memory(shared, memory)
    return board, f"/proc/device-tree/model: {model}, and the size of the memory" if board else ""


def _of_product_name(root: Path) -> tuple[Board | None, str]:
    """A board without L4T, by what its firmware calls it: `NVIDIA_DGX_Spark`."""
    path = "sys/class/dmi/id/product_name"
    name = re.sub(r"[\s_]+", " ", (_text(root / path) or "")[:200]).strip().lower()
    if not name.startswith("nvidia"):
        return None, ""
    found = (each for each in tables.boards().values() if name in (model.lower() for model in each.model))
    board = next((each for each in found if tables.soc_arch(each.soc)), None)
    return board, f"/{path}" if board else ""


def _boot_modules(root: Path) -> list[str]:
    """Part numbers of the TNSPEC line: `TNSPEC 3767-300-0000-M.3-…` is p3767-0000."""
    text = _text(root / "etc/nv_boot_control.conf") or ""
    return [f"p{board}-{sku}" for board, sku in re.findall(r"\b([0-9]{4})-\w{3}-([0-9]{4})\b", text)]


def _named(board: Board, compatible: Sequence[str], model: str) -> bool:
    names = {model, model.removesuffix(" Super"), *compatible}
    return not names.isdisjoint((*board.model, *board.compatible))


def _by_memory(candidates: Sequence[Board], memory: int | None) -> Board | None:
    """The smallest module that has at least the memory the kernel sees; the only one, where there is one."""
    if len(candidates) == 1:
        return candidates[0]
    if memory is None:
        return None
    fitting = [board for board in candidates if board.memory << 30 >= memory]
    return min(fitting, key=lambda board: board.memory, default=None)


def _os_release(root: Path) -> dict[str, str]:
    text = _text(root / "etc/os-release") or _text(root / "usr/lib/os-release")
    if text is not None:
        return dict(re.findall(r"^(\w+)=[\"']?(.*?)[\"']?$", text, re.MULTILINE))
    lsb = dict(re.findall(r"^(\w+)=[\"']?(.*?)[\"']?$", _text(root / "etc/lsb-release") or "", re.MULTILINE))
    if not lsb:
        return {}
    return {
        "ID": lsb.get("DISTRIB_ID", "").lower(),
        "VERSION_ID": lsb.get("DISTRIB_RELEASE", ""),
        "PRETTY_NAME": lsb.get("DISTRIB_DESCRIPTION", ""),
    }


def _driver(root: Path) -> str | None:
    path = root / "proc/driver/nvidia/version"
    text = _text(path)
    if text is None:
        return None
    match = re.search(r"^NVRM version:.*?\s([0-9]{3,}\.[0-9]+(?:\.[0-9]+)?)\s", text, re.MULTILINE)
    if not match:
        raise TargetError(f"{path}: names no driver version", hint=ELSEWHERE)
    return match[1]


def _toolkit(root: Path) -> str | None:
    """Version of the CUDA toolkit on the host, for the report only."""
    text = _text(root / "usr/local/cuda/version.json")
    if text is not None:
        try:
            data = json_text.parse(text)
            return str(data.get("cuda_nvcc", data.get("cuda", {}))["version"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
    match = re.search(r"CUDA Version ([0-9]+\.[0-9]+(?:\.[0-9]+)?)", _text(root / "usr/local/cuda/version.txt") or "")
    return match[1] if match else None
