"""`doctor` on the engine that runs here, and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def doctor(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "jetson_containers", "doctor", "--offline", *args]
    return subprocess.run(
        argv, env={**os.environ, **env}, capture_output=True, text=True, errors="replace", timeout=120, check=False
    )


def test_doctor_examines_the_engine_that_runs_here() -> None:
    """The engine answers, and what it says is in the findings."""
    done = doctor("--json")
    found = {check["check"]: check for check in json.loads(done.stdout)}
    assert len(found) >= 30
    assert found["engine"]["status"] in {"ok", "warn"}
    said = subprocess.run(["docker", "info", "--format", "{{.Driver}}"], capture_output=True, text=True, check=True)
    assert found["storage driver"]["finding"].startswith(said.stdout.strip())
    assert done.returncode == int(any(check["status"] == "fail" for check in found.values()))


def test_doctor_without_an_engine_still_makes_the_other_checks() -> None:
    """An engine that does not answer is a failure with a remedy; the summary counts all checks."""
    done = doctor(DOCKER_HOST="unix:///run/no-engine-here.sock")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any(line.startswith("fail  engine: ") for line in lines)
    assert any(line.startswith("ok    python: ") for line in lines)
    assert " failed" in lines[-1]


def test_doctor_works_with_settings_that_cannot_be_read() -> None:
    """A wrong setting is a finding, and stops no other check."""
    done = doctor("--json", JETSON_CONTAINERS_JOBS="many")
    found = {check["check"]: check["status"] for check in json.loads(done.stdout)}
    assert (found["settings"], found["engine"] in {"ok", "warn"}) == ("fail", True)
