"""The tool that compares plans with upstream's chains, on a stand-in for a checkout of upstream."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import JetsonError
from jetson_containers.platforms import detect
from tests.paths import ROOT_DIR
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("upstream_chains", ROOT_DIR / "tools" / "upstream_chains.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["upstream_chains"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tool = load()

# What the tool needs of upstream: packages found in threads, by a function that takes one directory's definition, and
# their dependencies. `odd` is resolved in an order of its own, and `twice` is not sound.
UPSTREAM = """
import os, runpy, threading

_PACKAGES = {}


def config_package(package):
    file = os.path.join(package["path"], "config.py")
    made = runpy.run_path(file, {"package": package})["package"]
    return made if isinstance(made, list) else [made]


def scan_packages():
    root = os.path.join(os.path.dirname(os.path.dirname(__file__)), "packages")
    threads = [threading.Thread(target=_scan, args=(os.path.join(root, name),)) for name in os.listdir(root)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _scan(path):
    for package in config_package({"name": os.path.basename(path), "path": path, "depends": []}):
        _PACKAGES[package["name"]] = package


def find_package(name):
    return next(item for item in _PACKAGES.values() if name in (item["name"], item.get("alias")))


def resolve_dependencies(names):
    chain = []
    for name in names:
        chain += [*resolve_dependencies(find_package(name)["depends"]), name]
    chain = list(dict.fromkeys(chain))
    return chain[::-1] if names == ["odd"] else chain * 2 if names == ["twice"] else chain
"""
DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
RECIPES = {
    "low": "package['alias'] = 'base'",
    "bare": "package = {'name': 'bare', 'depends': ['low'], 'dockerfile': 'Dockerfile'}",
    "cuda": "package.update(name='cuda:13.2', alias='cuda')",
    "gpu": "package['depends'] = ['cuda']",
    "top": "package['depends'] = ['low']",
    "odd": "package['depends'] = ['low']",
    "twice": "package['depends'] = ['low']",
    "lost": "raise ValueError('always')",
    "open": "package['depends'] = ['nowhere']",
    "files": "package['depends'] = ['low']",
    "runs": "import subprocess; subprocess.run('true', shell=True)",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("upstream")
    files = {"jetson_containers/__init__.py": "", "jetson_containers/packages.py": UPSTREAM}
    for name, config in RECIPES.items():
        text = f"{DOCKERFILE}COPY patches /tmp/\n" if name == "files" else DOCKERFILE
        files |= {f"packages/{name}/Dockerfile": text, f"packages/{name}/config.py": f"{config}\n"}
    return write(root, files)


@pytest.fixture(scope="module")
def outcomes(checkout: Path) -> dict[str, tuple[str, str]]:
    (comparison,) = tool.compare_all(checkout, ["r36.4.0"])
    assert (comparison.names, comparison.resolved) == (10, 9)  # `lost` fails in Python, `open` has a dependency missing
    return {item.name: (item.kind, item.reason) for item in comparison.outcomes}


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("low", "same", ""),
        ("top", "same", ""),
        ("bare", "same", ""),
        ("odd", "wrong", "order: `low` where upstream has `odd`"),
        ("files", "rightly refused", "takes `patches`, which is not in CHECKOUT/packages/files"),
        ("runs", "rightly refused", "may not run or write anything"),
        ("cuda:13.2", "rightly refused", "`cuda:13.2` cannot run on L4T 36.4.0"),
        ("gpu", "rightly refused", "`cuda:13.2` cannot run on L4T 36.4.0"),
    ],
)
def test_upstream_chains_tells_what_became_of_a_chain(
    outcomes: dict[str, tuple[str, str]], name: str, kind: str, reason: str
) -> None:
    """The tool tells what became of a chain."""
    assert outcomes[name][0] == kind
    assert reason in outcomes[name][1]


def test_upstream_chains_compares_only_sound_chains(outcomes: dict[str, tuple[str, str]]) -> None:
    """Only sound chains are compared."""
    assert len(outcomes) == 8


def test_upstream_chains_does_not_write_to_the_checkout(checkout: Path, outcomes: dict[str, tuple[str, str]]) -> None:
    """The checkout is not written to."""
    assert outcomes
    assert {path.name for path in checkout.rglob("*") if path.is_dir()} == {"jetson_containers", "packages", *RECIPES}


ANSWER: dict[str, Any] = {"paths": {"a": "packages/files", "b": "packages/low"}, "acts": {"packages/runs": "x"}}


@pytest.mark.parametrize(
    "error",
    [
        JetsonError("there is no package `x`"),
        JetsonError("`cuda:13.2` cannot run on L4T 36.4.0, which runs CUDA 12.6"),
        JetsonError("{0}/packages/files/Dockerfile:3: takes `Dockerfile`, which is not in {0}/packages/files"),
        JetsonError("{0}/packages/runs/Dockerfile:3: takes `patches`, which is not in {0}/packages/runs"),
        JetsonError("{0}/packages/low/config.py:1: Refused: reading a recipe may not run or write anything: `open`"),
        JetsonError("{0}/packages/runs/config.py:1: Refused: reading a recipe may not run or write anything: `open`"),
    ],
    ids=["other", "cuda not in the chain", "file there", "not in the chain", "runs nothing", "runs, not in the chain"],
)
def test_upstream_chains_counts_a_refusal_without_evidence_as_wrong(checkout: Path, error: JetsonError) -> None:
    """A refusal without evidence is wrong."""
    error.message = error.message.format(checkout)
    assert not tool.is_true(error, ["a", "b"], checkout, ANSWER)


def test_upstream_chains_prints_a_table_and_writes_the_differences(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tool prints a table and writes the differences."""
    file = tmp_path / "result.json"
    assert tool.main([str(checkout), "--target", "r36.4.0", "--json", str(file), "--at-least", "4"]) == 1
    out, err = capsys.readouterr()
    assert "| r36.4.0 | 10 | 9 | 8 | 3 | 4 | 1 |" in out.splitlines()
    assert "3 chains are the same, fewer than 4" in err
    (result,) = json.loads(file.read_text())
    differences = {item["name"]: item["upstream"] for item in result["differences"]}
    assert differences["odd"] == ["odd", "low"]
    assert set(differences) == {"odd", "files", "runs", "cuda:13.2", "gpu"}


def test_upstream_chains_refuses_a_directory_that_is_not_a_checkout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that is not a checkout is refused."""
    assert tool.main([str(tmp_path)]) == 2
    assert "there is no packages" in capsys.readouterr().err


OURS = {
    "a/tool/config.yaml": "versions: [{version: '1'}]",
    "a/tool/Dockerfile": "name: tool",
    "a/app/Dockerfile": "depends: [tool]",
}


def test_upstream_chains_finds_what_changes_beside_another_tree(tmp_path: Path) -> None:
    """A plan that changes beside another tree is found."""
    ours = write(tmp_path / "ours", OURS)
    write(
        tmp_path / "theirs",
        {"packages/tool/config.yaml": "versions: [{version: '2'}]", "packages/tool/Dockerfile": "name: tool"},
    )
    before, changed = tool.beside(tmp_path / "theirs", "r36.4.3", ours)
    assert {name: plan.packages for name, plan in before.items()} == {
        "app": ("tool:1", "app"), "tool": ("tool:1",), "tool:1": ("tool:1",),
    }  # fmt: skip
    assert changed == {
        "app": "with tool:2 and without tool:1", "tool": "with tool:2 and without tool:1",
    }  # fmt: skip


def test_upstream_tree_beside_the_own_tree_changes_nothing(tmp_path: Path, checkout: Path) -> None:
    """A tree of upstream's beside this project's changes nothing."""
    before, changed = tool.beside(checkout, "r36.4.3", write(tmp_path, {**OURS, "a/low/Dockerfile": "depends: [app]"}))
    assert {"low", "app", "tool"} < set(before)
    assert changed == {}


def test_upstream_stand_in_runs_where_upstream_would(checkout: Path) -> None:
    """The stand-in runs where upstream's checkout would."""
    answer = tool.ask_upstream(checkout, detect.parse_target("sbsa"))
    assert answer["chains"]["gpu"] == ["cuda:13.2", "gpu"]
    assert answer["acts"].keys() == {"packages/runs"}
