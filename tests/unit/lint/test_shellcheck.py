"""What shellcheck finds becomes our findings."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.lint.run import lint
from jetson_containers.lint.shellcheck import ShellCheck
from tests.unit.lint.examples import CPU, recipe, rules_of, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(("script", "expected"), [("cd $1\n", {"shellcheck"}), ('cd "$1" || exit\n', set())])
def test_shellcheck_findings_are_taken_over(tmp_path: Path, script: str, expected: set[str]) -> None:
    """What shellcheck finds is taken over."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": f"#!/bin/bash\n{script}"})
    assert set(rules_of(tmp_path, shellcheck=True)) == expected


def test_shellcheck_that_is_missing_gets_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing shellcheck gets a notice."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "cd $1\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    report = lint([tmp_path], targets=CPU)
    assert report.findings == ()
    assert "not installed" in report.notices[0]


def test_shellcheck_that_fails_is_an_error(tmp_path: Path) -> None:
    """A shellcheck that fails is an error."""
    broken = tmp_path / "shellcheck"
    broken.write_text("#!/bin/sh\necho no such option >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(NotReadyError, match="no such option"):
        ShellCheck([tmp_path / "a.sh"], str(broken)).findings()
