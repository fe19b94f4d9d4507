"""Compares our plans of upstream's recipes with the chains of upstream's own resolver, name by name.

    .venv/bin/python tools/upstream_chains.py ~/jetson-containers-upstream
    .venv/bin/python tools/upstream_chains.py CHECKOUT --target r36.4.3 --target sbsa,cu130 --json result.json
    .venv/bin/python tools/upstream_chains.py CHECKOUT --beside

CHECKOUT is a checkout of upstream's repository; nothing is written to it, and its code runs (in a copy, in a child
process with an environment of its own): name one you trust. A chain of upstream's is sound when it holds no package
twice and no package in two versions; only those are compared. The same are those with the same packages in the same
order. A refusal of ours is right when its reason is found true in the checkout: a file is missing there, a recipe
starts programs while it is read, or the chain holds a CUDA that the platform's driver is known not to run. All others
are wrong.

With `--beside` our own packages are planned alone and with CHECKOUT as a further package directory, on all platforms
that we support, and every plan that is not the same is listed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.core.errors import JetsonError
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog

RESOLVER = Path(__file__).with_name("upstream_resolver.py")
SUPPORTED_TARGETS = ("r36.4.0", "r36.2.0", "r35.4.1,cu114", "r32.7.1,cu102", "sbsa", "x86_64,cu129")
SAME, REFUSED, WRONG = "same", "rightly refused", "wrong"
COLUMNS = ("target", "names", "resolved", "sound", SAME, REFUSED, WRONG)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one sound chain of upstream's here."""

    name: str
    kind: str  # SAME, REFUSED or WRONG
    reason: str = ""
    chain: tuple[str, ...] = ()  # upstream's


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One platform: how many names upstream has and resolves, and the outcome of each sound chain."""

    target: str
    names: int
    resolved: int
    outcomes: tuple[Outcome, ...]

    def count(self, kind: str) -> int:
        """How many outcomes are of a kind."""
        return sum(outcome.kind == kind for outcome in self.outcomes)


def main(arguments: Sequence[str]) -> int:
    """Print the table; 1 where something is wrong, differs, or is the same less often than `--at-least` says."""
    options = _parser().parse_args(arguments)
    for needed in ("packages", "jetson_containers/packages.py"):
        if not (options.checkout / needed).exists():
            print(f"{options.checkout} is not a checkout of upstream: there is no {needed}", file=sys.stderr)
            return 2
    print(f"upstream at {_commit(options.checkout)}\n")
    return _beside(options) if options.beside else _chains(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="a checkout of upstream's repository")
    parser.add_argument(
        "--target",
        action="append",
        help=f"a platform, as for `build`; repeatable (default: {' '.join(SUPPORTED_TARGETS)})",
    )
    parser.add_argument("--json", type=Path, help="write the numbers and every difference to this file")
    parser.add_argument("--at-least", type=int, default=0, metavar="N", help="fail where fewer chains are the same")
    parser.add_argument("--beside", action="store_true", help="plan our own packages with and without CHECKOUT instead")
    return parser


# --- their tree alone


def _chains(options: argparse.Namespace) -> int:
    comparisons = compare_all(options.checkout, options.target or SUPPORTED_TARGETS)
    print("\n".join(table(comparisons)))
    print("\n".join(["", *reasons(comparisons)]))
    _write(options.json, [_as_json(item) for item in comparisons])
    same, wrong = (sum(item.count(kind) for item in comparisons) for kind in (SAME, WRONG))
    if same < options.at_least:
        print(f"\n{same} chains are the same, fewer than {options.at_least}", file=sys.stderr)
    return int(bool(wrong) or same < options.at_least)


def compare_all(checkout: Path, targets: Sequence[str]) -> list[Comparison]:
    """Compare on each platform. Upstream's resolver runs for all of them at the same time."""
    from jetson_containers.platforms import detect

    platforms = [detect.parse_target(target) for target in targets]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = [pool.submit(ask_upstream, checkout, platform) for platform in platforms]
        return [
            compare(checkout, target, platform, answer.result())
            for target, platform, answer in zip(targets, platforms, answers, strict=True)
        ]


def ask_upstream(checkout: Path, platform: Platform) -> dict[str, Any]:
    """What upstream's resolver says, as `upstream_resolver.resolve_all` returns it; paths are relative to CHECKOUT."""
    from jetson_containers.recipes.upstream import config_py

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "upstream"
        shutil.copytree(checkout, copy, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        done = subprocess.run(
            [sys.executable, "-s", "-B", str(RESOLVER), str(copy)],
            input=json.dumps(config_py.facts(platform)),
            env={
                "HOME": folder,
                "LC_ALL": "C.UTF-8",
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONHASHSEED": "0",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"upstream's resolver failed:\n{done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout)
        answer["acts"] = {os.path.relpath(path, copy): act for path, act in answer["acts"].items()}
        answer["paths"] = {name: os.path.relpath(path, copy) for name, path in answer["paths"].items()}
        return answer


def compare(checkout: Path, target: str, platform: Platform, answer: Mapping[str, Any]) -> Comparison:
    """Plan every sound chain of upstream's and say what became of it."""
    from jetson_containers.core.errors import JetsonError
    from jetson_containers.plan import keys
    from jetson_containers.recipes import catalog

    recipes = catalog.load([checkout / "packages"], platform)
    sound = {name: chain for name, chain in answer["chains"].items() if is_sound(chain)}
    outcomes = []
    with keys.remembering():
        for name, chain in sorted(sound.items()):
            try:
                ours = _plan(recipes, name).packages
                kind = SAME if ours == tuple(chain) else WRONG
                reason = "" if kind == SAME else difference(ours, chain)
            except JetsonError as error:
                kind = REFUSED if is_true(error, chain, checkout, answer) else WRONG
                reason = error.message.replace(str(checkout), "CHECKOUT")
            outcomes.append(Outcome(name=name, kind=kind, reason=reason, chain=tuple(chain)))
    return Comparison(
        target=target,
        names=len(answer["chains"]) + len(answer["failed"]),
        resolved=len(answer["chains"]),
        outcomes=tuple(outcomes),
    )


def is_sound(chain: Sequence[str]) -> bool:
    """Whether no package is there twice, in the same version or in two."""
    families = [name.partition(":")[0] for name in chain]
    return len(set(families)) == len(families)


def _plan(recipes: Catalog, name: str) -> BuildPlan:
    from jetson_containers.plan.plan import PlanOptions
    from jetson_containers.plan.request import Request, assemble

    (plan,) = assemble(Request(packages=(name,)), recipes.platform, lambda _: recipes, PlanOptions()).plans
    return plan


def is_true(error: JetsonError, chain: Sequence[str], checkout: Path, answer: Mapping[str, Any]) -> bool:
    """Whether the reason of a refusal holds of a package in upstream's chain."""
    directories = {answer["paths"].get(name) for name in chain}
    missing = re.search(r": takes `([^`]+)`, which is not in (.+)$", error.message)
    if missing:
        source, directory = missing.groups()
        return os.path.relpath(directory, checkout) in directories and not os.path.lexists(Path(directory, source))
    if "may not run or write anything" in error.message:
        said = re.match(r"(.+)/[^/]+:\d+: ", error.message)
        place = os.path.relpath(said[1], checkout) if said else ""
        return place in directories and place in answer["acts"]
    cuda = re.match(r"`(cuda:[^`]+)` cannot run on ", error.message)
    return bool(cuda and cuda[1] in chain)


def difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    """How our chain differs: what is more, what is missing, or the first place where the order does."""
    more = [name for name in ours if name not in theirs]
    less = [name for name in theirs if name not in ours]
    if not more and not less:
        place = next((index for index, pair in enumerate(zip(ours, theirs, strict=False)) if len(set(pair)) > 1), 0)
        return f"order: `{ours[place]}` where upstream has `{theirs[place]}`"
    words = [f"with {', '.join(more)}"] if more else []
    words += [f"without {', '.join(less)}"] if less else []
    return " and ".join(words)


def table(comparisons: Sequence[Comparison]) -> list[str]:
    """The numbers per platform and their sums, as a Markdown table."""
    rows = [
        (item.target, item.names, item.resolved, len(item.outcomes), *map(item.count, (SAME, REFUSED, WRONG)))
        for item in comparisons
    ]
    total = ("all", *(sum(int(row[column]) for row in rows) for column in range(1, len(COLUMNS))))
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1)), *rows, total]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def reasons(comparisons: Sequence[Comparison]) -> list[str]:
    """Why chains are not the same: each reason with how many chains it costs, the most frequent first."""
    found: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for comparison in comparisons:
        for item in comparison.outcomes:
            if item.kind != SAME:
                found[item.kind, item.reason] += 1
                first.setdefault((item.kind, item.reason), f"{item.name} on {comparison.target}")
    ordered = sorted(found.items(), key=lambda pair: (pair[0][0], -pair[1], pair[0][1]))
    return [f"{count:5} {kind}: {reason} ({first[kind, reason]})" for (kind, reason), count in ordered]


def _as_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "target": comparison.target,
        "names": comparison.names,
        "resolved": comparison.resolved,
        "sound": len(comparison.outcomes),
        **{kind.replace(" ", "_"): comparison.count(kind) for kind in (SAME, REFUSED, WRONG)},
        "differences": [
            {"name": item.name, "kind": item.kind, "reason": item.reason, "upstream": list(item.chain)}
            for item in comparison.outcomes
            if item.kind != SAME
        ],
    }


def _write(file: Path | None, result: object) -> None:
    if file:
        file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


# --- their tree beside ours


def _beside(options: argparse.Namespace) -> int:
    from jetson_containers.platforms.target import SUPPORTED_TARGETS

    rows, result = [("target", "names", "planned", "changed"), ("---", *["---:"] * 3)], []
    for target in options.target or SUPPORTED_TARGETS:
        before, changed = beside(options.checkout, target)
        planned = sum(not isinstance(plan, str) for plan in before.values())
        rows.append((target, str(len(before)), str(planned), str(len(changed))))
        result.append({"target": target, "names": len(before), "planned": planned, "changed": changed})
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    changes = [f"{name} on {row['target']}: {what}" for row in result for name, what in row["changed"].items()]  # type: ignore[attr-defined]
    print("\n".join(["", *changes] if changes else []))
    _write(options.json, result)
    return int(bool(changes))


def beside(checkout: Path, target: str, ours: Path = ROOT / "packages") -> tuple[dict[str, Any], dict[str, str]]:
    """Every plan of our packages, or why there is none; and what becomes of those that change beside CHECKOUT."""
    from jetson_containers.plan import keys
    from jetson_containers.platforms import detect
    from jetson_containers.recipes import catalog

    platform = detect.parse_target(target)
    alone, both = (catalog.load(trees, platform) for trees in ([ours], [ours, checkout / "packages"]))
    with keys.remembering():
        before = {name: _planned(alone, name) for name in _spellings(alone)}
        after = {name: _planned(both, name) for name in before}
    return before, {name: _change(before[name], after[name]) for name in before if before[name] != after[name]}


def _spellings(recipes: Catalog) -> Iterator[str]:
    """All that may be asked for by name: packages, their families and aliases."""
    packages = recipes.available.values()
    yield from sorted({name for item in packages for name in (item.name, item.family, *item.aliases)})


def _planned(recipes: Catalog, name: str) -> BuildPlan | str:
    from jetson_containers.core.errors import JetsonError

    try:
        return _plan(recipes, name)
    except JetsonError as error:
        return error.message


def _change(before: BuildPlan | str, after: BuildPlan | str) -> str:
    if isinstance(before, str) or isinstance(after, str):
        return f"{before if isinstance(before, str) else 'planned'} -> {after if isinstance(after, str) else 'planned'}"
    if before.packages != after.packages:
        return difference(after.packages, before.packages)
    changed = [name for name, value in vars(before).items() if value != getattr(after, name)]
    return f"the same packages with other {', '.join(changed)}"


def _commit(checkout: Path) -> str:
    """The commit of the checkout and its date, where it is one."""
    if not (checkout / ".git").exists():
        return str(checkout)
    argv = ["git", "-C", str(checkout), "log", "-1", "--format=%H (%cs)"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
