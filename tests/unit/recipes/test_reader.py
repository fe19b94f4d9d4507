"""Which directories hold a recipe, and where its header is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes.package import Dependency, read_directory
from jetson_containers.recipes.reader import header_text
from tests.unit.recipes.helpers import packages
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#---\n# a: 1\n#---\nFROM x", "\na: 1\n"),
        (
            "# syntax=docker/dockerfile:1\n#---\n# a: 1\n# b:\n#   - c\n#---\nFROM x\n#---\n# z: 1",
            "\n\na: 1\nb:\n  - c\n",
        ),
        ("#---\n# a: 1\n#---\n# prose: no\n#---\n# b: 2\n#---\n\n# c: 3", "\na: 1\n\n\n\nb: 2\n"),
        ("#---\n#a: 1\n# b: 2\n#\nFROM x", "\na: 1\nb: 2\n"),
        ("#---\r\n# a: 1\r\n#---\r\nFROM x", "\na: 1\n"),
        ("# no header\nFROM x", None),
        ("FROM x\n#---\n# a: 1\n#---", None),
        ("", None),
    ],
)
def test_header_is_the_comment_block_on_top(text: str, expected: str | None) -> None:
    """The header is the comment block on top."""
    assert header_text(text) == expected


def test_header_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    """A byte order mark and Windows lines do no harm."""
    write(tmp_path, {"ml/foo/test.sh": ""})
    (tmp_path / "ml/foo/Dockerfile").write_bytes(b"\xef\xbb\xbf#---\r\n# depends: cmake\r\n#---\r\nFROM x\r\n")
    assert packages(tmp_path, {})["foo"].depends == (Dependency(family="cmake"),)


@pytest.mark.parametrize(
    ("files", "dockerfile"),
    [
        ({"Dockerfile": "docs: x"}, "Dockerfile"),
        ({"dockerfile": "FROM x"}, "dockerfile"),
        ({"Dockerfile.j2": "docs: x"}, "Dockerfile.j2"),
        ({"Dockerfile": "docs: x", "Dockerfile.j2": "FROM y"}, "Dockerfile"),
        ({"Dockerfile": "dockerfile: Dockerfile.other", "Dockerfile.other": "FROM x"}, "Dockerfile.other"),
        ({"Dockerfile": "#---\n# depends: [a]\n#---\n"}, None),
        ({"config.yaml": "depends: [a]"}, None),
        ({"config.yml": "depends: [a]"}, None),
        ({"config.yaml": ""}, None),
        ({"config.json": '{"depends": ["a"]}'}, None),
        ({"config.yaml": "dockerfile: Dockerfile.x", "Dockerfile.x": "FROM x"}, "Dockerfile.x"),
        ({"Dockerfile": "docs: x", "config.yaml": "dockerfile: Dockerfile.{{ arch }}", "Dockerfile.tegra": "FROM x"},
         "Dockerfile.tegra"),
    ],
)  # fmt: skip
def test_dockerfile_that_is_built_is_found_by_its_name(
    tmp_path: Path, files: dict[str, str], dockerfile: str | None
) -> None:
    """The name decides which Dockerfile is built."""
    (package,) = packages(tmp_path, {f"ml/foo/{name}": text for name, text in files.items()}).values()
    assert package.dockerfile == dockerfile


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.yaml", "model: yolo\nport: 8080\n"),
        ("config.yml", "server:\n  listen: 80\nlogging:\n  level: info\n"),
        ("config.json", '{"server": {"listen": 80}}'),
        ("config.yaml", "paths: {}\nlevel: info\nhls: on\n"),
    ],
)
def test_settings_of_the_program_in_the_image_are_no_definition(tmp_path: Path, name: str, text: str) -> None:
    """A file that is called like a definition and holds no key of one belongs to what the image holds."""
    found = packages(tmp_path, {"ml/foo/Dockerfile": "docs: x", f"ml/foo/{name}": text})
    assert found["foo"].docs == "x"


@pytest.mark.parametrize("text", ["dependz: [a]", "docs: x\nport: 8080", "foo:\n  dependz: [a]"])
def test_definition_with_a_misspelled_key_is_not_taken_for_settings(tmp_path: Path, text: str) -> None:
    """Keys that resemble those of a definition, or stand beside one, are mistakes."""
    with pytest.raises(RecipeError, match=r"unknown key `(dependz|port)`"):
        packages(tmp_path, {"ml/foo/Dockerfile": "docs: x", "ml/foo/config.yaml": text})


@pytest.mark.parametrize("files", [{}, {"README.md": "x"}, {"test.py": ""}, {"compose.yaml": "a: b"}])
def test_directory_that_defines_nothing_is_not_a_package(tmp_path: Path, files: dict[str, str]) -> None:
    """A directory that defines nothing is not a package."""
    (tmp_path / "foo").mkdir()
    write(tmp_path / "foo", files)
    assert read_directory(tmp_path / "foo") is None


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Dockerfile": b"RUN true\n"}, "no `FROM`"),
        ({"Dockerfile": b"#---\n# docs: x\n#---\nRUN true\n"}, "no `FROM`"),
        ({"Dockerfile": b""}, "no `FROM`"),
        ({"Dockerfile": b"\xff\xfe"}, "cannot be read"),
        ({"config.py": b"package = 1"}, "`config.py` definitions are not read"),
        ({"Dockerfile": b"FROM x", "config.py": b""}, "`config.py` definitions are not read"),
    ],
)
def test_directory_that_cannot_be_a_package_says_why(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    """A directory that cannot be a package says why."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecipeError, match=message):
        read_directory(tmp_path)
