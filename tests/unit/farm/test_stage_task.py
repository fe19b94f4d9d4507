"""Stages on their way to a worker."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import graph
from jetson_containers.builder.resources import StageLoad
from jetson_containers.builder.types import BuildOptions
from jetson_containers.core.errors import UsageError
from jetson_containers.farm import stage_task
from jetson_containers.recipes import shared
from tests.unit.builder.helpers import PLATFORM, package, plan, stage

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.builder.graph import Node
    from jetson_containers.farm.stage_task import StageTask


def node(tmp_path: Path, **changes: Any) -> Node:
    """A stage whose recipe has a directory, a link, a test and a shared file."""
    folder = tmp_path / "tree" / "llm" / "tool"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "data.txt").write_text("data")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_text("no part of a build")
    (tmp_path / "tree" / "shared").mkdir()
    (tmp_path / "tree" / "shared" / "fetch.sh").write_text("fetch")
    share = ("fetch.sh", "python:jetson_containers/container_scripts/with_key.py")
    definition = package("tool:1", path=folder, tree=tmp_path / "tree", share=share, **changes)
    made = plan(stage("tool:1", definition=definition, context=folder, build_args=changes.get("build_args", {})))
    (found,) = graph.merge([made]).nodes.values()
    return found


def task(given: Node, tmp_path: Path) -> StageTask:
    options = BuildOptions(log_dir=tmp_path, tests="all", skip_tests=("x*",))
    return stage_task.of(
        given, StageLoad(), options, registry="r/n", base="b@sha256:1", below={"i": "r@sha256:2"}, total=1
    )


def test_stage_task_brings_the_recipe_and_what_it_shares(tmp_path: Path) -> None:
    """On the worker all files of the build context are there, under the same names, links and modes too."""
    given = node(tmp_path)
    sent = pickle.loads(pickle.dumps(task(given, tmp_path)))
    there = stage_task.unpack(sent, tmp_path / "worker")
    definition = there.stage.definition
    assert definition is not None
    assert given.stage.definition is not None
    files = shared.files_of(definition)
    assert set(files) == set(shared.files_of(given.stage.definition))
    assert all(path.is_relative_to(tmp_path / "worker") for path in files.values())
    place = definition.path
    assert place == there.stage.context
    assert (place / "sub" / "data.txt").read_text() == "data"
    assert (place / "run.sh").stat().st_mode & 0o111
    assert (place / "link").readlink().name == "run.sh"
    assert not (place / "__pycache__").exists()
    assert there.stage.key == given.stage.key


def test_stage_task_holds_nothing_of_the_machine_it_was_planned_on(tmp_path: Path) -> None:
    """The host's report, other stages and notices stay at home; equal files are equal bytes."""
    given = node(tmp_path)
    noisy = replace(given.plan, platform=replace(PLATFORM, host={"model": "secret lab"}), notices=("n",))
    sent = task(replace(given, plan=noisy), tmp_path)
    assert b"secret lab" not in pickle.dumps(sent)
    assert sent.files == task(given, tmp_path).files
    assert (sent.options(BuildOptions(log_dir=tmp_path)).tests, sent.skip_tests) == ("all", ("x*",))


@pytest.mark.parametrize(
    "changes",
    [
        {"build_args": {"HF_TOKEN": "hf_abcdefghijkl"}},
        {"build_args": {"INDEX": "https://user:word@pypi.example/simple"}},
        {"variables": {"API_KEY": "0123456789"}},
    ],
)
def test_stage_task_with_a_secret_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """What looks like a secret is not sent; the error names the variable and not its value."""
    with pytest.raises(UsageError, match="looks like a secret, and a farm is sent none") as caught:
        task(node(tmp_path, **changes), tmp_path)
    assert "hf_" not in caught.value.message
    assert "word" not in caught.value.message


def test_stage_task_with_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What travels through the scheduler has a bound."""
    monkeypatch.setattr(stage_task, "LARGEST", 1 << 10)
    with pytest.raises(UsageError, match="a farm sends at most"):
        task(node(tmp_path), tmp_path)


def test_stage_result_counts_as_its_image() -> None:
    """Dask takes the size of the image for that of the result, and so weighs what another worker would have to pull."""
    made = stage_task.StageResult(
        key="k", image="i", reference="r@sha256:1", state="built", worker="w", seconds=1.0, size=5_000_000_000
    )
    assert made.__sizeof__() == 5_000_000_000
