"""How much work a large tree of upstream's format makes, in counts; `benchmarks/upstream_tree` measures the time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import JetsonError
from jetson_containers.recipes import files, yaml_lines
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.resolver import search, upstream_pins
from jetson_containers.resolver.demands import Demands
from jetson_containers.resolver.solve import solve
from tests.paths import ROOT_DIR
from tests.unit.treemaker import ORIN, package

sys.path.insert(0, str(ROOT_DIR / "benchmarks" / "upstream_tree"))
import generate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    generate.write(root)
    return root / "packages"


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, count: Callable[..., None]) -> None:
    """Have `count` called with the arguments of each call of a function."""
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        count(*args, **kwargs)
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapper)


def test_child_reads_all_recipes_at_once_and_no_definition_is_parsed_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One child reads all recipes, and no definition is parsed twice."""
    children: list[str] = []
    reads: Counter[Path] = Counter()
    parsed: Counter[tuple[Path, str]] = Counter()
    counted(monkeypatch, subprocess, "Popen", lambda argv, **_: children.append(argv[-1]))
    counted(monkeypatch, files, "read_bytes", lambda path, **_: reads.update([path]))
    counted(monkeypatch, yaml_lines, "parse", lambda text, path, **_: parsed.update([(path, text)]))
    load([root], ORIN)
    assert len(children) == 1
    assert len(reads) > 200
    # The form of a tree and of a directory, the definition itself, the stamp of the index: not once per version.
    assert max(reads.values()) <= 8, reads.most_common(3)
    assert max(parsed.values()) <= 3, parsed.most_common(1)


class Work:
    """What resolving asks for: demands made and lists of candidates."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        counted(monkeypatch, Demands, "_demand", lambda *_: self.done.update(["demands"]))
        for module in (search, upstream_pins):
            counted(monkeypatch, module, "candidates_for", lambda *_, **__: self.done.update(["candidates"]))

    def of(self, catalog: Catalog, name: str) -> Counter[str]:
        """The work for one request."""
        self.done.clear()
        with contextlib.suppress(JetsonError):
            solve(catalog, [name])
        return Counter(self.done)


def test_solve_work_depends_on_the_chain_and_not_on_the_tree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work for a request depends on its chain and not on the tree."""
    small, work = load([root], ORIN), Work(monkeypatch)
    further = [package(f"other{i}:{j}", adaptable=True) for i in range(300) for j in range(3)]
    large = Catalog(
        platform=ORIN, available={**small.available, **{item.name: item for item in further}}, absent=small.absent
    )
    names = ["pytorch", "vllm", "mlc", "nano_llm"]
    assert [work.of(large, name) for name in names] == [work.of(small, name) for name in names]


@pytest.mark.long
def test_solve_work_is_bounded_by_what_the_packages_ask_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work for a request is bounded by what its packages ask for."""
    catalog, work = load([root], ORIN), Work(monkeypatch)
    above: dict[str, float] = {}
    for name in catalog.available:
        done = work.of(catalog, name)
        with contextlib.suppress(JetsonError):
            packages = solve(catalog, [name]).packages
            asked = 1 + sum(len(item.depends) for item in packages)
            above[name] = max(done["demands"], done["candidates"]) / asked
    assert len(above) > 600
    assert max(above.values()) <= 6
