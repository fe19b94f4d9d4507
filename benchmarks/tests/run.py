"""The CPU seconds of the pure tests by directory, which a machine that does other things too changes little.

    .venv/bin/python benchmarks/tests/run.py [--before] [DIRECTORY...]

Each directory of tests/unit and tests/lint runs in one process, one after the other; with DIRECTORY only those, and
the other rows of an earlier run stay. `result.json` and `result.md` lie beside it. `--before` writes `before.json`
instead: what the table compares with, measured in a checkout of an earlier commit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLLECTION = "collection"  # as `cpu` names it
BEFORE = "8bf90697"  # the commit of `before.json`
HEAVIEST = 10


def directories() -> list[str]:
    """The directories of pure tests, relative to the checkout."""
    inside = sorted(path.parent for path in (ROOT / "tests" / "unit").glob("*/__init__.py"))
    return ["tests/lint", *(path.relative_to(ROOT).as_posix() for path in inside if any(path.rglob("test_*.py")))]


def measured(directory: str) -> dict[str, Any]:
    """Run one directory: tests, CPU seconds of collecting, of the tests and of their programs, and those of files."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "cpu")
        command = [
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-p",
            "benchmarks.tests.cpu",
            f"--basetemp={folder}/tests",
            directory,
        ]
        env = {**os.environ, "TESTS_CPU": str(written)}
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=env, check=False, capture_output=True, text=True
        )
        if done.returncode:
            sys.stderr.write(f"{directory}: {done.stdout.splitlines()[-1]}\n")
        return row([json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()])


def row(found: list[tuple[str, float, float]]) -> dict[str, Any]:
    """The sums of one directory."""
    files: dict[str, float] = defaultdict(float)
    tests = [each for each in found if each[0] != COLLECTION]
    for name, own, others in tests:
        files[name.partition("::")[0]] += own + others
    return {
        "tests": len(tests),
        "collection": round(sum(own + others for name, own, others in found if name == COLLECTION), 1),
        "own": round(sum(own for _, own, _ in tests), 1),
        "programs": round(sum(others for _, _, others in tests), 1),
        "files": {name: round(taken, 1) for name, taken in files.items() if taken >= 1},
    }


def taken(found: dict[str, Any]) -> float:
    """The CPU seconds of the tests of a directory."""
    return float(found["own"] + found["programs"])


def table(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Both in Markdown, the directory that takes most first."""
    lines = [
        "CPU seconds of the pure tests by directory, without collecting them; programs that tests start are included.",
        f"Measured with `benchmarks/tests/run.py`; before is commit {BEFORE}. A loaded machine adds up to a third.",
        "",
        f"Not measured now: {', '.join(sorted(set(before) - set(now))) or 'none'}.",
        "",
        "| directory | tests | before | now | of these, programs |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(now, key=lambda name: -taken(now[name])):
        earlier = f"{taken(before[name]):.1f}" if name in before else ""
        lines.append(
            f"| `{name}` | {now[name]['tests']} | {earlier} | {taken(now[name]):.1f} | {now[name]['programs']} |"
        )
    both = [name for name in now if name in before]
    sums = [sum(taken(found[name]) for name in both) for found in (before, now)]
    files = {name: seconds for found in now.values() for name, seconds in found["files"].items()}
    heaviest = sorted(files, key=lambda name: -files[name])[:HEAVIEST]
    return "\n".join(
        [
            *lines,
            "",
            f"Together {sums[0]:.0f} before and {sums[1]:.0f} now.",
            "",
            "| the files that take most | now |",
            "|---|---|",
            *(f"| `{name}` | {files[name]} |" for name in heaviest),
            "",
        ]
    )


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def main() -> int:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="*", help="as tests/unit/plan; all by default")
    parser.add_argument("--before", action="store_true", help="write before.json")
    given = parser.parse_args()
    wanted = [name.rstrip("/") for name in given.directory] or directories()
    if unknown := set(wanted) - set(directories()):
        parser.error(f"no directory of pure tests: {', '.join(sorted(unknown))}")
    target = HERE / ("before.json" if given.before else "result.json")
    found = _read(target)
    for name in wanted:
        found[name] = measured(name)
        print(f"{name}: {taken(found[name]):.1f} CPU seconds", flush=True)
        target.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    if not given.before:
        (HERE / "result.md").write_text(table(_read(HERE / "before.json"), found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
