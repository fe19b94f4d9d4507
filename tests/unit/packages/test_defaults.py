"""Which version a bare name means on every platform that is supported, compared with a table that people read.

`UPDATE_GOLDEN=1 pytest tests/unit/packages/test_defaults.py` writes the table anew, for the difference to be read.
"""

from __future__ import annotations

import os
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.facts import load_facts
from jetson_containers.platforms import detect
from jetson_containers.platforms.overrides import rebase
from jetson_containers.recipes import catalog
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.platforms.platform import Platform

TABLE = ROOT_DIR / "tests" / "unit" / "golden" / "defaults.txt"

# Beside L4T releases with what they bring: other versions of CUDA and Python, servers, PCs.
OTHERS = (
    "r35.4.1,py3.10", "r36.4.3,cu128", "r36.4.3,cu129", "r36.4.3,py3.11", "r36.4.3,cu129,py3.12", "r38.2.0,py3.13",
    "sbsa", "sbsa,cpu", "sbsa,cu126", "sbsa,cu129", "sbsa,py3.10", "x86_64", "x86_64,cu122", "x86_64,cu126",
    "x86_64,cu128", "x86_64,cu129", "x86_64,cu130", "x86_64,cpu", "x86_64,cpu,py3.8", "x86_64,cpu,py3.10",
    "x86_64,cpu,py3.11", "x86_64,cpu,py3.13", "x86_64,cpu,py3.14",
)  # fmt: skip


def releases() -> Iterator[str]:
    """One L4T release for each minor release and version of CUDA: all that `requires` and templates look at."""
    seen = set()
    for name in load_facts("l4t")["releases"]:
        platform = detect.parse_target(f"r{name}")
        assert platform.l4t is not None
        kind = (platform.l4t.release[:2], platform.cuda and platform.cuda.release[:2])
        if kind not in seen:
            seen.add(kind)
            yield f"r{name}"


def targets() -> Iterator[tuple[str, Platform]]:
    for target in (*releases(), *OTHERS):
        yield target, detect.parse_target(target)
    for target in ("x86_64", "x86_64,cpu"):
        yield f"{target},debian12", rebase(detect.parse_target(target), "debian", "12", "test")


def table() -> str:
    """For each family its versions, and the targets where a bare name means each."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    named = dict(targets())
    for target, loaded in zip(named, catalog.load_each([ROOT_DIR / "packages"], named.values()), strict=True):
        assert not loaded.broken
        packages = [*loaded.available.values(), *(item.package for item in loaded.absent.values())]
        for family in sorted({package.family for package in packages}):
            members = loaded.members(family)
            found[family][members[0].version or "-" if members else "absent"].append(target)
    lines = []
    for family, versions in sorted(found.items()):
        lines.append(family)
        lines += [f"  {version}: {' '.join(names)}" for version, names in sorted(versions.items())]
    return "\n".join(lines) + "\n"


@pytest.mark.long
def test_default_version_of_each_family_stays_on_every_platform() -> None:
    """A change of a recipe that means another version somewhere must be meant: it shows in this table."""
    text = table()
    if os.environ.get("UPDATE_GOLDEN"):
        TABLE.write_text(text, encoding="utf-8")
    assert text == TABLE.read_text(encoding="utf-8")
