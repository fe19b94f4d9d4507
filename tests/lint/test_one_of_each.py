"""What is decided or done in one module is done nowhere else: locks, atomic writes, free space, suggestions, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# These also run in images with Python 3.8 and without the package, or may only import the standard library.
ALONE = (
    "jetson_containers/hub/transfer/",
    "jetson_containers/container_scripts/",
    "jetson_containers/recipes/upstream/child/",
)

# They read what this package wrote or ships, at every start, or what upstream's format has instead of JSON.
OWN_JSON = {
    "jetson_containers/cli/registry.py",
    "jetson_containers/core/facts.py",
    "jetson_containers/recipes/cache.py",
    "jetson_containers/recipes/upstream/data.py",
    "jetson_containers/registry/snapshot.py",
}


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("import fcntl", "jetson_containers/core/files.py"),
        ("disk_usage(", "jetson_containers/core/files.py"),
        ("statvfs(", "jetson_containers/core/files.py"),
        ('"proc/meminfo"', "jetson_containers/core/memory.py"),
        ('open("/proc/meminfo', "jetson_containers/core/memory.py"),
        ("import difflib", "jetson_containers/core/suggest.py"),
        (".ljust(width) for cell", "jetson_containers/core/console.py"),
        ('= "jetson-containers/stage', "jetson_containers/images/name.py"),
        ('"arm64": "aarch64"', "jetson_containers/platforms/platform.py"),
        ('"packed-refs"', "jetson_containers/core/git.py"),
        ("temporary.replace(", "jetson_containers/core/files.py"),
        (".symlink_to(", "jetson_containers/core/files.py"),
        ("json.loads(", "jetson_containers/core/json_text.py"),
        ("yaml.load(path", "jetson_containers/core/diagnosis.py"),  # a table of ours
    ],
)  # fmt: skip
def test_one_of_each_stands_in_one_module(text: str, only: str) -> None:
    """Each of these decisions stands in its one module."""
    files = [*ROOT.glob("jetson_containers/**/*.py"), *ROOT.glob("tools/*.py")]
    found = {file.relative_to(ROOT).as_posix() for file in files if text in file.read_text(encoding="utf-8")}
    if text == "json.loads(":
        found = {name for name in found - OWN_JSON if not name.startswith("tools/")}
    assert {name for name in found if not name.startswith(ALONE)} <= {only}
