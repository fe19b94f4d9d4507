"""`run --podman` with a real Podman, on an image that is copied from docker's store."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    shutil.which("podman") is None,
    reason="cannot run here: Podman is not installed, and test.sh installs no second engine",
)
NAME = "jetson-podman-test:1"
# What a nested machine may not do: raise limits. `crun` also wants one kind of cgroups.
OPTIONS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")


def jetson(*words: str, data: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "JETSON_CONTAINERS_DATA": str(data)}
    return subprocess.run(
        [str(ROOT_DIR / "jetson-containers"), *words], env=env, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    """An image in docker's store, and at the end in neither."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("busybox is not installed")
    shutil.copy(busybox, tmp_path / "busybox")
    (tmp_path / "Dockerfile").write_text('FROM scratch\nCOPY busybox /bin/sh\nCMD ["/bin/sh"]\n')
    subprocess.run(["docker", "build", "--quiet", "--tag", NAME, str(tmp_path)], check=True, capture_output=True)
    yield NAME
    subprocess.run(["docker", "rmi", NAME], check=False, capture_output=True)
    subprocess.run(["podman", "rmi", "--force", NAME], check=False, capture_output=True)


def test_podman_starts_an_image_that_was_copied_from_docker(image: str, tmp_path: Path) -> None:
    """A missing image is named with the command that copies it; after that command the image runs, with /data."""
    missing = jetson("run", "--podman", *OPTIONS, image, "true", data=tmp_path / "data")
    assert missing.returncode == 4
    assert f"podman pull docker-daemon:{image}" in missing.stderr
    subprocess.run(["podman", "pull", f"docker-daemon:{image}"], check=True, capture_output=True)
    done = jetson(
        "run", "--podman", *OPTIONS, image, "/bin/sh", "-c", "echo kept > /data/file; echo ran", data=tmp_path / "data"
    )
    if "crun: cgroups in hybrid mode" in done.stderr:
        pytest.skip("cannot run here: crun, which Podman starts containers with, refuses the cgroups of this machine")
    assert (done.returncode, done.stdout.strip()) == (0, "ran"), done.stderr
    assert (tmp_path / "data/file").read_text() == "kept\n"
