"""What the sandbox costs the reading of a tree with `config.py` files, which happens once for a state of the tree.

Run `.venv/bin/python benchmarks/checks/sandbox.py` with bubblewrap installed; it prints the medians and writes
`sandbox.json` beside itself. Both ways take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from jetson_containers.platforms import detect  # noqa: E402
from jetson_containers.recipes import isolation  # noqa: E402
from jetson_containers.recipes.upstream import config_py  # noqa: E402

RUNS = 30
PACKAGES = 20


def main() -> int:
    """Time both, print and write the medians in milliseconds."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if reason := isolation.why_not():
        sys.exit(f"no sandbox: {reason}")
    platform = detect.parse_target("r36.4.3")
    times: dict[str, list[float]] = {"guard": [], "sandbox": []}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [_job(Path(folder), f"p{number}") for number in range(PACKAGES)]
        for _ in range(RUNS):
            for name, found in times.items():
                os.environ[isolation.OFF] = "1" if name == "guard" else ""
                started = time.perf_counter()
                answers = config_py.run(jobs, [Path(folder)], platform).answers
                found.append(1000 * (time.perf_counter() - started))
                assert all(answer.definitions for answer in answers), answers
    medians = {f"{name}_ms": round(statistics.median(found), 1) for name, found in times.items()}
    result = {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d"), "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1), "packages": PACKAGES, "runs": RUNS, **medians,
        "added_ms": round(medians["sandbox_ms"] - medians["guard_ms"], 1),
    }  # fmt: skip
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    Path(__file__).with_name("sandbox.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _job(root: Path, name: str) -> config_py.ConfigPyJob:
    place = root / name
    place.mkdir()
    (place / "config.py").write_text("package['docs'] = 'x'")
    base = {"name": name, "path": str(place)}
    steps = [("python", place / "config.py")]
    return config_py.ConfigPyJob(directory=place, module=f"packages.{name}", base=base, steps=steps)


if __name__ == "__main__":
    sys.exit(main())
