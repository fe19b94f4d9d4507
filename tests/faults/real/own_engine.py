"""An engine beside the machine's own, which may be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.scene import is_gone, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class OwnEngine:
    """dockerd in name spaces of its own for network, mounts and processes: what it started ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for name in ("pid", "docker.sock"):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        argv = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd"]
        argv += ["--host", self.address, "--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"]
        argv += ["--pidfile", f"{self.folder}/pid", "--bridge=none", "--iptables=false", "--storage-driver=vfs"]
        with (self.folder / "log").open("ab") as log:
            self.child = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        wait_until(self._answers, 60)

    def _answers(self) -> bool:
        assert self.child is not None
        if self.child.poll() is not None:
            pytest.skip(f"cannot run here: a second dockerd does not start: {(self.folder / 'log').read_text()[-500:]}")
        asked = subprocess.run(["docker", "version"], env=self.env, capture_output=True, check=False)
        return asked.returncode == 0

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.address}

    def end(self, number: signal.Signals) -> None:
        """SIGKILL for it and all it started, SIGTERM for it alone."""
        assert self.child is not None
        child = self.child
        if number is signal.SIGKILL:
            child.kill()
        else:
            first = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            for pid in first:
                os.kill(int(pid), number)
        child.wait(60)
        wait_until(lambda: is_gone(child.pid))


@contextlib.contextmanager
def started(image: str) -> Iterator[OwnEngine]:
    """An engine that has one image of the machine's."""
    if os.geteuid() or not all(map(shutil.which, ("dockerd", "runc", "unshare"))):
        pytest.skip("cannot run here: a second dockerd needs root, dockerd, runc and unshare")
    folder = Path("/run") / f"jc-fault-{secrets.token_hex(4)}"  # short: a socket's path has at most 107 characters
    folder.mkdir()
    made = OwnEngine(folder)
    try:
        made.start()
        saved = subprocess.run(["docker", "save", image], capture_output=True, check=True)
        subprocess.run(["docker", "load"], input=saved.stdout, env=made.env, check=True, capture_output=True)
        yield made
    finally:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            made.end(signal.SIGTERM)
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(str(folder)):
                subprocess.run(["umount", place], check=False)
        shutil.rmtree(folder, ignore_errors=True)
