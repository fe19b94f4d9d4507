"""What a bundle says of itself, when somebody else wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.app import App
from jetson_containers.cli.bundle import SCHEMA, _facts, _load
from jetson_containers.core.errors import ConfigError
from jetson_containers.core.parts import PartsReader, PartsWriter
from jetson_containers.plan import lock

if TYPE_CHECKING:
    from pathlib import Path

SOUND: dict[str, Any] = {"schema": SCHEMA, "final": "me/tool:r36.4.0", "digests": {}, "images": [[["a", "first", ""]]]}
DIGEST = "sha256:" + 64 * "a"


def facts(folder: Path, said: dict[str, Any]) -> dict[str, Any]:
    with PartsWriter(folder / "b") as writer:
        writer.add("first", b"data")
        writer.finish(said)
    with PartsReader(folder / "b") as reader:
        return _facts(reader)


def test_facts_of_a_bundle_are_read(tmp_path: Path) -> None:
    """An image with a file and a link, and the digest of its base."""
    said = {**SOUND, "digests": {DIGEST: DIGEST}, "images": [[["a", "first", ""], ["b", "", "a"]]]}
    assert facts(tmp_path, said)["images"] == said["images"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"images": [1]}, {"images": [None]}, {"images": {"a": 1}}, {"images": [["abc"]]},
        {"images": [[["a", "first"]]]},
        {"images": [[["", "first", ""]]]}, {"images": [[["a", "first", "link"]]]}, {"images": [[["a", "", ""]]]},
        {"images": [[["\ud800", "first", ""]]]}, {"images": [[["x" * 70_000, "first", ""]]]},
        {"images": [[["a", "first", ""], ["b", "first", ""]]]}, {"images": [[["a", "first", ""], ["a", "", "b"]]]},
        {"final": ""}, {"final": ".."}, {"final": "a" * 5000}, {"final": 1}, {"final": "a\nb"},
        {"digests": {"a": DIGEST}}, {"digests": {DIGEST: "x"}}, {"digests": [DIGEST]}, {"schema": 2},
    ],
    ids=str,
)  # fmt: skip
def test_facts_of_a_bundle_that_lie_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    """Other types, no names, and one part many times, which would make an archive of any size of it."""
    with pytest.raises(ConfigError, match="is a bundle of another format"):
        facts(tmp_path, {**SOUND, **wrong})


def test_load_of_a_bundle_refuses_a_lock_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock of any size is not read into memory, and nothing is loaded before."""
    monkeypatch.setattr(lock, "LARGEST", 10)
    with PartsWriter(tmp_path / "b") as writer:
        writer.add("lock.json", b" " * 11)
        writer.finish({**SOUND, "images": []})
    with pytest.raises(ConfigError, match="its lock is too large"):
        _load(App(), tmp_path / "b", None)
