"""`run` and `llm` with a real Podman, on images that are copied from docker's store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
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
MODEL = ROOT_DIR / "tests/unit/gguf/by-gguf-py.gguf"
# What a nested machine may not do: raise limits; and where `crun` refuses its cgroups, `runc` takes them.
SETTINGS = """[engine]
{runtime}
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
"""
# A server as llama.cpp's is called: it answers below /health once it listens, and says how it was started.
SERVER = """#!/bin/sh
echo "started with $*"
mkdir -p /tmp/www && echo ok >/tmp/www/health
while [ $# -gt 0 ]; do [ "$1" = --port ] && port=$2; shift; done
exec /bin/busybox httpd -f -p "$port" -h /tmp/www
"""


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Podman's configuration for this machine."""
    file = tmp_path_factory.mktemp("podman") / "containers.conf"
    file.write_text(SETTINGS.format(runtime='runtime = "runc"' if shutil.which("runc") else ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF", str(file))
        yield


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
    (tmp_path / "llama-server").write_text(SERVER)
    (tmp_path / "llama-server").chmod(0o755)
    (tmp_path / "Dockerfile").write_text(
        "FROM scratch\nCOPY busybox /bin/sh\nCOPY busybox /bin/busybox\nCOPY llama-server /bin/llama-server\n"
        'RUN ["/bin/busybox", "--install", "-s", "/bin"]\nCMD ["/bin/sh"]\n'
    )
    subprocess.run(["docker", "build", "--quiet", "--tag", NAME, str(tmp_path)], check=True, capture_output=True)
    yield NAME
    subprocess.run(["docker", "rmi", NAME], check=False, capture_output=True)
    subprocess.run(["podman", "rmi", "--force", NAME], check=False, capture_output=True)


def unless_refused(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    if "cgroups in hybrid mode" in done.stderr:
        pytest.skip("cannot run here: crun, which Podman starts containers with, refuses the cgroups of this machine")
    return done


def test_podman_starts_an_image_that_was_copied_from_docker(image: str, tmp_path: Path) -> None:
    """A missing image is named with the command that copies it; after that command the image runs, with /data."""
    data = tmp_path / "data"
    missing = jetson("run", "--podman", image, "true", data=data)
    assert missing.returncode == 4
    assert f"podman pull docker-daemon:{image}" in missing.stderr
    subprocess.run(["podman", "pull", f"docker-daemon:{image}"], check=True, capture_output=True)
    done = jetson("run", "--podman", image, "/bin/sh", "-c", "echo kept > /data/file; echo ran", data=data)
    assert (unless_refused(done).returncode, done.stdout.strip()) == (0, "ran"), done.stderr
    assert (data / "file").read_text() == "kept\n"


def test_podman_serves_lists_and_ends_a_model(image: str, tmp_path: Path) -> None:
    """The image comes from docker; the server is found by its model, its log is shown, and it is ended."""
    data = tmp_path / "data"
    weights = data / "models" / "small.gguf"
    weights.parent.mkdir(parents=True)
    shutil.copy(MODEL, weights)
    serve = ("llm", "serve", str(weights), "--image", image, "--detach", "--podman", "--anyway", "--json")
    served = unless_refused(jetson(*serve, data=data))
    assert served.returncode == 0, served.stderr
    name = json.loads(served.stdout)["name"]
    try:
        with urllib.request.urlopen(json.loads(served.stdout)["health"], timeout=10) as answer:
            assert answer.status == 200
        shown = subprocess.run(["podman", "inspect", name], check=True, capture_output=True, text=True)
        host = json.loads(shown.stdout)[0]["HostConfig"]
        assert (host["ReadonlyRootfs"], host["RestartPolicy"]["Name"]) == (True, "always")
        (listed,) = json.loads(jetson("llm", "ps", "--podman", "--json", data=data).stdout)
        assert (listed["name"], listed["status"], listed["model"]) == (name, "running", "small")
        assert "started with -m /data/models/small.gguf" in jetson("llm", "logs", "--podman", data=data).stdout
        again = jetson(*serve, data=data)
        assert "already served" in again.stderr
        kept = jetson("llm", "rm", "small", "-y", data=data)
        assert "--podman" in kept.stderr or kept.returncode == 3, kept.stderr
    finally:
        ended = jetson("llm", "stop", "small", "--podman", data=data)
    assert (ended.returncode, ended.stdout.strip()) == (0, name)
    assert json.loads(jetson("llm", "ps", "--podman", "--json", data=data).stdout) == []
