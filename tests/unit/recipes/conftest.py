"""What tests of recipes share: fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes.catalog import Catalog, load
from tests.unit.recipes.catalog_examples import BASIC
from tests.unit.treemaker import ORIN, write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def orin() -> Catalog:
    return load([BASIC], ORIN)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(
        tmp_path / "tree",
        {
            "g/a/Dockerfile": "depends: ['b>=1']\nalias: x\nartifacts: {dockerfile: Dockerfile.build, depends: c}",
            "g/a/Dockerfile.build": "FROM x",
            "g/b/Dockerfile": "docs: x",
            "g/b/config.yaml": "versions: [{version: 1, default: true}, {version: 2, requires: '<r30'}]",
            "g/c/Dockerfile": "alias: x\nsource: {git: here, list: [a, b]}",
            "g/bad/Dockerfile": "bad: x",
        },
    )
