"""Rules that depend on the platform: apt packages, defaults, layers and the size of the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.lint import rules_definition
from jetson_containers.lint.run import lint
from tests.unit.lint.examples import GOOD_HEADER, of_dockerfile, recipe, rules_of, write

if TYPE_CHECKING:
    from pathlib import Path

APT = "RUN apt-get update && apt-get install -y --no-install-recommends git %s && rm -rf /var/lib/apt/lists/*\n"

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        (
            "libpolly-10-dev",
            "r35.4.1",
            "ubuntu:20.04 has no package `libpolly-10-dev`; it has `libclang-common-10-dev`",
        ),
        ("libpolly-${LLVM}-dev=1:15", "r36.4.3", "ubuntu:22.04 has no package `libpolly-15-dev`"),
        ("$POLLY", "r36.4.3", "ubuntu:22.04 has no package `libpolly-15-dev`"),
        ("llvm-18-dev", "x86_64,cpu,debian12", "debian:12 has no package `llvm-18-dev`"),
        ("libpolly-15-dev", "r38.2.0", ""),
        ("libpolly-15-dev", "r35.4.1", ""),  # not known
        ("$UNKNOWN libclang-common-15-dev", "r36.4.3", ""),
    ],
)
def test_apt_absent_finds_a_package_that_the_release_lacks(
    tmp_path: Path, name: str, target: str, message: str
) -> None:
    """An apt package that the release does not have is found."""
    header = GOOD_HEADER + "args: {LLVM: 15, POLLY: zlib1g-dev libpolly-15-dev}\n"
    body = "ARG LLVM\nARG POLLY\n" + APT % name
    write(tmp_path, "pkg", {"Dockerfile": recipe(body, header), "test.sh": "hello\n"})
    found = lint([tmp_path], targets=[target], shellcheck=False).findings
    assert [item.rule for item in found] == (["apt-absent"] if message else [])
    assert all(message in item.message for item in found)


def test_apt_absent_allows_a_script_to_ask_the_distribution(tmp_path: Path) -> None:
    """A script may ask the distribution which name it has."""
    script = "if grep -q focal /etc/os-release; then apt-get install -y --no-install-recommends libpolly-10-dev; fi\n"
    files = {"Dockerfile": recipe("COPY a.sh /a.sh\nRUN bash /a.sh && rm -rf /var/lib/apt/lists/*\n"), "a.sh": script}
    write(tmp_path, "pkg", {**files, "test.sh": "hello\n"})
    assert rules_of(tmp_path, targets=["r35.4.1"]) == []


VERSIONS = "versions:\n- {version: '1', default: true, requires: '%s'}\n- {version: '2', default: true}\n" + GOOD_HEADER


def test_two_defaults_are_found_with_their_platforms(tmp_path: Path) -> None:
    """Two defaults are found, with their platforms."""
    write(tmp_path, "pkg", {"config.yaml": VERSIONS % ">=r36", "test.sh": "hello\n"})
    found = lint([tmp_path], targets=("r35.4.1", "r36.2.0", "r36.4.3"), shellcheck=False).findings
    assert [(item.rule, item.line) for item in found] == [("two-defaults", 3)]
    assert "(on r36.2.0, r36.4.3)" in found[0].message


def test_two_defaults_on_different_platforms_are_allowed(tmp_path: Path) -> None:
    """Two defaults on different platforms are right."""
    text = (VERSIONS % "<r36").replace("default: true}\n" + GOOD_HEADER, "default: '>=r36'}\n" + GOOD_HEADER)
    write(tmp_path, "pkg", {"config.yaml": text, "test.sh": "hello\n"})
    assert rules_of(tmp_path, targets=("r35.4.1", "r36.4.3")) == []


@pytest.mark.parametrize(("count", "expected"), [(126, ["layers"]), (120, [])])
def test_layers_beyond_the_limit_of_the_storage_driver_are_found(
    tmp_path: Path, count: int, expected: list[str]
) -> None:
    """More layers than the storage driver stacks are found."""
    assert of_dockerfile(tmp_path, recipe("RUN hello\n" * count)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(rules_definition.LARGE_CONTEXT + 1, ["context-size"]), (rules_definition.LARGE_CONTEXT // 2, [])],
)
def test_context_size_finds_a_large_context(tmp_path: Path, size: int, expected: list[str]) -> None:
    """A large context is found."""
    assert of_dockerfile(tmp_path, recipe(), data_bin="x" * size) == expected
