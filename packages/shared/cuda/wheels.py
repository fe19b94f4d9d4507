#!/usr/bin/env python3
"""Put CUDA into the image from the wheels that NVIDIA publishes on the Python index, laid out as by its apt packages.

    wheels.py toolkit LOCK   below /usr/local/cuda-CUDA_VERSION (13.0), and the image's CUDA is that one
    wheels.py library LOCK   cuDNN and others that NVIDIA publishes apart: in /usr/lib and /usr/include

Wheels have one directory for all machines, libraries under the names that programs load, and no stubs of the driver's
libraries. Here are `targets/MACHINE-linux`, whole versions behind the names of libraries and the names that a linker looks for,
as in /usr/local/cuda everywhere else: CMake, PyTorch and the other recipes find it without a word.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TARGETS = {"x86_64": "x86_64-linux", "aarch64": "sbsa-linux"}
SHARED = re.compile(r"(lib[\w+-]+\.so)\.(\d+(?:\.\d+)*)")
LOADER = Path("/etc/ld.so.conf.d/jetson-containers-cuda.conf")
STUBS = {  # the library that the driver brings: its headers, and what functions in them look like
    "libcuda.so": (("cuda.h", "cudaGL.h", "cudaEGL.h", "cudaProfiler.h"), re.compile(r"\bcu[A-Z]\w*")),
    "libnvidia-ml.so": (("nvml.h",), re.compile(r"\bnvml[A-Z]\w*")),
}
PER_THREAD = re.compile(r"__CUDA_API_(PTDS|PTSZ)\((\w+)\)")  # functions with a second form for streams of each thread


def install(lock, folder):
    """Unpack what a lock pins; pip checks every file against its hashes."""
    command = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--no-compile", "--require-hashes"]
    subprocess.run([*command, "--only-binary", ":all:", "--target", str(folder), "-r", str(lock)], check=True)


def versions_of(folder):
    """The version of the wheel that each file comes from, by the path below the folder."""
    found = {}
    for record in folder.glob("*.dist-info/RECORD"):
        version = record.parent.name[: -len(".dist-info")].rpartition("-")[2]
        for line in record.read_text().splitlines():
            found[line.rpartition(",")[0].rpartition(",")[0]] = version
    return found


def name_libraries(folder, tree, parts=4):
    """Give libraries their whole version: libcublas.so.13.1.0.3, with links from libcublas.so.13 and libcublas.so.

    `parts` is how much of the wheel's version stands in the names.
    """
    versions = versions_of(folder)
    for file in sorted((tree / "lib").iterdir()):
        match = SHARED.fullmatch(file.name)
        if match is None:
            continue
        plain, loaded = match.groups()
        whole = ".".join(versions.get(file.relative_to(folder).as_posix(), "").split(".")[:parts])
        if whole.startswith(loaded + "."):
            file.rename(file.with_name(plain + "." + whole))
            file.symlink_to(plain + "." + whole)
        link = file.with_name(plain)
        if not link.exists():
            link.symlink_to(file.name)


def merge(source, place):
    """Move a tree into another that may be there already."""
    for file in sorted(source.rglob("*")):
        there = place / file.relative_to(source)
        if file.is_dir() and not file.is_symlink():
            there.mkdir(parents=True, exist_ok=True)
        else:
            there.parent.mkdir(parents=True, exist_ok=True)
            if there.exists() or there.is_symlink():
                there.unlink()
            shutil.move(str(file), str(there))


def lay_out(tree, prefix, target):
    """Move what the wheels hold to the places that NVIDIA's apt packages use."""
    root = prefix / "targets" / target
    for name in ("lib", "include"):
        if (tree / name).is_dir():
            merge(tree / name, root / name)
    for name in ("bin", "nvvm"):
        if (tree / name).is_dir():
            merge(tree / name, prefix / name)
    links = {"lib64": f"targets/{target}/lib", "include": f"targets/{target}/include"}
    links["extras/CUPTI/lib64"], links["extras/CUPTI/include"] = (f"../../{links[name]}" for name in ("lib64", "include"))
    for file in sorted((root / "lib").glob("libnvvm.so*")):
        links[f"nvvm/lib64/{file.name}"] = f"../../{links['lib64']}/{file.name}"
    for name, place in links.items():
        link = prefix / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(place)


def keep_licenses(folder, prefix):
    """Each wheel's own license, beside the toolkit."""
    for file in sorted(folder.glob("*.dist-info/licenses/*")):
        place = prefix / "doc" / file.parents[1].name[: -len(".dist-info")]
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file), str(place / file.name))


def functions_of(include, headers, pattern):
    """Every function that headers declare, and its forms for streams of each thread; a name too many does no harm."""
    found = set()
    for header in headers:
        path = include / header
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found.update(pattern.findall(text))
        found.update(f"{name}_{kind.lower()}" for kind, name in PER_THREAD.findall(text))
    return sorted(found)


def write_stubs(root):
    """Libraries that stand in for the driver's while linking, where this is the toolkit with its headers."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import stub

    folder = root / "lib" / "stubs"
    folder.mkdir(exist_ok=True)
    for name, (headers, pattern) in STUBS.items():
        functions = functions_of(root / "include", headers, pattern)
        if functions:
            (folder / name).write_bytes(stub.library(name + ".1", functions, os.uname().machine))


def register(prefix, lock):
    """Make it the image's CUDA: the link, the loader's path, and the version where programs look for it."""
    link = Path("/usr/local/cuda")
    if link.exists() and not link.is_symlink():
        sys.exit(f"error: {link} of the base image is a directory, not a link to {prefix}\nhint: take another --base")
    if link.is_symlink():
        link.unlink()
    link.symlink_to(prefix.name)
    whole = re.search(r"^cuda-toolkit==(\S+)", lock.read_text(), re.MULTILINE)[1]
    (prefix / "version.json").write_text(json.dumps({"cuda": {"name": "CUDA SDK", "version": whole}}) + "\n")
    LOADER.write_text("/usr/local/cuda/lib64\n/usr/local/cuda/extras/CUPTI/lib64\n")
    subprocess.run(["ldconfig"], check=True)


def check_others(tree, place):
    """Refuse a second version of a library beside one that the base image has."""
    for link in sorted(file for file in (tree / "lib").glob("lib*.so.*") if file.is_symlink()):
        ours = os.readlink(link)
        for there in place.glob(link.name + ".*"):
            if not there.is_symlink() and there.name != ours:
                sys.exit(
                    f"error: the base image has {there}, and {ours} is this platform's: two of them do not work\n"
                    "hint: use the base image of the platform, or one without it: --base"
                )


def library(folder):
    """Put what NVIDIA publishes apart where the distribution has its libraries."""
    place = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu"
    for tree in sorted(item.parent for item in folder.glob("nvidia/*/lib")):
        name_libraries(folder, tree, parts=3)
        check_others(tree, place)
        merge(tree / "lib", place)
        merge(tree / "include", Path("/usr/include"))
    keep_licenses(folder, Path("/usr/share"))
    subprocess.run(["ldconfig"], check=True)


def toolkit(folder, lock):
    """Put a toolkit, or its libraries alone, below its own directory."""
    prefix = Path("/usr/local") / f"cuda-{os.environ['CUDA_VERSION']}"
    target = TARGETS[os.uname().machine]
    for tree in sorted(folder.glob("nvidia/cu[0-9]*")):
        name_libraries(folder, tree)
        lay_out(tree, prefix, target)
    keep_licenses(folder, prefix)
    if (prefix / "bin" / "nvcc").exists():
        write_stubs(prefix / "targets" / target)
    register(prefix, lock)


def main():
    kind, lock = sys.argv[1], Path(sys.argv[2])
    with tempfile.TemporaryDirectory(dir="/usr/local") as name:  # one file system, so that files are moved, not copied
        folder = Path(name)
        install(lock, folder)
        if kind == "toolkit":
            toolkit(folder, lock)
        else:
            library(folder)


if __name__ == "__main__":
    main()
