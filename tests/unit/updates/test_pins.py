"""The pins of recipes and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.images.installed import Installed, InstalledContents
from jetson_containers.platforms.detect import parse_target
from jetson_containers.recipes.catalog import load
from jetson_containers.updates.pins import UpstreamPin, of_image, of_recipes

if TYPE_CHECKING:
    from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_pins_of_an_image_are_the_python_packages() -> None:
    """Python packages count, by their canonical names; those of the distribution do not."""
    packages = (
        Installed(kind="deb", name="bash", version="5.2"),
        Installed(kind="pypi", name="Ruamel.YAML", version="0.18"),
    )
    found = of_image(InstalledContents(packages=packages), "img:1")
    assert found == {UpstreamPin(kind="pypi", name="ruamel-yaml", version="0.18"): ["img:1"]}


def test_pins_of_recipes_come_from_sources_and_locks(tmp_path: Path) -> None:
    """The version of the source, the pins of locks and the tag of the repository are pins, with who holds each."""
    for name, source in (
        ("one", '{python: "thing[extra]==1.5", lock: a.lock}'),
        ("two", f"{{git: https://git.example/two, ref: v3, commit: {COMMIT}, lock: a.lock}}"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
        (folder / "config.yaml").write_text(f"source: {source}\nversions:\n  - version: 1.5\n")
        (folder / "a.lock").write_text("other==2.0 \\\n    --hash=sha256:00\n")
    catalog = load((tmp_path,), parse_target("cpu"))
    found = {(pin.kind, pin.name, pin.version): names for pin, names in of_recipes(catalog.available.values()).items()}
    assert found == {
        ("pypi", "thing", "1.5"): ["one:1.5"],
        ("pypi", "other", "2.0"): ["one:1.5", "two:1.5"],
        ("git", "https://git.example/two", "v3"): ["two:1.5"],
    }
