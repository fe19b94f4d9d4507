"""Every shared object of a package finds what it is linked to; nothing is loaded, so no GPU is needed.

    libraries.py [--after PLACE]... PLACE...

A PLACE is a file, a directory, a pattern, or a Python module; of several with commas between them, the first that is there.
`--after`: all places that hold what is in memory already when these are loaded, as torch is when its extensions are. Only the
driver's own libraries may be missing, because the host brings them.
Exit status 77: CUDA comes from a host that is not there (JetPack 4).
"""

import argparse
import glob
import importlib.util
import os
import re
import struct
import subprocess
import sys

NEEDS_GPU = 77
DRIVER = re.compile(r"libcuda\.so\.1|libnvidia-[\w.-]+|libnvcuvid\.so\.1|libnv(rm|dla|sci|media|os|tvmr)\w*\.so[\w.]*")
TOOLKIT = re.compile(r"lib(cu|nv|npp)\w*\.so[\w.]*")
MISSING = re.compile(r"^\s*(\S+) => not found")


def paths_of(place):
    """The files and directories that a place names; none where it is not there."""
    if place.startswith("/"):
        return sorted(glob.glob(place))
    spec = importlib.util.find_spec(place)
    if spec is None:
        return []
    return list(spec.submodule_search_locations or [spec.origin])


def first_of(places):
    for place in places.split(","):
        found = paths_of(place)
        if found:
            return found
    raise SystemExit("error: there is no " + places.replace(",", " or "))


def is_linked(path):
    """Whether a file is a program or a shared object: ELF, and neither an object file nor a core."""
    with open(path, "rb") as file:
        head = file.read(18)
    return len(head) == 18 and head[:4] == b"\x7fELF" and struct.unpack(">H" if head[5] == 2 else "<H", head[16:])[0] in (2, 3)


def files_below(path):
    if not os.path.isdir(path):
        return [os.path.realpath(path)]
    return [os.path.join(at, name) for at, _, names in os.walk(path) for name in names if not os.path.islink(os.path.join(at, name))]


def objects(places):
    """All shared objects and programs of the places, each once. Ends the test where a place has none."""
    found = set()
    for place in places:
        here = {file for path in first_of(place) for file in files_below(path) if os.path.isfile(file) and is_linked(file)}
        if not here:
            raise SystemExit("error: there is no shared object in " + place)
        found |= here
    return sorted(found)


def missing(path):
    """What the loader does not find for a file: libraries by name, and versions of symbols as it says them."""
    done = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    lines = [line for line in done.stdout.splitlines() if "not found" in line]
    if done.returncode and not lines and "not a dynamic executable" not in done.stdout:
        lines = ["ldd: " + done.stdout.strip()]
    names = [MISSING.match(line) for line in lines]
    return [name.group(1) if name else line.strip() for name, line in zip(names, lines)]


def main(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--after", action="append", default=[])
    parser.add_argument("places", nargs="+")
    given = parser.parse_args(arguments)
    before = [path for places in given.after for place in places.split(",") for path in paths_of(place)]
    loaded = {os.path.basename(file) for path in before for file in glob.glob(path + "/**", recursive=True)}
    files = objects(given.places)
    absent, broken = set(), []
    for file in files:
        for name in missing(file):
            if DRIVER.fullmatch(name) or name in loaded:
                continue
            absent.add(name)
            broken.append("%s needs %s" % (file, name))
    if not broken:
        print("the libraries of %d files are there" % len(files))
        return 0
    print("\n".join(broken))
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and not os.path.exists("/dev/nvhost-gpu")
    if from_host and all(TOOLKIT.fullmatch(name) for name in absent):
        print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia")
        return NEEDS_GPU
    print("error: these libraries are not where the loader looks for them")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
