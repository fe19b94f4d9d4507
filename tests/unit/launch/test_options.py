"""The options of this program on the line of docker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.launch.command import plan_run
from jetson_containers.launch.options import parse
from tests.fakes import CAPABILITIES
from tests.unit.launch.helpers import NO_GPU, SETTINGS, plan

if TYPE_CHECKING:
    from pathlib import Path


def test_own_options_are_not_passed_to_docker(tmp_path: Path) -> None:
    """Options of this program are not passed to docker."""
    planned = plan(
        tmp_path, "--data", "/d", "--dry-run", "--no-gpu", "--verbose", "--json", "-e", "A", "img", "--dry-run"
    )
    assert planned.dry_run
    assert list(planned.argv[-4:]) == ["-e", "A", "img", "--dry-run"]
    assert not {"--data", "--no-gpu", "--verbose", "--json"} & set(planned.argv)


def test_options_after_two_dashes_are_passed_to_docker(tmp_path: Path) -> None:
    """After two dashes every option is docker's."""
    planned = plan(tmp_path, "--no-gpu", "--", "--dry-run", "--rm", "img")
    assert not planned.dry_run
    assert list(planned.argv[-3:]) == ["--dry-run", "--rm", "img"]


@pytest.mark.parametrize("args", [["--data"], ["--data=", "img"]])
def test_data_option_needs_a_directory(args: list[str]) -> None:
    """`--data` needs a directory."""
    with pytest.raises(UsageError, match="`--data` needs"):
        plan_run(parse(args), NO_GPU, CAPABILITIES, SETTINGS, env={})


@pytest.mark.parametrize(
    ("line", "options", "rest"),
    [
        ("img cmd", {}, "img cmd"),
        ("--verbose --rm img", {"verbose": True}, "--rm img"),
        ("--target r36.4 --dry-run --json img", {"target": "r36.4", "as_json": True}, "img"),
        ("--package-dirs=a,b --offline img --verbose", {"package_dirs": ("a,b",), "offline": True}, "img --verbose"),
        ("--package-dirs a --rm --package-dirs=b img", {"package_dirs": ("a", "b")}, "--rm img"),
        ("-e --verbose img", {}, "-e --verbose img"),
        ("-q -v /a:/b img", {}, "-q -v /a:/b img"),
        ("--rm -- --verbose img", {}, "--rm --verbose img"),
    ],
)
def test_global_options_are_told_from_the_rest(line: str, options: dict[str, Any], rest: str) -> None:
    """The global options are told from the rest, and docker sees none of them."""
    request = parse(line.split())
    assert request.globals == options
    assert " ".join((*request.line.words, request.image, *request.line.command)) == rest
