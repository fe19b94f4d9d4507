"""How long a tree of 700 variants in upstream's format takes to load and to resolve.

Run `.venv/bin/python benchmarks/upstream_tree/run.py`; it prints a table and writes `result.json` beside itself. The
tree is made by `generate.py`. CPU time is that of this process and of the child that runs every `config.py`.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent), str(HERE)]

import generate  # noqa: E402 - found beside this file

from jetson_containers import catalog, platforms  # noqa: E402
from jetson_containers.errors import JetsonError  # noqa: E402
from jetson_containers.resolver import solve  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.catalog import Catalog

RUNS = 5
TARGET = "r36.4.3"
# Upstream's algorithm on its own tree of 732 variants, measured earlier on another machine and stopped then.
UPSTREAM = {"variants": 732, "load_s": 0.66, "resolve_all_s": "more than 480 (stopped)", "nano_llm": "RecursionError"}


def cpu() -> float:
    """CPU seconds of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Median CPU and wall seconds of some runs."""
    measured = []
    for _ in range(RUNS):
        before, started = cpu(), time.perf_counter()
        work()
        measured.append((cpu() - before, time.perf_counter() - started))
    names = ("cpu_s", "wall_s")
    return {name: round(statistics.median(one[i] for one in measured), 4) for i, name in enumerate(names)}


def resolve_all(found: Catalog) -> dict[str, int]:
    """Resolve every available package; counts what came of it."""
    counts = {"resolved": 0, "resolved_with_a_pin_that_gave_way": 0, "refused_with_a_reason": 0}
    for name in found.available:
        try:
            notices = solve(found, [name]).notices
        except JetsonError:
            counts["refused_with_a_reason"] += 1
            continue
        counts["resolved"] += 1
        counts["resolved_with_a_pin_that_gave_way"] += any("one image has one version" in note for note in notices)
    return counts


def main() -> None:
    """Measure, print and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        generate.write(Path(folder))
        trees, target = [Path(folder) / "packages"], platforms.parse_target(TARGET)
        cache = Path(folder) / "cache"
        found = catalog.load(trees, target, cache=cache)
        result = {
            "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}",
            "target": TARGET,
            "variants": len(found.available) + len(found.absent),
            "available": len(found.available),
            "broken_files": len(found.broken),
            "load_cold": timed(lambda: catalog.load(trees, target)),
            "load_warm": timed(lambda: catalog.load(trees, target, cache=cache)),
            "resolve_all": timed(lambda: resolve_all(catalog.load(trees, target, cache=cache))),
            "outcome": resolve_all(found),
            "upstream": UPSTREAM,
        }
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    for key, value in result.items():
        print(f"{key:14}", *([f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [value]))


if __name__ == "__main__":
    main()
