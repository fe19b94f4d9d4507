"""docs/gpu-packages.md: a row of an image's labels and of what was found in it, read back as written."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.image_check import GpuCode, ImageContents
from jetson_containers.images import labels
from jetson_containers.platforms import detect
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from types import ModuleType


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_packages_tool", ROOT_DIR / "tools" / "gpu_packages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_packages_tool"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tool = load()
CONTENTS = ImageContents(
    files=9,
    missing={"/opt/a.so": ("libb.so.1",), "/opt/c.so": ("libb.so.1",)},
    gpu_code={"/opt/a.so": GpuCode(code=("90a", "110", "87"), ptx=("110",)), "/opt/b.so": GpuCode(code=("87",))},
    imports={"/opt/venv/lib/python3.11/site-packages/thing": ("ok", "")},
)


def labels_of(tests: dict[str, Any]) -> Any:
    return labels.read(
        labels.make(
            role=labels.FINAL,
            name="my/thing:1",
            key="sha256:aaaabbbbccccdddd",
            packages=["python:3.11", "thing:1"],
            platform=detect.parse_target("x86_64,cu130,debian12,sm87,sm110"),
            tests=tests,
        )
    )


def record(*statuses: str, gpu: bool = False) -> dict[str, Any]:
    results = [{"command": f"test{number}.py", "status": status} for number, status in enumerate(statuses)]
    return {"status": "passed", "date": "2026-11-29T16:00:00Z", "gpu": gpu, "results": results}


def test_row_says_what_was_asked_for_and_what_was_found() -> None:
    """Machine code and PTX of all files together, libraries that are missing once, and the target with its SMs."""
    row = tool.row_of(labels_of({"packages": {"thing:1": record("passed", "skipped")}}), CONTENTS)
    assert row.cells == (
        "thing:1",
        "x86_64-cu130-debian12 SM 87, 110",
        "`aaaabbbbcccc`",
        "2026-11-29",
        "87 90a 110 110+",
        "9 files, missing: libb.so.1",
        "thing ok",
        "deferred: test1.py",
    )


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (record("passed", "passed"), "it has none"),
        (record("passed", "passed", gpu=True), "passed, with a GPU"),
        (record("skipped", "failed"), "deferred: test0.py; failed: test1.py"),
        (record("passed", "deferred"), "deferred: test1.py"),
    ],
)
def test_gpu_test_is_deferred_only_where_there_is_one(tests: dict[str, Any], said: str) -> None:
    """A test that ended with 77 is one that needs a GPU; the record of a stage has no packages in it."""
    assert tool.row_of(labels_of(tests), CONTENTS).gpu_test == said


def test_page_keeps_the_rows_of_others() -> None:
    """A page is read back as written, and a row replaces only that of the same package on the same platform."""
    first = tool.row_of(labels_of(record("passed")), CONTENTS)
    empty = tool.row_of(labels_of(record("skipped")), ImageContents())
    other = tool.Row(**{**vars(first), "package": "other:2"})
    page = tool.write([first, other])
    assert tool.read(page) == [other, first]
    assert tool.merge(tool.read(page), [empty]) == [other, empty]
    assert (empty.sms, empty.libraries, empty.imports) == (
        "no GPU code",
        "0 files, all resolved",
        "none needs the driver",
    )
