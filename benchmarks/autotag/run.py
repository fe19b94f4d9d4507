"""How long `./autotag` takes: from the command to its line, and the decision alone.

Run `.venv/bin/python benchmarks/autotag/run.py`; it prints a table and writes `result.json` beside itself. No engine
and no network: the shipped list of Docker Hub, for a cross target, and made-up lists of 100,000 tags. It fails where
one of these takes more than its bound.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RUNS = 20
TARGET = "r36.4.3"
TAGS = 100_000
BOUND = 2.0  # seconds of CPU for a whole command over that many tags
NOTHING_FITS = 127
PLATFORMS = (
    "r36.4.0-cu126", "r35.4.1-cu114-20.04", "r32.7.1", "r36.2.0-cu122-22.04", "r38.2.arm64-sbsa-cu130-24.04",
    "x86_64-cu129-24.04", "amd64", "cpu", "nightly", "r39.2-cu132-24.04",
)  # fmt: skip


def milliseconds(work: Callable[[], object], runs: int = RUNS) -> dict[str, float]:
    """Time some work; the first run is not counted."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return {
        "best_ms": round(min(times), 2),
        "median_ms": round(statistics.median(times), 2),
        "worst_ms": round(max(times), 2),
    }


def process(*argv: str) -> Callable[[], object]:
    """Start a fresh interpreter, as a shell does."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "JETSON_CONTAINERS_OFFLINE": "1"}
    return lambda: subprocess.run([sys.executable, *argv], env=env, capture_output=True, check=True)


def decisions() -> Callable[[], object]:
    """Judge and rank all 752 published images for one platform."""
    from jetson_containers.autotag.search import AutotagOptions, choose
    from jetson_containers.autotag.sources import RegistrySource
    from jetson_containers.platforms.detect import parse_target
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.snapshot import SNAPSHOT
    from jetson_containers.registry.types import ImageRepository

    def client() -> None:
        raise AssertionError("offline")

    listings = Listings(Path("/nonexistent"), client, offline=True)  # type: ignore[arg-type]
    source = RegistrySource(listings, (ImageRepository("docker.io", "dustynv"),))
    names = [entry["repository"].partition("/")[2] for entry in json.loads(SNAPSHOT.read_bytes())["repositories"]]
    host = parse_target(TARGET)
    return lambda: [choose([name], host, (source,), AutotagOptions()) for name in names]


def many_tags(cache: Path, platforms: Sequence[str]) -> tuple[str, ...]:
    """Keep a list of a registry that tells nothing but names; the words of a command that chooses from it, offline."""
    host, path = "registry.example", "ns/mlc"
    tags = [{"tag": f"0.{number // len(platforms)}-{platforms[number % len(platforms)]}"} for number in range(TAGS)]
    listing = {
        "schema": 1,
        "repository": f"{host}/{path}",
        "fetched": "2026-01-01T00:00:00Z",
        "etag": "",
        "tags": tags,
    }
    file = cache / "registry" / host / f"{quote(path, safe='')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(listing), encoding="utf-8")
    return ("autotag", "-q", "--target", TARGET, "--disable", "local", "--registry", f"{host}/ns", "mlc")


def cpu_seconds(words: Sequence[str], cache: Path, expected: int) -> dict[str, float]:
    """User and system seconds of a whole command that ends with `expected`."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "JETSON_CONTAINERS_OFFLINE": "1"}
    env["JETSON_CONTAINERS_CACHE"] = str(cache)
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        argv = [sys.executable, "scripts/main.py", *words]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != expected:
            raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr[-2000:]}")
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"best_s": round(min(times), 2), "median_s": round(statistics.median(times), 2), "bound_s": BOUND}


def large_lists() -> dict[str, dict[str, float]]:
    """The whole command over 100,000 tags: for ten platforms of which one is ours, all for ours, and none."""
    rows = {"for ten platforms": PLATFORMS, "all of which run here": PLATFORMS[:1], "none of which run": PLATFORMS[1:]}
    found = {}
    for name, platforms in rows.items():
        with tempfile.TemporaryDirectory() as folder:
            words = many_tags(Path(folder), platforms)
            expected = 0 if PLATFORMS[0] in platforms else NOTHING_FITS
            found[f"autotag over {TAGS:,} tags {name}"] = cpu_seconds(words, Path(folder), expected)
    return found


def main() -> None:
    """Measure, print, write."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    command = ("scripts/main.py", "autotag", "--target", TARGET, "--disable", "local", "mlc")
    os.chdir(ROOT)
    load = round(os.getloadavg()[1], 1)  # of the five minutes before: it slows all of this down
    results = {
        "python -c pass": milliseconds(process("-c", "pass")),
        "import the search": milliseconds(process("-c", "import jetson_containers.autotag.search")),
        "autotag mlc (registry list, no engine)": milliseconds(process(*command)),
        "judge and rank 752 images (132 requests)": milliseconds(decisions(), 5),
    }
    large = large_lists()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    for name, times in results.items():
        print(f"{name:45} {times['median_ms']:8.1f} ms  (best {times['best_ms']:.1f}, worst {times['worst_ms']:.1f})")
    for name, seconds in large.items():
        print(f"{name:45} {seconds['best_s']:8.2f} s of CPU  (bound {seconds['bound_s']})")
    found = {
        "machine": machine,
        "measured": time.strftime("%Y-%m-%d"),
        "load": load,
        "runs": RUNS,
        "results": results,
        "large": large,
    }
    text = json.dumps(found, indent=2) + "\n"
    (Path(__file__).parent / "result.json").write_text(text, encoding="utf-8")
    if slow := [name for name, seconds in large.items() if seconds["best_s"] > BOUND]:
        raise SystemExit(f"over the bound of {BOUND} s: {', '.join(slow)}")


if __name__ == "__main__":
    main()
