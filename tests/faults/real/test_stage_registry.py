"""Stages that are pushed to and pulled from a registry behind a network with every fault, or that is killed."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.real.proxy import FaultyProxy
from tests.faults.real.scene import Scene, is_gone, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.conftest import Registry

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultyProxy]:
    with FaultyProxy(registry.host) as made:
        yield made


class Sharing(Scene):
    """A user whose stages are shared through a registry."""

    host = ""

    @property
    def namespace(self) -> str:
        return f"{self.host}/f{self.nonce}"

    def words(self, *more: str) -> list[str]:
        return self.build_words("--progress", "json", "--stage-registry", self.namespace, *more, "two")

    def two(self) -> None:
        """Two stages, one on the other."""
        for below, name in (("", "one"), ("one", "two")):
            self.recipe(name, f"RUN cat /proc/sys/kernel/random/uuid > /{name}", below, f"test -s /{name}")

    def clean(self) -> None:
        """As on a machine that has none of the images."""
        for name in self.images():
            self.docker("rmi", name)
        listed = self.docker("images", "--digests", "--format", "{{.Repository}} {{.Tag}} {{.Digest}}").splitlines()
        for repository, tag, digest in map(str.split, listed):
            if repository.startswith(f"{self.namespace}/"):
                self.docker("rmi", f"{repository}:{tag}" if tag != "<none>" else f"{repository}@{digest}")

    def ends(self, *more: str, codes: tuple[int, ...]) -> list[str]:
        """A run ends by itself with one of the codes; the stages that it built."""
        done = self.run(self.words(*more))
        assert done.returncode in codes, done.stderr
        if done.returncode:
            assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
        return self.built_by(done.stderr)

    def names_left(self) -> list[str]:
        """Names by which stages were pushed."""
        listed = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        return [name for name in listed if name.startswith(f"{self.namespace}/") and "<none>" not in name]


def sharer(scene: Scene, host: str) -> Sharing:
    """A user of the machine's engine who shares stages at a host."""
    folder = scene.directory / "sharing"
    folder.mkdir()
    made = Sharing(folder, scene.base)
    made.host = host
    made.two()
    return made


@pytest.fixture
def sharing(machine_scene: Scene, proxy: FaultyProxy) -> Iterator[Sharing]:
    made = sharer(machine_scene, proxy.host)
    yield made
    made.close()
    made.clean()


HTML = b"<html>Welcome to our hotel</html>"
PUSHED: dict[str, dict[str, Any]] = {
    "500 once": {"status": 500, "times": 1},  # docker asks again, for minutes where it never gets better
    "401": {"status": 401, "headers": {"WWW-Authenticate": 'Basic realm="x"'}},
}
PULLED: dict[str, dict[str, Any]] = {
    "lists are HTML": {"path": "/manifests/", "body": HTML, "status": 200, "headers": {"Content-Type": "text/html"}},
    "lists reset": {"path": "/manifests/", "reset": True},
    "blobs cut": {"path": "/blobs/", "cut": 40},
    "blobs with another byte": {"path": "/blobs/", "flip": True},
    "all slow": {"delay": 0.3},
}


@pytest.mark.parametrize("fault", PUSHED)
def test_stage_push_with_a_fault_loses_no_stage(sharing: Sharing, proxy: FaultyProxy, fault: str) -> None:
    """The build keeps what it built; once the network is well, the rest is pushed and nothing is built."""
    proxy.fail(methods=("POST", "PUT", "PATCH"), **PUSHED[fault])
    assert sharing.ends("--push-stages", codes=(0, 1, 4)) == ["one", "two"]
    assert proxy.hit
    proxy.faults.clear()
    assert sharing.ends("--push-stages", codes=(0,)) == []
    assert sharing.names_left() == []
    sharing.clean()
    assert sharing.ends(codes=(0,)) == []  # all was pushed, whole


@pytest.mark.parametrize("fault", PULLED)
def test_stage_pull_with_a_fault_is_a_build_or_whole(sharing: Sharing, proxy: FaultyProxy, fault: str) -> None:
    """What cannot be pulled is built, what was pulled is whole."""
    sharing.ends("--push-stages", codes=(0,))
    sharing.clean()
    proxy.fail(methods=("GET", "HEAD"), **PULLED[fault])
    built = sharing.ends(codes=(0,))
    assert proxy.hit
    assert built in (["one", "two"], []), built
    final = next(name for name in sharing.images() if name.startswith(f"jc-fault-{sharing.nonce}/"))
    shown = sharing.docker("run", "--rm", final, "cat", "/one", "/two").split()
    assert len(shown) == 2


class OwnRegistry:
    """docker-registry on a port that stays the same when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.binary = shutil.which("docker-registry") or shutil.which("registry")
        if self.binary is None:
            pytest.skip("cannot run here: no registry binary: install docker-registry")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{probe.getsockname()[1]}"
        storage = {"filesystem": {"rootdirectory": str(folder / "registry")}}
        http = {"addr": self.host, "secret": "of the test"}
        self.configuration = folder / "registry.yml"
        self.configuration.write_text(json.dumps({"version": "0.1", "storage": storage, "http": http}))
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(self.binary), "serve", str(self.configuration)]
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://{self.host}/v2/", timeout=2).close()
        except OSError:
            return False
        return True

    def end(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)
        self.child.wait(30)


@pytest.mark.parametrize("amid", ["/blobs/uploads", "/manifests/"])
def test_stage_push_whose_registry_is_killed_is_finished_later(machine_scene: Scene, tmp_path: Path, amid: str) -> None:
    """The registry's process is killed amid a push; started again, it gets what it lacks, and gives it whole."""
    registry = OwnRegistry(tmp_path)
    registry.start()
    with FaultyProxy(registry.host) as proxy, contextlib.ExitStack() as undo:
        undo.callback(registry.end, signal.SIGTERM)
        sharing = sharer(machine_scene, proxy.host)
        undo.callback(sharing.clean)
        proxy.fail(amid, methods=("PUT", "PATCH"), delay=2.0, times=1)
        build = sharing.start(sharing.words("--push-stages"))
        wait_until(lambda: bool(proxy.hit))
        registry.end(signal.SIGKILL)
        assert build.ended() in {1, 4}, build.said
        registry.start()
        assert sharing.ends("--push-stages", codes=(0,)) == []
        assert sharing.names_left() == []
        sharing.clean()
        assert sharing.ends(codes=(0,)) == []


def test_stage_pull_whose_registry_is_killed_is_a_build(machine_scene: Scene, tmp_path: Path) -> None:
    """The registry is killed amid a pull: the stages are built."""
    registry = OwnRegistry(tmp_path)
    registry.start()
    with FaultyProxy(registry.host) as proxy:
        sharing = sharer(machine_scene, proxy.host)
        sharing.ends("--push-stages", codes=(0,))
        sharing.clean()
        proxy.fail("/blobs/", methods=("GET",), delay=2.0, times=1)
        build = sharing.start(sharing.words())
        wait_until(lambda: bool(proxy.hit))
        registry.end(signal.SIGKILL)
        assert build.ended() == 0, build.said
        assert sharing.ends(codes=(0,)) == []
        sharing.clean()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=lambda n: n.name)
def test_stage_push_of_a_build_that_is_killed_is_finished_later(
    sharing: Sharing, proxy: FaultyProxy, number: signal.Signals
) -> None:
    """The build is killed amid a push: what it built stays, the next run pushes the rest, and no name is left."""
    proxy.fail("/manifests/", methods=("PUT",), delay=1.0, times=1)
    build = sharing.start(sharing.words("--push-stages"))
    wait_until(lambda: bool(proxy.hit))
    build.send(number)
    assert build.ended() == (-9 if number is signal.SIGKILL else 130), build.said
    wait_until(lambda: is_gone(build.child.pid))
    assert sharing.ends("--push-stages", codes=(0,)) == []
    assert sharing.names_left() == []
    sharing.clean()
    assert sharing.ends(codes=(0,)) == []


def test_stage_pushes_at_once_are_both_done(sharing: Sharing) -> None:
    """Two builds of the same plan push at once: both end well, and the registry has whole stages."""
    builds = [sharing.start(sharing.words("--push-stages")) for _ in range(2)]
    assert [build.ended() for build in builds] == [0, 0], "".join(build.said for build in builds)
    built = [stage for build in builds for stage in sharing.built_by(build.said)]
    assert sorted(built) == ["one", "two"]
    assert sharing.names_left() == []
    sharing.clean()
    assert sharing.ends(codes=(0,)) == []
