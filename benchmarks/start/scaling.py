"""Scan and resolve trees of 100 to 10,000 synthetic variants: neither may grow faster than n log n."""

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
TARGET = ("--target", "r36.4.3")
KINDS = ("scan", "cached", "resolve")


def write(root: Path, variants: int) -> list[str]:
    """Families of ten versions; each stands on the family before it, in chains of twenty. Their names."""
    names = [f"family-{number}" for number in range(max(1, variants // VERSIONS))]
    for number, name in enumerate(names):
        folder = root / name
        folder.mkdir(parents=True)
        depends = f"# depends: family-{number - 1}\n" if number % DEEPEST else ""
        (folder / "Dockerfile").write_text(
            f"#---\n# name: {name}\n# group: synthetic\n{depends}#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nRUN true\n"
        )
        rows = [f'  - version: "1.{version}"\n' for version in range(VERSIONS)]
        (folder / "config.yaml").write_text("versions:\n" + rows[0] + "    default: true\n" + "".join(rows[1:]))
    return names


def measure(
    command: Sequence[str], env: Mapping[str, str], sizes: Sequence[int] = SIZES
) -> dict[str, dict[str, float]]:
    """CPU seconds by size, without those of a start: a first scan, one with its index, and every family resolved."""
    start = _seconds(command, env, 1)
    found = {size: _seconds(command, env, size) for size in sizes}
    return {
        str(size): {f"{kind}_s": round(max(0.0, row[kind] - start[kind]), 3) for kind in KINDS}
        for size, row in found.items()
    }


def growth(rows: Mapping[str, Mapping[str, float]], kind: str) -> float:
    """Time per n log n at the largest size, as a multiple of that at a tenth of it; 1 is exactly n log n."""
    largest = max(map(int, rows))
    tenth = largest // 10
    per = {size: rows[str(size)][f"{kind}_s"] / (size * math.log(size)) for size in (tenth, largest)}
    return round(per[largest] / per[tenth], 2)


def _seconds(command: Sequence[str], env: Mapping[str, str], variants: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "packages"
        names = write(root, variants)
        own = {**env, "XDG_CACHE_HOME": folder}
        tree = ("--packages", str(root), *TARGET)
        runs = 3 if variants <= 1000 else 1
        scan = min(_cpu([*command, "list", *tree], {**own, "XDG_CACHE_HOME": f"{folder}/{run}"}) for run in range(runs))
        _cpu([*command, "list", *tree], own)
        cached = min(_cpu([*command, "list", *tree], own) for _ in range(runs))
        resolve = min(_cpu([*command, "tree", *tree, *names], own) for _ in range(runs))
    return {"scan": scan, "cached": cached, "resolve": resolve - cached}


def _cpu(argv: Sequence[str], env: Mapping[str, str]) -> float:
    """CPU seconds of a command, which must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{argv[:4]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
