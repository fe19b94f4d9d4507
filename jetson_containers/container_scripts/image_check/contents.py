"""What the linked files below some places need and hold, as one line of JSON.

Without a place: where packages are installed, that is Python's site directories, /usr/local and /opt, without the
CUDA toolkit and without mounted directories; and libraries with GPU code that were put among the distribution's.
"""

from __future__ import annotations

import glob
import json
import os
import platform
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
from typing import TYPE_CHECKING, Any

from . import elf, fatbin, loader, stub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
SKIP = (r"/usr/local/cuda", r"/opt/nvidia(/|$)", r"/proc$", r"/sys$", r"/dev$", r"/data$", r"/test$", r".*/stubs$")
# NVIDIA's own libraries in wheels: complete as they are, each with code for the GPUs that it is meant for.
VENDOR = re.compile(r".*/(site|dist)-packages/(nvidia|tensorrt(_libs|_bindings)?|triton/backends)/")
# NVIDIA's own likewise, where they stand among the distribution's libraries: cuDNN, TensorRT, the driver.
VENDOR_LIBRARY = re.compile(r"lib(cu|nv|npp)")
DPKG = "/var/lib/dpkg/info"
PACKAGE = re.compile(r"(.*)/lib/(python3(?:\.[0-9]+)?)/(?:site|dist)-packages/([A-Za-z_]\w*)(?:[./]|$)")
OTHER_PYTHON = re.compile(r".*\.cpython-([0-9])([0-9]+)\w*-.*\.so")
MOST_FILES = 20_000
LONGEST_IMPORT = 300  # seconds
DRIVER_CALL = re.compile(r"(cu|nv)[A-Z]\w*|nvml\w+")
ALWAYS_CALLED = ("cuInit", "cuGetProcAddress", "cuGetProcAddress_v2", "cuDriverGetVersion", "nvmlInit_v2")


def main(arguments: Sequence[str]) -> None:
    """Print the answer as one line."""
    machine = platform.machine()
    search = loader.Loader(machine, os.environ.get("LD_LIBRARY_PATH", ""))
    everything = linked_files(arguments or places(), machine)
    if not arguments:
        everything += put_beside(f"/usr/lib/{machine}-linux-gnu", machine)
    files = [file for file in everything if not VENDOR.match(file.path)]
    lacking = not_found(files, search)
    code = gpu_code(files)
    modules: dict[tuple[str, str], list[str]] = {}
    for path in sorted({file.path for file in files if wants_driver(file)} | set(lacking)):
        package = package_of(path)
        if package:
            modules.setdefault(package, []).append(path)
    imports, loaded = import_all(modules, files, search, set(lacking))
    answer = {
        "schema": 1,
        "machine": machine,
        "files": len(files),
        "missing": {path: names for path, names in sorted(lacking.items()) if path not in loaded},
        "programs": sorted(file.path for file in files if file.program and file.path in lacking),
        "gpu_code": code,
        "imports": imports,
        "complete": len(everything) < MOST_FILES,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def places() -> list[str]:
    """Where packages stand: existing directories, none inside another."""
    found = {*site.getsitepackages(), *(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))}
    real = {os.path.realpath(place) for place in found | {"/usr/local", "/opt"} if os.path.isdir(place)}
    return sorted(place for place in real if not any(place.startswith(other + "/") for other in real))


def linked_files(where: Iterable[str], machine: str) -> list[elf.Elf]:
    """The programs and libraries for this machine, at most `MOST_FILES`."""
    found: list[elf.Elf] = []
    for place in where:
        for path in elf.files_below(place, SKIP):
            file = None if for_other_python(path) else elf.read(path)
            if file and file.machine == machine:
                found.append(file)
            if len(found) >= MOST_FILES:
                return found
    return found


def put_beside(place: str, machine: str, dpkg: str = DPKG) -> list[elf.Elf]:
    """Libraries with GPU code directly in the distribution's directory that come from none of its packages (NCCL)."""
    owned: set[str] = set()
    for listed in glob.glob(os.path.join(glob.escape(dpkg), "*.list")):
        with open(listed, encoding="utf-8", errors="replace") as lines:
            owned.update(os.path.basename(line.rstrip("\n")) for line in lines)
    paths = sorted(glob.glob(os.path.join(glob.escape(place), "lib*.so*"))) if owned else []
    names = (path for path in paths if os.path.basename(path) not in owned and not os.path.islink(path))
    found = [elf.read(path) for path in names if not VENDOR_LIBRARY.match(os.path.basename(path))]
    return [file for file in found if file and file.gpu_sections and file.machine == machine]


def not_found(files: Iterable[elf.Elf], search: loader.Loader) -> dict[str, list[str]]:
    """Per file the libraries that loading it would not find.

    A library that another file loads with all it needs is right: it is not meant to be loaded by itself.
    """
    lacking: dict[str, list[str]] = {}
    complete: set[str] = set()
    for file in files:
        found, missing = search.load(file)
        names = sorted({name for _, name in missing if not loader.DRIVER.fullmatch(name)})
        if names:
            lacking[file.path] = names
        else:
            complete |= {library.path for library in found}
    return {path: names for path, names in lacking.items() if path not in complete}


def gpu_code(files: Iterable[elf.Elf]) -> dict[str, dict[str, list[str]]]:
    """The architectures that each file holds code for; files without any are left out."""
    found = {}
    for file in files:
        if file.gpu_sections:
            code, ptx = fatbin.architectures(file.path, file.gpu_sections)
            if code or ptx:
                found[file.path] = {"code": sorted(code), "ptx": sorted(ptx)}
    return found


def wants_driver(file: elf.Elf) -> bool:
    """Whether a file holds GPU code or is linked against CUDA or the driver."""
    return bool(file.gpu_sections) or any(loader.DRIVER.fullmatch(name) or "cuda" in name for name in file.needed)


def for_other_python(path: str) -> bool:
    """Whether a file is an extension module that the Python of its directory never loads, by its name's tag."""
    tag = OTHER_PYTHON.fullmatch(path)
    place = PACKAGE.match(path)
    return bool(tag and place and "." in place.group(2) and place.group(2) != f"python{tag.group(1)}.{tag.group(2)}")


def package_of(path: str) -> tuple[str, str] | None:
    """The interpreter and the top-level Python package that a file belongs to."""
    match = PACKAGE.match(path)
    if match is None or os.path.basename(path).startswith(f"{match.group(3)}.libs"):
        return None
    own = os.path.join(match.group(1), "bin", "python3")  # of a virtual environment; its packages need its Python
    own = own if os.path.exists(os.path.join(match.group(1), "pyvenv.cfg")) and os.path.exists(own) else sys.executable
    return own, match.group(3)


def import_all(
    modules: dict[tuple[str, str], list[str]], files: Sequence[elf.Elf], search: loader.Loader, lacking: set[str]
) -> tuple[dict[str, dict[str, str]], set[str]]:
    """Import each package beside a driver without devices: how it ended, and which lacking files load after it."""
    imports: dict[str, dict[str, str]] = {}
    loaded: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        if modules:
            write_drivers(folder, files, search)
        for (python, module), paths in sorted(modules.items()):
            done = import_one(python, module, [path for path in paths if path in lacking], folder)
            imports[module] = {"status": done["status"], "said": done["said"]}
            loaded |= {path for path, (status, _) in done["files"].items() if status == "ok"}
    return imports, loaded


def write_drivers(folder: str, files: Iterable[elf.Elf], search: loader.Loader) -> None:
    """Put a stand-in into a folder for each driver library that a file needs and the image does not have."""
    wanted: dict[str, set[str]] = {"libcuda.so.1": set(), "libnvidia-ml.so.1": set()}
    users = list(files)
    for file in users:
        for name in filter(loader.DRIVER.fullmatch, file.needed):
            wanted.setdefault(name, set()).update(filter(DRIVER_CALL.match, file.undefined))
    for name, calls in wanted.items():
        if search.find(name, users[0]) is None:
            with open(os.path.join(folder, name), "wb") as out:
                out.write(stub.library(name, calls.union(ALWAYS_CALLED), search.machine))


def import_one(python: str, module: str, paths: Sequence[str], drivers: str) -> dict[str, Any]:
    """What `imports.py` says of a package."""
    path = ":".join(filter(None, [os.environ.get("LD_LIBRARY_PATH", ""), drivers]))
    environment = {**os.environ, "LD_LIBRARY_PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, "-m", f"{os.path.basename(HERE)}.imports", module, *paths]
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LONGEST_IMPORT,
            check=False,
            cwd=os.path.dirname(HERE),
        )
        answer: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"status": "other", "said": f"the import took longer than {LONGEST_IMPORT} s", "files": {}}
    except (ValueError, IndexError):
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"]
        return {"status": "other", "said": f"ended with {done.returncode}: {lines[-1][:300]}", "files": {}}
    return answer
