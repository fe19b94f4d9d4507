"""`setup` on the configuration of a real engine: a second dockerd with everything of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import StepError
from jetson_containers.host import journal, steps
from jetson_containers.host.changes import HostMachine, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jetson_containers.host.changes import StepPlan


class SecondEngine:
    """A dockerd that reads `daemon.json`, in a network namespace of its own: the first one is left alone."""

    def __init__(self, folder: Path, run_dir: Path) -> None:
        self.config = folder / "etc/docker/daemon.json"
        self.folder = folder
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{run_dir}/docker.sock"}
        self.argv = [
            "unshare", "--net", "dockerd", "--config-file", str(self.config), "--host", self.env["DOCKER_HOST"],
            "--exec-root", f"{run_dir}/exec", "--pidfile", f"{run_dir}/pid",
            "--bridge=none", "--iptables=false", "--storage-driver=vfs",
        ]  # fmt: skip
        self.child: subprocess.Popen[bytes] | None = None
        self.log = folder / "log"

    def service(self, argv: Sequence[str]) -> str:
        """What `setup` runs: `service docker …` is this engine, everything else is run."""
        if tuple(argv[:2]) != ("service", "docker"):
            return run_command(argv)
        if argv[2] in {"stop", "restart"}:
            self.stop()
        if argv[2] in {"start", "restart"}:
            self.start()
        return ""

    def start(self) -> None:
        self.log.touch()
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(self.argv, stdout=log, stderr=log)
        for _ in range(120):
            if self.child.poll() is not None:
                raise StepError(f"dockerd ended: {self.log.read_text()[-300:]}")
            if self.info():
                return
            time.sleep(0.5)
        raise StepError("dockerd does not answer")

    def stop(self) -> None:
        if self.child is not None:
            self.child.terminate()
            self.child.wait(timeout=60)
            self.child = None

    def info(self) -> dict[str, Any]:
        argv = ["docker", "info", "--format", "{{json .}}"]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False, timeout=60)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


@pytest.fixture
def second(tmp_path: Path) -> Iterator[SecondEngine]:
    if os.geteuid() or not all(map(shutil.which, ("dockerd", "runc", "unshare"))):
        pytest.skip("cannot run here: a second dockerd needs root, dockerd, runc and unshare")
    run_dir = Path("/run") / f"jc-test-{uuid.uuid4().hex[:8]}"  # short: a socket's path has at most 107 characters
    run_dir.mkdir()
    engine = SecondEngine(tmp_path, run_dir)
    engine.config.parent.mkdir(parents=True)
    engine.config.write_text(json.dumps({"data-root": f"{tmp_path}/old", "debug": False}))
    try:
        try:
            engine.start()
        except StepError as error:
            pytest.skip(f"cannot run here: a second dockerd does not start: {error.message}")
        yield engine
    finally:
        engine.stop()
        places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in reversed(places):  # its network namespace, and its data-root
            if place.startswith((str(run_dir), str(tmp_path))):
                subprocess.run(["umount", place], check=False, timeout=60)
        with contextlib.suppress(OSError):
            shutil.rmtree(run_dir)


def machine(second: SecondEngine, **options: Any) -> HostMachine:
    return HostMachine(root=second.folder, run=second.service, is_jetson=True, **options)


def apply(plan: StepPlan, host: HostMachine) -> journal.Entry:
    assert plan.changes, plan.reason
    return journal.apply(plan, host, lambda _: None)


def test_setup_registers_the_runtime_with_a_real_engine_and_takes_it_back(second: SecondEngine) -> None:
    """The engine itself says that `nvidia` is its default runtime, and that it is not after undoing."""
    runtime = second.folder / "usr/bin/nvidia-container-runtime"
    runtime.parent.mkdir(parents=True)
    runtime.write_text("")
    before = second.config.read_text()
    host = machine(second)
    runtimes = apply(steps.plan("nvidia-runtime", host), host)
    assert (second.info()["DefaultRuntime"], "nvidia" in second.info()["Runtimes"]) == ("nvidia", True)
    logs = apply(steps.plan("log-rotation", host), host)
    assert second.info()["DefaultRuntime"] == "nvidia"
    with pytest.raises(StepError, match="changed after"):
        journal.undo(runtimes, host, lambda _: None)  # the later step stands on it
    for entry in (logs, runtimes):
        journal.undo(entry, host, lambda _: None)
    assert (second.info()["DefaultRuntime"], second.config.read_text()) == ("runc", before)


def test_setup_moves_the_data_of_a_real_engine_and_back(second: SecondEngine) -> None:
    """Images are there after the move, and after undoing it."""
    archive = subprocess.run(["tar", "c", "-C", str(second.config.parent), "."], capture_output=True, check=True).stdout
    subprocess.run(["docker", "import", "-", "moved:1"], input=archive, env=second.env, check=True, capture_output=True)
    host = machine(second, new_data_root=f"{second.folder}/new")
    old = second.folder / "old"
    # The configuration names paths of this machine, and the folder stands for its root: a link makes both one.
    link = second.folder / str(second.folder).lstrip("/")
    link.parent.mkdir(parents=True)
    link.symlink_to(second.folder)
    entry = apply(steps.plan("data-root", host), host)
    assert second.info()["DockerRootDir"] == f"{second.folder}/new"
    assert images(second) == ["moved:1"]
    journal.undo(entry, host, lambda _: None)
    assert (second.info()["DockerRootDir"], images(second)) == (str(old), ["moved:1"])


def test_setup_that_fails_midway_leaves_the_engine_running_as_before(second: SecondEngine) -> None:
    """Where the new place cannot be made, the engine that was stopped for it starts again."""
    before = second.config.read_text()
    host = machine(second, new_data_root="/proc/none")
    with pytest.raises(StepError, match="is undone"):
        apply(steps.plan("data-root", host), host)
    assert (second.config.read_text(), journal.entries(host)) == (before, [])
    assert second.info()["DockerRootDir"] == f"{second.folder}/old"


def images(second: SecondEngine) -> list[str]:
    argv = ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"]
    return subprocess.run(argv, env=second.env, capture_output=True, text=True, check=True).stdout.split()


def setup(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "jetson_containers", "setup", *args]
    return subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=100, check=False)


def test_setup_shows_on_this_machine_what_it_would_change(tmp_path: Path) -> None:
    """A dry run has a diff for each change and changes nothing."""
    file = tmp_path / "daemon.json"
    file.write_text('{"debug": true}\n')
    done = setup("log-rotation", "--dry-run", "--json", "--daemon-json", str(file))
    (row,) = json.loads(done.stdout)
    assert (row["step"], row["state"]) == ("log-rotation", "would change")
    assert '+        "max-size": "50m",' in row["changes"]
    assert file.read_text() == '{"debug": true}\n'


def test_setup_without_a_terminal_asks_for_yes() -> None:
    """Nothing is changed that could not be asked; an unknown step is a mistake."""
    done = setup("log-rotation")
    assert (done.returncode, "--yes" in done.stderr or "sudo" in done.stderr) == (2 if not os.geteuid() else 4, True)
    assert setup("nonsense").returncode == 2
