"""How long the commands take that stand in people's command lines, beside a bare `import click, json`.

    .venv/bin/python benchmarks/start/run.py [--before CHECKOUT]

Run it on a quiet machine; the result names the load that there was. It prints a table and writes `result.json` and
`result.md` beside itself; `--before` measures another checkout, such as a worktree of an earlier commit, and writes
`before.json`, which the table compares with.

A row is the median of paired runs: the baseline, the command and, where the command asks the engine, one list and one
inspect of all its images, one after the other, so that all three see the same load. The engine is the one that `docker`
reaches; it is filled up to 50 images for the time of the measurement. Without one the rows that need it are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import scaling  # noqa: E402 - found beside this file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RUNS = 5
IMAGES = 50
PREFIX = "start-benchmark"
ORIN = ("--target", "r36.4.3")
BASELINE = (sys.executable, "-c", "import click, json")

# A child reports the peak of its own memory; that of a parent would count the docker client as well.
_PEAK = """
import atexit, re, runpy, sys
target, sys.argv = sys.argv[1], sys.argv[2:]
def write():
    with open("/proc/self/status") as status, open(target, "w") as out:
        out.write(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1])
atexit.register(write)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A command to measure. `limit` is the most it may take, in baselines, `engine` calls taken off."""

    name: str
    words: tuple[str, ...]
    limit: float
    engine: bool = False
    memory: bool = False
    env: tuple[tuple[str, str], ...] = ()


def rows(tree: Path) -> list[Row]:
    """What is measured, in the order of the table."""
    words = "jetson-containers li"
    complete = (("_JETSON_CONTAINERS_COMPLETE", "bash_complete"), ("COMP_WORDS", words), ("COMP_CWORD", "1"))
    return [
        Row(name="list", words=("list", *ORIN), limit=2.5, memory=True),
        Row(name="show mlc", words=("show", "mlc", *ORIN), limit=2.5, memory=True),
        Row(name="why mlc", words=("why", "mlc", *ORIN), limit=2.5, memory=True),
        Row(name="info", words=("info", *ORIN), limit=2.5, memory=True),
        Row(name="tree mlc", words=("tree", "mlc", *ORIN), limit=2.5, memory=True),
        Row(name="completion", words=(), limit=2.5, env=complete),
        Row(
            name="autotag (no engine asked)",
            words=("autotag", "--disable", "local", "mlc", *ORIN),
            limit=2.5,
            memory=True,
        ),
        Row(name="autotag", words=("autotag", "-q", f"{PREFIX}-7"), limit=2.5, engine=True, memory=True),
        Row(
            name="run --dry-run",
            words=("run", "--dry-run", f"{PREFIX}-7:x86_64-cpu", "ls"),
            limit=2.5,
            engine=True,
            memory=True,
        ),
        Row(name="build --dry-run mlc", words=("build", "--dry-run", "mlc", *ORIN), limit=6, engine=True),
        Row(
            name="build, nothing to do", words=("build", "--packages", str(tree), f"{PREFIX}-top"), limit=6, engine=True
        ),
    ]


def environment(home: Path) -> dict[str, str]:
    """The caller's PATH and engine, a home of its own; modules are compiled once, as for any installed program."""
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"} or key.startswith("DOCKER_")}
    return {
        **kept,
        "HOME": str(home),
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")),
        "PYTHONPYCACHEPREFIX": str(home / "pyc"),
        "JETSON_CONTAINERS_OFFLINE": "1",
        "JETSON_CONTAINERS_LOGS": str(home / "logs"),
    }


def once(argv: Sequence[str], env: Mapping[str, str], *, check: bool = True) -> dict[str, float]:
    """Wall and CPU milliseconds of one command and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if check and done.returncode != 0:
        raise SystemExit(f"{argv} ended with {done.returncode}: {done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": wall * 1000, "cpu": cpu * 1000}


def measure(row: Row, program: Sequence[str], env: dict[str, str]) -> dict[str, Any]:
    """Paired runs of one row; the first is not counted. `program` is the start of its argv."""
    given = {**env, **dict(row.env)}
    listing = ("docker", "image", "ls", "--quiet", "--no-trunc")
    taken: list[dict[str, float]] = []
    for turn in range(RUNS + 1):
        base = once(BASELINE, env)
        ours = once([*program, *row.words], given, check=not row.env)
        ask = (
            _sum(once(listing, env), once(_inspect(env), env, check=False)) if row.engine else {"wall": 0.0, "cpu": 0.0}
        )
        if turn:
            taken.append(
                {
                    f"{kind}_{name}": value[kind]
                    for kind in ("wall", "cpu")
                    for name, value in (("base", base), ("ours", ours), ("engine", ask))
                }
            )
    result: dict[str, Any] = {"limit": row.limit}
    for kind in ("wall", "cpu"):
        for name in ("base", "ours", "engine"):
            result[f"{kind}_{name}_ms"] = round(statistics.median(one[f"{kind}_{name}"] for one in taken), 1)
        ratios = [(one[f"{kind}_ours"] - one[f"{kind}_engine"]) / one[f"{kind}_base"] for one in taken]
        result[f"{kind}_ratio"] = round(statistics.median(ratios), 2)
    if row.memory:
        result["memory_mb"] = peak(row, program, given)
    return result


def _sum(*parts: Mapping[str, float]) -> dict[str, float]:
    return {kind: sum(part[kind] for part in parts) for kind in ("wall", "cpu")}


def _inspect(env: Mapping[str, str]) -> tuple[str, ...]:
    """One inspect of all images; it fails, and takes as long, where somebody removes one meanwhile."""
    ids = _docker(env, "image", "ls", "--quiet", "--no-trunc").split()
    return ("docker", "image", "inspect", *dict.fromkeys(ids))


def peak(row: Row, program: Sequence[str], env: Mapping[str, str]) -> float:
    """The most memory the program itself had at a time, in MB; the median of three runs."""
    found = []
    for _ in range(3):
        target = Path(env["HOME"]) / "peak"
        once([program[0], "-c", _PEAK, str(target), *program[1:], *row.words], env)
        found.append(int(target.read_text()) / 1000)
    return round(statistics.median(found), 1)


def _docker(env: Mapping[str, str], *words: str, stdin: str | None = None) -> str:
    return subprocess.run(
        ["docker", *words], env=dict(env), input=stdin, capture_output=True, text=True, check=True
    ).stdout


@contextlib.contextmanager
def filled(env: Mapping[str, str]) -> Iterator[int]:
    """Have 50 images of this tool in the engine; the number of images there is given, 0 without an engine."""
    try:
        there = set(_docker(env, "image", "ls", "--quiet", "--no-trunc").split())
    except (OSError, subprocess.CalledProcessError):
        yield 0
        return
    made = []
    try:
        made.extend(_image(env, number) for number in range(max(IMAGES - len(there), 10)))
        yield len(set(_docker(env, "image", "ls", "--quiet", "--no-trunc").split()))
    finally:
        patterns = (f"{PREFIX}-*", f"jetson-containers/stage:{PREFIX}-*")
        filters = [word for pattern in patterns for word in ("--filter", f"reference={pattern}")]
        made += _docker(env, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", *filters).split()
        subprocess.run(["docker", "image", "rm", *dict.fromkeys(made)], env=dict(env), capture_output=True, check=False)


def _image(env: Mapping[str, str], number: int) -> str:
    name = f"{PREFIX}-{number}:x86_64-cpu"
    labels = {
        "role": "final",
        "key": f"sha256:{number:064x}",
        "packages": json.dumps([f"{PREFIX}-{number}:1.0", "python:3.11", "numpy:2.2"]),
        "platform": json.dumps({"arch": "x86_64", "l4t": None, "cuda": None, "python": "3.11", "distro": "debian12"}),
    }
    text = "FROM scratch\n" + "".join(f"LABEL io.jetson-containers.{k}='{v}'\n" for k, v in labels.items())
    _docker({**env, "DOCKER_BUILDKIT": "0"}, "build", "--tag", name, "-", stdin=text)
    return name


def write_tree(root: Path) -> None:
    """Two packages, one above the other, for the build that has nothing to do."""
    for name, depends in ((f"{PREFIX}-low", ""), (f"{PREFIX}-top", f"# depends: {PREFIX}-low\n")):
        folder = root / name
        folder.mkdir(parents=True)
        head = f"#---\n# name: {name}\n# group: benchmark\n{depends}#---\n"
        body = f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nENV {name.replace('-', '_')}=1\n"
        (folder / "Dockerfile").write_text(head + body)


def table(result: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    """The result for people."""
    lines = [
        f"Median of {RUNS} paired runs; {result['machine']}; {result['images']} images in the engine.",
        f"Measured on {result['measured']} at a load of {result['load']}.",
        "Ratio: the command, without one list and one inspect where it asks the engine, to `import click, json`.",
        "",
        "| command | before, ms | now, ms | list + inspect, ms | ratio before | ratio now (CPU) | limit | memory, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in result["commands"].items():
        old = (before or {}).get("commands", {}).get(name, {})
        lines.append(
            f"| `{name}` | {old.get('wall_ours_ms', '')} | {row['wall_ours_ms']} | {row['wall_engine_ms'] or ''} "
            f"| {old.get('wall_ratio', '')} | {row['wall_ratio']} ({row['cpu_ratio']}) | {row['limit']} "
            f"| {row.get('memory_mb', '')} |"
        )
    lines += [
        "",
        "CPU seconds over synthetic variants, ten of a family, families in chains of twenty; the start is taken off.",
        "",
    ]
    lines += ["| variants | scan | scan, cached | resolve every variant |", "|---|---|---|---|"]
    for size, row in result["scaling"].items():
        old = (before or {}).get("scaling", {}).get(size, {})
        cells = [f"{row[f'{kind}_s']}" + (f" (before {old[f'{kind}_s']})" if old else "") for kind in scaling.KINDS]
        lines.append(f"| {size} | {' | '.join(cells)} |")
    times = ", ".join(f"{kind} {scaling.growth(result['scaling'], kind)}" for kind in scaling.KINDS)
    lines += ["", f"Time per n log n at the largest size, as a multiple of that at a tenth of it: {times}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure CHECKOUT and write before.json")
    options = parser.parse_args()
    checkout = (options.before or ROOT).resolve()
    program = (sys.executable, str(checkout / "scripts/main.py"))
    os.chdir(checkout)
    load = round(os.getloadavg()[1], 1)  # of the five minutes before
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        env = environment(home)
        write_tree(home / "tree")
        with filled(env) as images:
            chosen = [row for row in rows(home / "tree") if images or not row.engine]
            commands = {row.name: measure(row, program, env) for row in chosen}
        grown = scaling.measure(program, env)
    result = {
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}",
        "measured": time.strftime("%Y-%m-%d"),
        "load": load,
        "images": images,
        "runs": RUNS,
        "commands": commands,
        "scaling": grown,
    }
    target = HERE / ("before.json" if options.before else "result.json")
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    earlier = HERE / "before.json"
    before = json.loads(earlier.read_text()) if earlier.is_file() and not options.before else None
    if options.before:
        return
    text = table(result, before)
    print(text)
    (HERE / "result.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
