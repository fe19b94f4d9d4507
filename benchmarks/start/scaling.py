"""Scan and resolve trees of 100 to 10,000 synthetic variants: neither may grow faster than n log n.

Scanning is measured through the command line. Every variant is resolved, one request after the other, inside one
process of the measured checkout, whose modules had other names before they were moved into subpackages.
"""

from __future__ import annotations

import math
import resource
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZES = (100, 300, 1000, 3000, 10_000)
VERSIONS = 10  # of each family
DEEPEST = 20  # families that stand on each other
TARGET = "r36.4.3"
KINDS = ("scan", "cached", "resolve")
_RESOLVE = """
import sys, time
from pathlib import Path
sys.path[0] = sys.argv[1]
try:
    from jetson_containers.platforms.detect import parse_target
    from jetson_containers.recipes.catalog import load
    from jetson_containers.resolver.solve import solve
except ImportError:
    from jetson_containers.catalog import load
    from jetson_containers.platforms import parse_target
    from jetson_containers.resolver import solve
found = load([Path(sys.argv[2])], parse_target(sys.argv[3]))
if len(found.available) != int(sys.argv[4]):
    sys.exit(f"{len(found.available)} variants: {found.broken[:1]}")
before = time.process_time()
for name in found.available:
    solve(found, [name])
print(time.process_time() - before)
"""


def write(root: Path, variants: int) -> None:
    """Families of ten versions; each stands on the family before it, in chains of twenty."""
    for number in range(variants // VERSIONS):
        name = f"family-{number}"
        folder = root / name
        folder.mkdir(parents=True)
        depends = f"# depends: family-{number - 1}\n" if number % DEEPEST else ""
        (folder / "Dockerfile").write_text(
            f"#---\n# name: {name}\n# group: synthetic\n{depends}#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nRUN true\n"
        )
        rows = [f'  - version: "1.{version}"\n' for version in range(VERSIONS)]
        (folder / "config.yaml").write_text("versions:\n" + rows[0] + "    default: true\n" + "".join(rows[1:]))


def measure(
    program: Sequence[str], env: Mapping[str, str], sizes: Sequence[int] = SIZES
) -> dict[str, dict[str, float]]:
    """CPU seconds by size, without those of a start: a first scan, one with its index, and every variant resolved."""
    start = _seconds(program, env, VERSIONS)
    found = {size: _seconds(program, env, size) for size in sizes}
    return {
        str(size): {
            "scan_s": round(max(0.0, row["scan"] - start["scan"]), 3),
            "cached_s": round(max(0.0, row["cached"] - start["cached"]), 3),
            "resolve_s": round(row["resolve"], 3),
        }
        for size, row in found.items()
    }


def growth(rows: Mapping[str, Mapping[str, float]], kind: str) -> float:
    """Time per n log n at the largest size, as a multiple of that at a tenth of it; 1 is exactly n log n."""
    largest = max(map(int, rows))
    tenth = largest // 10
    per = {size: rows[str(size)][f"{kind}_s"] / (size * math.log(size)) for size in (tenth, largest)}
    return round(per[largest] / per[tenth], 2)


def _seconds(program: Sequence[str], env: Mapping[str, str], variants: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "packages"
        write(root, variants)
        own = {**env, "XDG_CACHE_HOME": folder}
        command = [*program, "list", "--packages", str(root), "--target", TARGET]
        runs = 3 if variants <= 1000 else 1
        scan = min(_cpu(command, {**own, "XDG_CACHE_HOME": f"{folder}/{run}"}) for run in range(runs))
        _cpu(command, own)
        cached = min(_cpu(command, own) for _ in range(runs))
        checkout = Path(program[1]).parents[1]
        resolve = [program[0], "-c", _RESOLVE, str(checkout), str(root), TARGET, str(variants)]
        taken = min(float(_output(resolve, env)) for _ in range(runs))
    return {"scan": scan, "cached": cached, "resolve": taken}


def _cpu(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """CPU seconds of a command, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _output(argv, env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _output(argv: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{argv[:2]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
