"""How long a tree of 700 variants in upstream's format takes to load and to resolve.

    .venv/bin/python benchmarks/upstream_tree/run.py [SECONDS]

It prints a table and writes `result.json` beside itself. The tree is made by `generate.py`. CPU time is that of this
process and of the child that runs every `config.py`. Upstream's way of ordering (`upstream.py`) resolves the same tree
beside ours, for at most SECONDS of CPU time (120); what it had left then is said.
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
import upstream  # noqa: E402

from jetson_containers.core.errors import JetsonError  # noqa: E402
from jetson_containers.platforms import detect  # noqa: E402
from jetson_containers.recipes import catalog  # noqa: E402
from jetson_containers.resolver.solve import solve  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.recipes.catalog import Catalog

RUNS = 5
TARGET = "r36.4.3"
# Upstream itself on its own tree of 732 variants, measured earlier on another machine and stopped then.
MEASURED = {"variants": 732, "load_s": 0.66, "resolve_all_s": "more than 480 (stopped)", "nano_llm": "RecursionError"}


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


def their_way(found: Catalog, limit: float) -> dict[str, object]:
    """Resolve every available package as upstream does, for at most `limit` seconds of CPU time."""
    table, started, counts = (
        upstream.Table(found),
        cpu(),
        {"resolved": 0, "refused": 0, "endless": 0},
    )
    for name in found.available:
        try:
            upstream.order(table.depends, [name])
            counts["resolved"] += 1
        except RecursionError:
            counts["endless"] += 1
        except KeyError:
            counts["refused"] += 1
        if cpu() - started > limit:
            break
    left = len(found.available) - sum(counts.values())
    return {"cpu_s": round(cpu() - started, 2), **counts, "not_reached": left}


def main(limit: float = 120) -> None:
    """Measure, print and write the result."""
    with tempfile.TemporaryDirectory() as folder:
        generate.write(Path(folder))
        trees, target = [Path(folder) / "packages"], detect.parse_target(TARGET)
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
            "upstream_way": their_way(found, limit),
            "upstream_itself": MEASURED,
        }
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    for key, value in result.items():
        print(f"{key:14}", *([f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else [value]))


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit(__doc__)
    main(*map(float, sys.argv[1:2]))
