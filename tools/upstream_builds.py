"""Builds recipes in upstream's format on our own stages, really, and says what became of each.

    .venv/bin/python tools/upstream_builds.py ~/jetson-containers-upstream openai h5py mujoco
    .venv/bin/python tools/upstream_builds.py DIR NAME… --target cpu --repositories ~/clones --record

DIR is a checkout of upstream's repository, or any directory of packages; it stands beside our tree, and nothing is
written to it. `--repositories` names a directory of git repositories, OWNER/NAME, that answer what the recipes clone
from `--clones-from`; a `git daemon` on loopback serves them for as long as this runs. `--record` writes the results
into docs/verified.md, where each stays until the same recipe is built again.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "verified.md"
HEADING = "## Recipes of other trees"
COLUMNS = ("recipe", "tree", "platform", "date", "result", "seconds", "note")
BUILT, FAILED = "built", "failed"
INTRO = "Built on our own base stages by `tools/upstream_builds.py`, and tested where the recipe has tests."

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, kw_only=True)
class BuildOutcome:
    """What became of one recipe."""

    recipe: str
    tree: str
    platform: str
    date: str
    result: str
    seconds: str
    note: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        return tuple(str(getattr(self, name)).replace("|", "/") for name in COLUMNS)

    @property
    def place(self) -> tuple[str, str, str]:
        """What a newer result must be about to replace it."""
        return self.recipe, self.tree, self.platform


def packages_in(directory: Path) -> Path:
    """The package tree of a checkout: its `packages`, or the directory itself."""
    return directory / "packages" if (directory / "packages").is_dir() else directory


def described(directory: Path) -> str:
    """A tree as the table names it: its commit, where it is a checkout, and its name."""
    done = subprocess.run(
        ["git", "-C", str(directory), "rev-parse", "--short=8", "HEAD"], capture_output=True, text=True, check=False
    )
    top = (directory / ".git").exists()
    return f"upstream {done.stdout.strip()}" if top and done.returncode == 0 else packages_in(directory).name


@contextlib.contextmanager
def served(repositories: Path | None, prefix: str) -> Iterator[dict[str, str]]:
    """Serve git repositories on loopback; yields the environment of builds that clone from there."""
    if repositories is None:
        yield {}
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = ["git", "daemon", f"--base-path={repositories}", "--export-all", "--listen=127.0.0.1", f"--port={port}"]
    daemon = subprocess.Popen([*argv, "--informative-errors"], stderr=subprocess.DEVNULL)
    try:
        yield {"JETSON_CONTAINERS_MIRRORS": json.dumps({"git": {prefix: f"git://127.0.0.1:{port}/"}})}
    finally:
        daemon.terminate()
        daemon.wait()


def build(name: str, tree: Path, given: argparse.Namespace, env: dict[str, str]) -> BuildOutcome:
    """Build one recipe as a user does, and read the report that the build leaves."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        argv = [
            str(ROOT / "build.sh"),
            "--package-dirs",
            str(packages_in(tree)),
            "--log-dir",
            folder,
            "--tests",
            "once",
        ]
        argv += ["--target", given.target] if given.target else []
        done = subprocess.run([*argv, name], env={**os.environ, **env}, capture_output=True, text=True, check=False)
        reports = [json.loads(file.read_text(encoding="utf-8")) for file in Path(folder).glob("*/build.json")]
    ok = done.returncode == 0
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    image = next(iter(reports[-1]["images"]), "") if reports else ""
    note = "" if ok else next((line for line in said if line.startswith("error:")), said[-1] if said else "")
    if not ok and given.verbose:
        print("\n".join(said[-40:]), file=sys.stderr)
    return BuildOutcome(
        recipe=name,
        tree=described(tree),
        platform=image.partition(":")[2] or given.target,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        result=BUILT if ok else FAILED,
        seconds=f"{time.monotonic() - began:.0f}",
        note=note[:120],
    )


def read(page: str) -> list[BuildOutcome]:
    """The results that a page holds."""
    _, _, section = page.partition(f"{HEADING}\n")
    rows = re.findall(r"^\| (.*) \|$", section.partition("\n## ")[0], re.MULTILINE)
    cells = [[cell.strip() for cell in row.split(" | ")] for row in rows]
    return [
        BuildOutcome(**dict(zip(COLUMNS, row, strict=True)))
        for row in cells
        if len(row) == len(COLUMNS) and row[0] != COLUMNS[0] and not row[0].startswith("---")
    ]


def section(rows: Iterable[BuildOutcome]) -> str:
    """The part of the page that holds the results; empty without any."""
    found = sorted(rows, key=lambda row: (row.tree, row.recipe))
    if not found:
        return ""
    table = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells for row in found)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([HEADING, "", INTRO, "", *lines]) + "\n"


def recorded(page: str, new: Sequence[BuildOutcome]) -> str:
    """The page with new results in place of older ones of the same recipes."""
    rows = {row.place: row for row in (*read(page), *new)}
    before, heading, rest = page.partition(f"{HEADING}\n")
    _, following, after = rest.partition("\n## ") if heading else ("", "", "")
    return before.rstrip("\n") + "\n\n" + section(rows.values()) + (f"\n## {after}" if following else "")


def main(arguments: Sequence[str]) -> int:
    """Build every recipe that is named; 0 where all were built."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--target", default="cpu", help="platform to build for (cpu)")
    parser.add_argument("--repositories", type=Path, metavar="DIR", help="git repositories, OWNER/NAME")
    parser.add_argument("--clones-from", default="https://github.com/", metavar="PREFIX", help="what they answer for")
    parser.add_argument("--record", action="store_true", help="write the results into docs/verified.md")
    parser.add_argument("--verbose", action="store_true", help="show the end of what a failed build said")
    given = parser.parse_args(arguments)
    outcomes = []
    with served(given.repositories and given.repositories.resolve(), given.clones_from) as env:
        for name in given.names:
            outcomes.append(build(name, given.directory.resolve(), given, env))
            print(" ".join(outcomes[-1].cells), flush=True)
            if given.record:
                PAGE.write_text(recorded(PAGE.read_text(encoding="utf-8"), outcomes), encoding="utf-8")
    built = sum(outcome.result == BUILT for outcome in outcomes)
    print(f"{built} of {len(outcomes)} built")
    return int(built < len(outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
