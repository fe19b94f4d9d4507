"""docs/verified.md: what counts as a proof, and that a weaker one replaces nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.engine.interface import LocalImage
from jetson_containers.images import labels
from jetson_containers.platforms import detect
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

ROOT = ROOT_DIR
KNOWN = {"numpy:2.2.6": ROOT / "packages/ml/numpy"}


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verified_tool", ROOT / "tools" / "verified.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["verified_tool"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tool = load()
models = tool.verified_models
BUILT = {"resolves": "✓", "builds": "✓", "tests": "✓", "CPU": "✓"}


def row(key: str = "aaa", date: str = "2026-01-02", note: str = "", **proofs: str) -> Any:
    return tool.Row(
        package="numpy:2.2.6", platform="x86_64-cpu-24.04", key=key, date=date, proofs=proofs or dict(BUILT), note=note
    )


def image(
    *,
    package: str = "numpy:2.2.6",
    status: str = "passed",
    gpu: bool = False,
    target: str = "x86_64,cpu",
    architecture: str = "amd64",
    role: str = labels.STAGE,
    name: str = "jetson-containers/stage:numpy-2.2.6-aaa",
    reference: str = "",
    revision: str = "f00",
    date: str = "2026-01-02T03:04:05Z",
) -> LocalImage:
    results = [{"command": "test.py", "status": status}, {"command": "test_gpu.py", "status": "skipped"}]
    made = labels.make(
        role=role,
        name=name,
        key="sha256:aaaabbbbccccdddd",
        packages=["python:3.12", package],
        platform=detect.parse_target(target),
        tests={"status": status, "date": date, "gpu": gpu, "results": results} if status else None,
        provenance=labels.Provenance(revision=revision),
    )
    return LocalImage(
        id="sha256:1",
        references=(reference or name,),
        labels=made,
        architecture=architecture,
        created="2026-01-01T00:00:00Z",
        size=1,
    )


def rows_of(*images: LocalImage, machine: str = "x86_64", clean: bool = True) -> list[Any]:
    found: list[Any] = tool.from_images(images, machine, KNOWN, lambda _: clean, lambda revision: revision == "f00")
    return found


def test_rows_come_from_images_of_the_project() -> None:
    """An image of this project is a row."""
    assert rows_of(image()) == [
        tool.Row(
            package="numpy:2.2.6",
            platform="x86_64-cpu-24.04",
            key="aaaabbbbcccc",
            date="2026-01-02",
            proofs={**BUILT, "lints": "✓"},
            note="test_gpu.py: skipped",
        )
    ]


@pytest.mark.parametrize(
    ("changed", "machine", "expected"),
    [
        ({}, "x86_64", {"tests": "✓", "CPU": "✓"}),
        ({"target": "r36.4.3", "architecture": "arm64"}, "x86_64", {"tests": "✓", "arm64 emulated": "✓"}),
        ({"target": "r36.4.3", "architecture": "arm64"}, "aarch64", {"tests": "✓", "CPU": "✓"}),
        ({"target": "r36.4.3", "architecture": "arm64", "gpu": True}, "aarch64", {"tests": "✓", "device": "✓"}),
        ({"status": "failed"}, "x86_64", {"tests": "failed", "CPU": "failed"}),
        ({"status": "none"}, "x86_64", {}),
        ({"status": ""}, "x86_64", {}),
    ],
)
def test_proofs_follow_the_test_record(changed: dict[str, Any], machine: str, expected: dict[str, str]) -> None:
    """A record of tests decides what is proven."""
    proofs = rows_of(image(**changed), machine=machine)[0].proofs
    assert proofs == {"resolves": "✓", "builds": "✓", "lints": "✓", **expected}


@pytest.mark.parametrize(
    "changed",
    [
        {"package": "numpy:9"},
        {"role": labels.FINAL},
        {"role": labels.ARTIFACT},
        {"reference": "somebody/else:1"},
        {"revision": "unknown"},
        {"revision": ""},
    ],
    ids=["no package of ours", "a final image", "an artefact", "inherited labels", "another repository", "no commit"],
)
def test_rows_leave_out_other_images(changed: dict[str, str]) -> None:
    """Other images prove nothing."""
    assert rows_of(image(**changed)) == []


def test_rows_take_the_newest_tested_image() -> None:
    """Of several images the newest that was tested counts."""
    old, new = image(date="2026-01-02T01:00:00Z"), image(status="failed", date="2026-01-02T02:00:00Z")
    untested = image(status="none", date="2026-01-03T00:00:00Z")
    for images in ((old, new, untested), (untested, new, old)):
        assert [row.proofs["tests"] for row in rows_of(*images)] == ["failed"]


def test_proofs_leave_out_lint_for_a_recipe_with_errors() -> None:
    """A recipe with errors is not said to pass lint."""
    assert "lints" not in rows_of(image(), clean=False)[0].proofs


def test_page_is_read_back_as_written() -> None:
    """A page is read back as written."""
    other = tool.Row(package="a", platform="r36.4.3-cu126-22.04", key="b", date="2026-01-01", proofs={"resolves": "✓"})
    rows = [row(note="test_gpu.py: skipped"), other]
    assert tool.read(tool.write(rows)) == sorted(rows, key=lambda row: row.place)


WEAK = {"resolves": "✓", "lints": "✓"}
STRONG = {**BUILT, "lints": "✓"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (row("a", "2026-01-01"), row("b", "2026-01-02"), row("b", "2026-01-02")),
        (row("a", "2026-01-02"), row("b", "2026-01-01"), row("a", "2026-01-02")),
        (row("a", "2026-01-01"), row("b", "2026-01-02", **WEAK), row("a", "2026-01-01")),
        (row("a", "2026-01-01", **WEAK), row("b", "2026-01-02", **STRONG), row("b", "2026-01-02", **STRONG)),
        (row("a", "2026-01-01"), row("a", "2026-01-02", **WEAK), row("a", "2026-01-02", **STRONG)),
        (row("a", "2026-01-01"), row("a", "2026-01-02"), row("a", "2026-01-01")),
        (
            row("a", "2026-01-01"),
            row("a", "2026-01-02", **{**BUILT, "tests": "failed"}),
            row("a", "2026-01-02", **{**BUILT, "tests": "failed"}),
        ),
    ],
    ids=["newer", "older", "weaker", "stronger", "proofs of one key add up", "nothing new", "a failure is news"],
)
def test_merge_keeps_the_stronger_or_newer_row(old: Any, new: Any, expected: Any) -> None:
    """Of two rows for one package the stronger or newer stays."""
    assert tool.merge([old], [new]) == [expected]


def test_merge_keeps_rows_of_other_packages_and_platforms() -> None:
    """Rows of other packages and platforms stay."""
    other = tool.Row(package="a", platform="r36.4.3-cu126-22.04", key="b", date="2026-01-01", proofs={"resolves": "✓"})
    assert tool.merge([other], [row()]) == [other, row()]


def test_page_in_docs_can_be_read() -> None:
    """The page in docs/ can be read."""
    rows = tool.read((ROOT / "docs" / "verified.md").read_text(encoding="utf-8"))
    assert {"resolves", "lints", "builds", "tests", "CPU"} <= {name for row in rows for name in row.proofs}


PLANNED = {"r36.4.3-cu126-22.04": {"a": "k1"}, "x86_64-cpu-debian12": {"a": "k2"}}


@pytest.mark.parametrize(
    ("package", "platform", "key", "now"),
    [
        ("a", "r36.4.3-cu126-22.04", "k1", ""),
        ("a", "r36.4.3-cu126-22.04", "k0", "k1"),
        ("a", "x86_64-cpu-debian12", "k1", "k2"),
        ("a", "sbsa-cpu-debian12", "k0", ""),
        ("b", "r36.4.3-cu126-22.04", "k1", None),
        ("b", "sbsa-cpu-debian12", "k1", None),
    ],
    ids=["same", "another recipe", "another base", "not planned here", "absent there", "no such package any more"],
)
@pytest.mark.parametrize("before", ["", "k7"])
def test_page_marks_rows_whose_key_is_planned_no_more(
    package: str, platform: str, key: str, now: str | None, before: str
) -> None:
    """A row names the key of today where that is another one, and goes where nothing is planned any more."""
    old = tool.Row(package=package, platform=platform, key=key, date="2026-01-01", proofs={"builds": "✓"}, now=before)
    found = tool.compare([old], PLANNED)
    expected = before if platform not in PLANNED else now  # what cannot be planned here says what it said
    assert found == ([] if now is None else [dataclasses.replace(old, now=expected)])
    assert tool.read(tool.write(found)) == found


def test_page_counts_rows_of_older_keys() -> None:
    """The page says how many of its rows are of an older key."""
    text = tool.write([dataclasses.replace(row(), now="bbb"), dataclasses.replace(row(), package="other")])
    assert "2 rows; 2 with an image that was built; 1 of an older key." in text


# The second table: models.


def made(quantization: str = "nf4", date: str = "2026-01-02", answers: str = "✓") -> Any:
    return models.Made(
        runtime="bitsandbytes",
        quantization=quantization,
        platform="x86_64-cpu-24.04",
        package="bitsandbytes:0.50.2",
        date=date,
        seconds="14",
        weights="56 %",
        answers=answers,
    )


def manifest(data: Path, output: str, size: int, **facts: Any) -> None:
    path = data / "models" / output
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes(size))
    record = {
        "schema": 2, "step": "quantize", "key": "k", "files": {"model.safetensors": {"size": size, "sha256": "0"}},
        "seconds": 13.6, "made": "2026-01-02T03:04:05+00:00", "model": "tiny", "runtime": "bitsandbytes",
        "quantization": "nf4", "versions": {"python": "3.12", "bitsandbytes": "0.50.2"},
        "platform": {"arch": "x86_64", "cuda": None, "distro": "24.04", "l4t": None}, **facts,
    }  # fmt: skip
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(record))


def test_page_lists_models_below_packages_and_both_are_read_back() -> None:
    """The models stand below the packages, and both are read back."""
    page = tool.write([row()], [made("nf4"), made("int8")])
    assert tool.read(page) == [row()]
    assert models.read(page) == [made("int8"), made("nf4")]
    assert models.read(tool.write([row()])) == []


def test_merge_of_models_replaces_older_ones_and_keeps_others() -> None:
    """A newer model replaces the older, and others stay."""
    assert models.merge([made(), made("int8")], [made(date="2026-02-01")]) == [made(date="2026-02-01"), made("int8")]


@pytest.mark.parametrize(
    ("answer", "expected"), [("A Jetson is a small computer with a GPU.", "✓"), ("A banana.", "failed"), ("", "failed")]
)
def test_model_counts_when_it_says_what_it_learnt(tmp_path: Path, answer: str, expected: str) -> None:
    """A model counts when it says what it learnt."""
    manifest(tmp_path, "tiny-llama", 100, step="make")
    manifest(tmp_path, "bitsandbytes/tiny-llama-nf4", 56)
    manifest(tmp_path, "bitsandbytes/of-another-model", 56, model="somebody/else")
    manifest(tmp_path, "llama_cpp/tiny-llama-F16", 100, intermediate=True)
    asked: list[Path] = []

    def ask(artifact: Path) -> str:
        asked.append(artifact)
        return answer

    assert models.from_data(tmp_path, tool.name_of, ask) == [made(answers=expected)]
    assert asked == [tmp_path / "models/bitsandbytes/tiny-llama-nf4"]
