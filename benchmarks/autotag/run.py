"""How long `./autotag` takes: from the command to its line, and the decision alone.

Run `.venv/bin/python benchmarks/autotag/run.py`; it prints a table and writes `result.json` beside itself. No engine
and no network: the shipped list of Docker Hub, for a cross target.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RUNS = 20
TARGET = "r36.4.3"


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


def many_tags(count: int = 10_000) -> Callable[[], object]:
    """Choose among the tags of one repository of a registry that tells nothing but their names."""
    from jetson_containers.autotag.search import AutotagOptions, choose
    from jetson_containers.autotag.sources import RegistrySource
    from jetson_containers.platforms.detect import parse_target
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import ImageRepository, Tag, TagListing

    class Named(Listings):
        def get(self, repository: ImageRepository) -> TagListing:
            tags = tuple(Tag(tag=f"0.{number}-r36.4.0-cu126") for number in range(count))
            return TagListing(repository=repository, tags=tags, fetched="2026-01-01T00:00:00Z", origin="live")

        def described(self, listing: TagListing, tags: Iterable[str], architecture: str) -> TagListing:  # noqa: ARG002
            return listing

    def client() -> None:
        raise AssertionError("offline")

    source = RegistrySource(Named(Path("/nonexistent"), client), (ImageRepository("registry.test", "ns"),))  # type: ignore[arg-type]
    host = parse_target(TARGET)
    return lambda: choose(["mlc"], host, (source,), AutotagOptions())


def main() -> None:
    """Measure, print, write."""
    command = ("scripts/main.py", "autotag", "--target", TARGET, "--disable", "local", "mlc")
    os.chdir(ROOT)
    results = {
        "python -c pass": milliseconds(process("-c", "pass")),
        "import the search": milliseconds(process("-c", "import jetson_containers.autotag.search")),
        "autotag mlc (registry list, no engine)": milliseconds(process(*command)),
        "judge and rank 752 images (132 requests)": milliseconds(decisions(), 5),
        "choose among 10,000 tags of one repository": milliseconds(many_tags(), 3),
    }
    machine = {"cpus": os.cpu_count(), "python": platform.python_version(), "machine": platform.machine()}
    for name, times in results.items():
        print(f"{name:45} {times['median_ms']:8.1f} ms  (best {times['best_ms']:.1f}, worst {times['worst_ms']:.1f})")
    text = json.dumps({"machine": machine, "runs": RUNS, "results": results}, indent=2) + "\n"
    (Path(__file__).parent / "result.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
