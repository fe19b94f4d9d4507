"""Runs the faults of a real engine, registry, hub and farm, and writes down what came out, case by case.

    python -m tests.faults [pytest's words]       # all of them, or a part: what was not run stays as it was

The whole takes about an hour on two busy cores, and root (disks, network name spaces). `./test.sh` has those marked
`quick`.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
RESULT = HERE / "result.md"
HEAD = """# Faults of a real engine, registry, hub and farm

Written by `python -m tests.faults`. {total} cases: {counts}; {seconds:.0f} s in all. After each fault the next run
finishes, what was finished is not made again, nothing partial counts as whole, and no container, lock, port or
temporary file is left.

| case | result | seconds | date |
| --- | --- | --- | --- |
"""
_ROW = re.compile(r"\| `(?P<case>.+)` \| (?P<result>\w+) \| (?P<seconds>[\d.]+) \| (?P<date>[\d-]+) \|")


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """How one case ended: passed, failed or skipped. `date` is the day of the run."""

    case: str
    result: str
    seconds: float
    date: str


def read(text: str) -> dict[str, CaseResult]:
    """The rows of a result, by case."""
    found = (match.groupdict() for match in map(_ROW.fullmatch, text.splitlines()) if match)
    return {row["case"]: CaseResult(**{**row, "seconds": float(row["seconds"])}) for row in found}  # type: ignore[arg-type]


def of_junit(text: str, date: str) -> dict[str, CaseResult]:
    """What pytest's XML says, by case."""
    results = {}
    for case in ElementTree.fromstring(text).iter("testcase"):
        if not case.get("classname"):  # stands for a run that was interrupted
            continue
        name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}".replace("|", "/")
        kinds = {child.tag for child in case}
        result = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        results[name] = CaseResult(case=name, result=result, seconds=float(case.get("time", "0")), date=date)
    return results


def write(results: dict[str, CaseResult]) -> str:
    """The result as a page."""
    kinds = ("passed", "failed", "skipped")
    counts = ", ".join(f"{sum(row.result == kind for row in results.values())} {kind}" for kind in kinds)
    head = HEAD.format(total=len(results), counts=counts, seconds=sum(row.seconds for row in results.values()))
    rows = (results[name] for name in sorted(results))
    return head + "".join(f"| `{row.case}` | {row.result} | {row.seconds:.1f} | {row.date} |\n" for row in rows)


def main(words: list[str]) -> int:
    """Run them; pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        junit = Path(folder) / "junit.xml"
        places = [] if any("tests/faults" in word for word in words) else [str(HERE / "real")]
        argv = [sys.executable, "-m", "pytest", "-q", f"--junitxml={junit}", *places, *words]
        code = subprocess.run(argv, cwd=HERE.parents[1], check=False).returncode
        if not junit.is_file():
            return code
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
        old = read(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
        RESULT.write_text(write({**old, **of_junit(junit.read_text(encoding="utf-8"), date)}), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
