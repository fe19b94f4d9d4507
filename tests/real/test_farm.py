"""A farm of two engines on this machine with a registry between them; one worker is killed amid a build."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing import signatures
from jetson_containers.signing.keys import PublicKey
from tests.real.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.engine.docker import DockerEngine
    from tests.real.conftest import NewerEngine, Registry

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
SLOW = 25  # seconds that the stage takes whose worker is killed


@dataclass
class Machine:
    """A process of a farm, with the lines it has printed so far."""

    child: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        self.lines.extend(self.child.stdout)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches; fails with all lines when the process ends without it."""
        never = threading.Event()
        for _ in range(20000):
            for line in [*self.lines]:
                if match := re.search(pattern, line):
                    return match
            if self.child.poll() is not None and not self.reader.is_alive():
                break
            never.wait(0.05)
        pytest.fail(f"no line `{pattern}` in:\n{''.join(self.lines)}")

    def kill(self) -> None:
        """End the process and the docker clients it has started, as when the machine loses its power."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(30)

    def built(self) -> list[str]:
        """The stages whose build it began."""
        return [line.partition(" | ")[0] for line in self.lines if line.rstrip().endswith(" | building")]


@dataclass
class Fleet:
    """What the processes of one farm share; `stop` ends all of them."""

    directory: Path
    registry: str
    base: str
    nonce: str = field(default_factory=lambda: secrets.token_hex(6))
    port: int = 0
    machines: list[Machine] = field(default_factory=list)

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def recipe(self, name: str, body: str, *depends: str) -> None:
        folder = self.directory / "packages" / name
        folder.mkdir(parents=True)
        header = f"# name: {name}\n" + (f"# depends: [{', '.join(depends)}]\n" if depends else "")
        (folder / "Dockerfile").write_text(f"#---\n{header}#---\n{HEAD}ENV NONCE={self.nonce}\n{body}\n")

    def start(self, who: str, *words: str, env: dict[str, str] | None = None) -> Machine:
        """Start the command line in a group of processes of its own, with folders of its own."""
        own = self.directory / who
        own.mkdir(exist_ok=True)
        places = {f"JETSON_CONTAINERS_{name}": str(own / name.lower()) for name in ("DATA", "LOGS", "CACHE")}
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "main.py"), *words],
            cwd=own, env={**(env or os.environ), "HOME": str(own), **places}, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        machine = Machine(child)
        self.machines.append(machine)
        return machine

    def worker(self, name: str, **more: Any) -> Machine:
        machine = self.start(name, "farm", "worker", self.address, "--name", name, "--jobs", "1", **more)
        machine.wait_for(f"{name} takes stages for")
        return machine

    def build(self, *packages: str) -> Machine:
        tree = str(self.directory / "packages")
        return self.start(
            "client", "build", "--multiple", "--target", "cpu", "--packages", tree, "--base", self.base,
            f"--name=jc-farm-{self.nonce}/", "--farm", self.address,
            "--stage-registry", f"{self.registry}/farm-{self.nonce}", *packages,
        )  # fmt: skip

    def stop(self) -> None:
        for machine in self.machines:
            with contextlib.suppress(ProcessLookupError):
                machine.kill()
            machine.child.wait(30)
            machine.reader.join(30)
            if machine.child.stdout is not None:
                machine.child.stdout.close()


@pytest.fixture
def fleet(tmp_path: Path, registry: Registry, scratch_base: str) -> Iterator[Fleet]:
    made = Fleet(tmp_path, registry.host, scratch_base)
    yield made
    made.stop()


def counted(*machines: Machine) -> Counter[str]:
    return Counter(name for machine in machines for name in machine.built())


def ended(machine: Machine) -> int:
    code = machine.child.wait(1200)
    machine.reader.join(30)
    return code


def test_farm_of_two_engines_loses_only_the_stage_of_a_killed_worker(
    fleet: Fleet, engine: DockerEngine, newer_engine: NewerEngine
) -> None:
    """One of two workers is killed amid a stage: the build is finished, and nothing else is built twice."""
    fleet.recipe("root", "RUN echo root > /root.txt")
    fleet.recipe("slow", f"RUN sleep {SLOW} && echo slow > /slow.txt", "root")
    fleet.recipe("top", "RUN cat /slow.txt /root.txt > /top.txt", "slow")
    leaves = [f"leaf{number}" for number in range(2)]
    for name in leaves:
        fleet.recipe(name, f"RUN cat /root.txt > /{name}.txt", "root")
    fleet.start("scheduler", "farm", "scheduler", "--port", str(fleet.port), "--dashboard", "none").wait_for(
        "scheduler at"
    )
    workers = {"one": fleet.worker("one"), "two": fleet.worker("two", env=newer_engine.env)}
    build = fleet.build("top", *leaves)
    doomed = build.wait_for("slow: building on (one|two)")[1]
    workers[doomed].wait_for(r"slow \| building")  # the first is said when it begins to fetch what the stage stands on
    workers[doomed].kill()
    assert ended(build) == 0, "".join(build.lines)

    assert counted(*workers.values()) == Counter({"root": 1, "slow": 2, "top": 1, **dict.fromkeys(leaves, 1)})
    survivor = next(machine for name, machine in workers.items() if name != doomed)
    assert {"slow", "top"} <= set(survivor.built())
    images = [image for image in engine.images() if any(f"jc-farm-{fleet.nonce}/" in name for name in image.references)]
    assert len(images) == 3
    top = next(name for image in images for name in image.references if "/top:" in name)
    assert engine.run(top, ["cat", "/top.txt"]).output.split() == ["slow", "root"]
    _again_builds_nothing(fleet, *workers.values())


def _again_builds_nothing(fleet: Fleet, *workers: Machine) -> None:
    before = counted(*workers)
    again = fleet.build("top")
    assert ended(again) == 0
    again.wait_for("nothing to build")
    assert counted(*workers) == before


def test_farm_client_is_interrupted_and_resumes(fleet: Fleet, engine: DockerEngine) -> None:
    """Ctrl-C ends the client with 130; its running stage is finished, and a second client builds only the rest."""
    fleet.recipe("first", "RUN sleep 3 && echo first > /first.txt")
    fleet.recipe("second", "RUN cat /first.txt > /second.txt", "first")
    fleet.start("scheduler", "farm", "scheduler", "--port", str(fleet.port), "--dashboard", "none").wait_for(
        "scheduler at"
    )
    worker = fleet.worker("one")
    build = fleet.build("second")
    build.wait_for("first: building on one")
    build.child.send_signal(signal.SIGINT)
    assert ended(build) == 130
    build.wait_for("stages that run are finished by their workers")
    again = fleet.build("second")
    assert ended(again) == 0, "".join(again.lines)
    assert counted(worker) == Counter({"first": 1, "second": 1}), "".join(worker.lines)


def test_farm_worker_signs_what_it_pushes(fleet: Fleet, engine: DockerEngine) -> None:
    """By its own settings: the build and the scheduler know no key; the password is in nothing that was started."""
    password = f"pw{fleet.nonce}"
    given = {
        **os.environ,
        "COSIGN_PASSWORD": password,
        "JETSON_CONTAINERS_SIGN_KEY": str(fleet.directory / "robots.key"),
    }
    assert ended(fleet.start("keys", "keys", "new", str(fleet.directory / "robots"), env=given)) == 0
    fleet.recipe("first", "RUN echo first > /first.txt")
    fleet.recipe("second", "RUN cat /first.txt > /second.txt", "first")
    fleet.start("scheduler", "farm", "scheduler", "--port", str(fleet.port), "--dashboard", "none").wait_for(
        "scheduler at"
    )
    with Watcher([password]) as watcher:
        fleet.worker("one", env=given)
        build = fleet.build("second")
        assert ended(build) == 0, "".join(build.lines)
    assert watcher.found == set()
    assert {line for line in watcher.environments if b"\0farm\0worker\0" not in line} == set()
    client, place = (
        RegistryClient.of(settings.load(files=())),
        ImageRepository(fleet.registry, f"farm-{fleet.nonce}/stage"),
    )
    tags = [tag for tag in client.tags(place) if not tag.endswith(".sig")]
    assert len(tags) == 2
    for tag in tags:
        key = PublicKey.read(fleet.directory / "robots.pub")
        signatures.verify(client, place, str(client.digest(place, tag)), key)


def test_farm_workers_refuse_an_unencrypted_address_and_end_without_a_scheduler(fleet: Fleet) -> None:
    """Beyond loopback an address needs TLS; where no scheduler is, `farm status` says how to start one."""
    refused = fleet.start("far", "farm", "worker", "tcp://10.255.255.1:8786")
    assert ended(refused) == 2
    refused.wait_for("is not encrypted")
    nobody = fleet.start("nobody", "farm", "status", fleet.address)
    assert ended(nobody) == 4
    nobody.wait_for("no scheduler answers")


def test_farm_with_tls_takes_only_certificates_of_its_authority(fleet: Fleet, engine: DockerEngine) -> None:
    """A scheduler with TLS answers those who show a certificate of the same authority, and nobody else."""
    files = _certificates(fleet.directory / "tls")
    scheduler = fleet.start("scheduler", "farm", "scheduler", "--port", str(fleet.port), "--dashboard", "none", *files)
    address = scheduler.wait_for(r"scheduler at (tls://\S+);")[1]
    worker = fleet.start("worker", "farm", "worker", address, "--name", "one", "--labels", "gpu", *files)
    worker.wait_for("one takes stages for gpu")
    status = fleet.start("status", "farm", "status", address, *files)
    assert ended(status) == 0, "".join(status.lines)
    status.wait_for("one .*gpu")
    stranger = fleet.start("stranger", "farm", "status", address, *_certificates(fleet.directory / "other"))
    assert ended(stranger) == 4


def _certificates(folder: Path) -> list[str]:
    """An authority and one certificate, made as docs/farm.md says."""
    folder.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ["-newkey", "rsa:2048", "-nodes"]
    openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=our farm", "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *new, "-subj", "/CN=farm", "-keyout", "farm.key", "-out", "farm.csr")
    openssl("x509", "-req", "-in", "farm.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-out", "farm.pem")  # fmt: skip
    return [
        f"--tls-{name}={folder / file}" for name, file in (("ca", "ca.pem"), ("cert", "farm.pem"), ("key", "farm.key"))
    ]
