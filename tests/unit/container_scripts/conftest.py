"""What tests of container_scripts share: fixtures."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.unit.container_scripts.openai_examples import SCRIPTS_DIR
from tests.unit.driver_images import Images, images

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    yield from images(monkeypatch)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    source = tmp_path / "model"
    source.mkdir()
    files = {
        "config.json": "{}", "tokenizer.json": "T", "tokenizer.model": "M", "chat_template.jinja": "J",
        "modeling_x.py": "P", "model.safetensors": "W", "pytorch_model.bin": "W", "README.md": "R",
        "model.safetensors.index.json": "I", "generation_config.json": "G",
    }  # fmt: skip
    for name, text in files.items():
        (source / name).write_text(text)
    return source


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The drivers as an image sees them: files in one directory, without our package."""
    monkeypatch.syspath_prepend(str(SCRIPTS_DIR))
    yield SCRIPTS_DIR
    for path in SCRIPTS_DIR.glob("*.py"):
        sys.modules.pop(path.stem, None)
