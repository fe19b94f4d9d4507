"""How many stages all images of a package tree take, by what they share, and what is rebuilt after a change.

    .venv/bin/python benchmarks/stages/run.py [--target r36.4.0]… [--tree DIR] [--upstream DIR]

Nothing is built: plans are made and counted. `no sharing` builds each image by itself; `declared` and `canonical` are
the two values of `--order`. The bound of layers is one for each package or, where that is more, one for each set of
packages that an image or a compile part stands on; that of compiles is one for each package that compiles.
`without artifacts` is what would be compiled if each recipe compiled in its layer, as upstream's do.

A change is one more command at the end of a Dockerfile in a copy of the tree: of the package that most images hold
(root), of one that a middling number holds and that compiles (middle), and of one that nothing stands on (leaf).
Counted are the stages whose key is another then. It prints the table and writes `result.json` beside itself.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from jetson_containers.plan import economy, plan, request  # noqa: E402 - found in this checkout
from jetson_containers.plan.stage import StageKind  # noqa: E402
from jetson_containers.platforms import detect  # noqa: E402
from jetson_containers.recipes import catalog  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage

TARGETS = ("r36.4.0", "x86_64")
MARK = "\nRUN true # touched by benchmarks/stages\n"


def plans_of(trees: Sequence[Path], target: str, order: str, *, own: bool) -> list[BuildPlan]:
    """The images of all packages; only of those of the last tree unless `own`."""
    platform = detect.parse_target(target)
    loaded = catalog.load(trees, platform)
    names = () if own else tuple(p.name for p in loaded.available.values() if p.further_tree)
    options = plan.PlanOptions(order=order)
    made = request.assemble(request.Request(packages=names, multiple=True), platform, lambda _: loaded, options)
    return list(made.plans)


def layers_that_would_compile(plans: Sequence[BuildPlan]) -> int:
    """How many stages would compile, if what has a compile part did that in its layer."""
    return sum(_compiles_alone(stage) for stage in stages_of(plans).values())


def _compiles_alone(stage: Stage) -> bool:
    split = stage.definition is not None and stage.definition.artifacts is not None
    return stage.kind is StageKind.LAYER and (split or economy.compiles(stage))


def stages_of(plans: Sequence[BuildPlan]) -> dict[str, Stage]:
    """All stages by key."""
    return {stage.key: stage for one in plans for stage in one.stages}


def count(plans: Sequence[BuildPlan]) -> dict[str, Any]:
    """The numbers of one order."""
    found = plan.count(plans)
    return {
        **found.to_json(),
        "no_sharing": sum(len(one.stages) for one in plans),
        "compiles_without_sharing": sum(economy.compiles(stage) for one in plans for stage in one.stages),
        "compiles_without_artifacts": layers_that_would_compile(plans),
        "above_the_bound": dict(found.repeated),
    }


def examples(plans: Sequence[BuildPlan]) -> dict[str, Any]:
    """The package that most images hold, one that compiles and that a middling number holds, and a leaf."""
    held = Counter(stage.package for one in plans for stage in one.stages if stage.kind is StageKind.LAYER)
    packages = {stage.package: stage.definition for stage in stages_of(plans).values() if stage.definition}
    ranked = sorted(held, key=lambda name: (-held[name], name))
    compiled = [name for name in ranked if packages[name].artifacts is not None and held[name] > 1]
    leaves = [name for name in ranked if packages[name].artifacts is not None and held[name] == 1]
    chosen = {
        "root": ranked[0],
        "middle": (compiled or ranked)[len(compiled or ranked) // 2],
        "leaf": (leaves or ranked)[-1],
    }
    return {place: packages[name] for place, name in chosen.items()}


def touched(package: Any, file: str, tree: Path, target: str, order: str, plans: Sequence[BuildPlan]) -> dict[str, Any]:
    """What is rebuilt after a change of one file of a package."""
    before = stages_of(plans)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "packages")
        shutil.copytree(tree, copy, symlinks=True)
        changed = copy / package.path.relative_to(tree) / file
        changed.write_text(changed.read_text(encoding="utf-8") + MARK, encoding="utf-8")
        after = plans_of([copy], target, order, own=True)
    new = {key: stage for key, stage in stages_of(after).items() if key not in before}
    alone = [stage for stage in new.values() if _compiles_alone(stage)]
    return {
        "package": package.name,
        "file": file,
        "stages_rebuilt": len(new),
        "of": len(stages_of(after)),
        "compiled_again": sum(map(economy.compiles, new.values())),
        "compiled_again_without_artifacts": len(alone),
        "images_made_again": sum(one.top.key in new for one in after),
    }


def changes(
    chosen: Mapping[str, Any], tree: Path, target: str, order: str, plans: Sequence[BuildPlan]
) -> dict[str, Any]:
    """The three changes; of a package that compiles, in its layer and in its compile part."""
    found = {}
    for place, package in chosen.items():
        files = {"": package.dockerfile, " (compile part)": package.artifacts and package.artifacts.dockerfile}
        for suffix, file in files.items():
            if file:
                found[place + suffix] = touched(package, file, tree, target, order, plans)
    return found


def measure(tree: Path, targets: Sequence[str], upstream: Path | None) -> dict[str, Any]:
    """All numbers by tree, target and order."""
    result: dict[str, Any] = {"own": {}, "upstream": {}}
    for target in targets:
        chosen = examples(plans_of([tree], target, plan.DECLARED, own=True))
        for order in plan.ORDERS:
            plans = plans_of([tree], target, order, own=True)
            row = {**count(plans), "changes": changes(chosen, tree, target, order, plans)}
            result["own"].setdefault(target, {})[order] = row
        if upstream:
            for order in plan.ORDERS:
                numbers = count(plans_of([tree, upstream], target, order, own=False))
                result["upstream"].setdefault(target, {})[order] = numbers
    return result


def table(result: dict[str, Any]) -> list[str]:
    """The numbers as Markdown."""
    lines = [
        "| tree | target | order | images | no sharing | layers | bound | compiles | bound | without artifacts |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    changed = [
        "",
        "| target | order | changed | package | stages rebuilt | compiled again | without artifacts | images |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind, by_target in result.items():
        for target, orders in by_target.items():
            for order, row in orders.items():
                cells = (kind, target, order, row["images"], row["no_sharing"], row["layers"], row["layer_bound"],
                         row["compiles"], row["lower_bound"], row["compiles_without_artifacts"])  # fmt: skip
                lines.append(_row(cells))
                for place, change in row.get("changes", {}).items():
                    cells = (target, order, place, change["package"], f"{change['stages_rebuilt']} of {change['of']}",
                             change["compiled_again"], change["compiled_again_without_artifacts"],
                             change["images_made_again"])  # fmt: skip
                    changed.append(_row(cells))
    return [*lines, *changed]


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", action="append", help="may be given several times; default: two platforms")
    parser.add_argument("--tree", type=Path, default=ROOT / "packages")
    parser.add_argument("--upstream", type=Path, help="upstream's packages, counted beside ours")
    given = parser.parse_args()
    result = measure(given.tree.resolve(), given.target or TARGETS, given.upstream)
    text = table(result)
    print("\n".join(text))
    if not given.target:
        (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        (HERE / "result.md").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
