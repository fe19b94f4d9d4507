#!/usr/bin/env python3
"""Try every reader of outside data with mutated inputs: `tools/fuzz.py [TARGET...] [--seconds S] [--result FILE]`.

Each target runs in a process of its own with limits. An input escapes when its reader raises what it does not
document, takes more than a second of a core (a minute of the clock: it waits for something), or makes the process
larger by 200 MB. Counts add up in the result file over
runs, so that a million inputs per target are reached bit by bit; the exit code is 1 when one escaped.
Files that readers are given lie in memory where the system has a folder for it: a disk that others use is what most
readers would wait for.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.fuzz.targets import Target, targets

SLOW = 1.0  # seconds of a core: what else the machine does must not count
BLOCKED = 60.0  # seconds of the clock
LARGE = 200 << 20  # bytes
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - folders of random names are made there
MOST_KEPT = 20  # escapes that are shown, one per place in the code


def main() -> int:
    """Run the targets that are named, else all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="TARGET")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each target (60)")
    parser.add_argument("--inputs", type=int, default=0, help="stop a target after this many inputs")
    parser.add_argument("--seed", type=int, default=None, help="of the random numbers; default: the clock")
    parser.add_argument("--result", type=Path, help="the file in which counts add up")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (1)")
    options = parser.parse_args()
    known = {target.name: target for target in targets()}
    unknown = set(options.names) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    seed = time.time_ns() if options.seed is None else options.seed
    work = [(name, seed, options.seconds, options.inputs) for name in options.names or known]
    escaped = 0
    with multiprocessing.get_context("spawn").Pool(options.jobs, maxtasksperchild=1) as pool:
        for found in pool.imap_unordered(_run, work):
            escaped += len(found["escapes"])
            print(_line(found), flush=True)
            if options.result:
                _add(options.result, found)
    return 1 if escaped else 0


def _run(work: tuple[str, int, float, int]) -> dict[str, Any]:
    name, seed, seconds, most = work
    target = next(each for each in targets() if each.name == name)
    if "TMPDIR" not in os.environ and IN_MEMORY.is_dir():
        tempfile.tempdir = str(IN_MEMORY)
    rng = random.Random(seed)  # noqa: S311 - nothing secret is made of it
    read_one(target, target.make(rng, target.seeds))  # what is imported and cached counts for nobody
    before, begin = _peak(), time.monotonic()
    tried, slowest, escapes = 0, 0.0, {}
    while time.monotonic() - begin < seconds and not 0 < most <= tried:
        data = target.make(rng, target.seeds)
        start, clock = time.process_time(), time.monotonic()
        place = read_one(target, data)
        took, waited = time.process_time() - start, time.monotonic() - clock
        tried, slowest = tried + 1, max(slowest, took)
        if place is None and took > SLOW:
            place = f"slow: {took:.1f} s"
        if place is None and waited > BLOCKED:
            place = f"blocked: {waited:.1f} s"
        if place is None and _peak() - before > LARGE:
            place, before = f"large: {(_peak() - before) >> 20} MB", _peak()
        if place is not None and len(escapes) < MOST_KEPT:
            kind = place.partition(":")[0] if place.startswith(("slow", "blocked")) else place
            escapes.setdefault(kind, _shown(data))
    return {
        "target": name, "inputs": tried, "seconds": time.monotonic() - begin, "slowest": slowest,
        "larger": _peak() - before, "escapes": escapes,
    }  # fmt: skip


def read_one(target: Target, data: Any) -> str | None:
    """None, or the place in our code where an exception came from that the reader does not document."""
    try:
        target.read(data)
    except target.allowed:
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "jetson_containers" in frame.filename]
        where = ours[-1] if ours else frames[-1]
        return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno} {str(error)[:80]}"
    return None


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _shown(data: Any) -> str:
    raw = data if isinstance(data, bytes) else str(data).encode("utf-8", "surrogatepass")
    return base64.b64encode(raw[:4000]).decode()


def _line(found: dict[str, Any]) -> str:
    rate = found["inputs"] / max(found["seconds"], 0.001)
    head = (
        f"{found['target']:<22} {found['inputs']:>9} inputs {rate:>8.0f}/s  slowest {found['slowest'] * 1000:>7.1f} ms"
    )
    head += f"  +{found['larger'] >> 20} MB"
    return "\n".join([head, *(f"  ESCAPED {place}\n    {data[:400]}" for place, data in found["escapes"].items())])


def _add(path: Path, found: dict[str, Any]) -> None:
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    before = known.get(found["target"], {"inputs": 0, "seconds": 0.0, "slowest_ms": 0.0})
    known[found["target"]] = {
        "inputs": before["inputs"] + found["inputs"],
        "seconds": round(before["seconds"] + found["seconds"], 1),
        "slowest_ms": round(max(before["slowest_ms"], found["slowest"] * 1000), 1),
        "escapes": len(found["escapes"]),
    }
    path.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
