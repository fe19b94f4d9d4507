"""Downloads as users run them: killed, interrupted, on a disk that is full, as root for somebody else, in a script."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.hubserver import HubServer

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = os.urandom(1 << 20) * 24
HALF = len(WEIGHTS) // 2
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="cannot run here: needs root")
COMMANDS = {
    "host": [sys.executable, str(ROOT / "scripts/main.py"), "download"],
    # the script of the images, which finds its modules elsewhere
    "image": [
        sys.executable, "-c",
        ("import sys; sys.path.insert(0, 'jetson_containers/hub'); from transfer.command import main; "
        "sys.exit(main(sys.argv[1:]))"),
    ],
}  # fmt: skip


@pytest.fixture
def hub(hub_server: HubServer) -> HubServer:
    hub_server.add("org/big", {"config.json": b"{}", "model.safetensors": WEIGHTS})
    return hub_server


class Shell:
    """One command line with its own data directory."""

    def __init__(self, hub: HubServer, data: Path, which: str) -> None:
        self.hub = hub
        self.hanging: list[threading.Event] = []
        self.cache = data / "models/huggingface"
        kept = {name: value for name, value in os.environ.items() if "TOKEN" not in name}
        self.env = {
            **kept, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(self.cache), "JETSON_CONTAINERS_DATA": str(data),
            "HF_HOME": str(data.parent / "home"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        self.command = COMMANDS[which]

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, *argv], env=self.env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *argv: str, code: int = 0) -> tuple[str, str]:
        with self.start(*argv) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert "Traceback" not in err
        return out, err

    def start_and_wait_for_half(self, *argv: str) -> tuple[subprocess.Popen[str], Path]:
        """Start a download that stands still in the middle of the weights."""
        self.hanging.append(threading.Event())
        self.hub.fail("/storage/", hang=self.hanging[-1], hang_at=HALF)
        process = self.start(*argv)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            for part in self.cache.glob("*/blobs/*.incomplete"):
                with contextlib.suppress(FileNotFoundError):
                    if part.stat().st_size == HALF:
                        return process, part
            time.sleep(0.02)
        raise AssertionError("the download does not come to its half")


@pytest.fixture(params=sorted(COMMANDS))
def shell(request: pytest.FixtureRequest, hub: HubServer, tmp_path: Path) -> Shell:
    (tmp_path / "data").mkdir()
    return Shell(hub, tmp_path / "data", request.param)


def test_download_that_was_killed_goes_on_where_it_stopped(shell: Shell, hub: HubServer) -> None:
    """A killed download goes on where it stopped."""
    process, part = shell.start_and_wait_for_half("org/big")
    process.kill()
    process.communicate()
    assert part.stat().st_size == HALF
    assert not list(shell.cache.glob("*/refs/*"))
    shell.run("org/big", "--offline", code=4)
    hub.forget()
    out, _ = shell.run("org/big")
    assert Path(out.strip(), "model.safetensors").read_bytes() == WEIGHTS
    assert [seen.range for seen in hub.file_requests("/storage/")] == [f"bytes={HALF}-"]
    assert hub.sent["model.safetensors"] == len(WEIGHTS) - HALF
    assert not list(shell.cache.rglob("*.incomplete"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_download_that_was_interrupted_ends_at_once_and_goes_on(
    shell: Shell, hub: HubServer, number: signal.Signals
) -> None:
    """An interrupted download ends at once and goes on later."""
    process, _ = shell.start_and_wait_for_half("org/big")
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 5  # the server still says nothing
    assert (out, "Traceback" in err) == ("", False)
    assert process.returncode in {130, 143, -number}
    hub.forget()
    shell.run("org/big")
    assert hub.sent["model.safetensors"] == len(WEIGHTS) - HALF


@NEEDS_ROOT
def test_download_on_a_full_disk_keeps_what_arrived(shell: Shell, hub: HubServer, tmp_path: Path) -> None:
    """A full disk is named, and what arrived is kept."""
    data = tmp_path / "data"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(data)], check=True)
    try:
        filler = data / "filler"
        filler.write_bytes(bytes(10 << 20))
        _, err = shell.run("org/big", code=4)
        assert "25.2 MB are to be downloaded" in err
        assert hub.file_requests() == []
        filler.unlink()
        process, part = shell.start_and_wait_for_half("org/big")
        filler.write_bytes(bytes(10 << 20))  # somebody else takes the space meanwhile
        for fault in shell.hanging:
            fault.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 4
        assert "the disk is full" in err
        filler.unlink()
        kept = part.stat().st_size
        hub.forget()
        shell.run("org/big")
        assert kept > HALF
        assert hub.sent["model.safetensors"] == len(WEIGHTS) - kept
    finally:
        subprocess.run(["umount", str(data)], check=True)


@NEEDS_ROOT
def test_download_of_root_that_was_killed_can_be_deleted_by_the_owner(shell: Shell, tmp_path: Path) -> None:
    """What root fetched until it was killed can be deleted by the owner."""
    data = tmp_path / "data"
    os.chown(data, 1234, 1234)
    process, _ = shell.start_and_wait_for_half("org/big")
    process.kill()
    process.communicate()
    assert {path.lstat().st_uid for path in data.rglob("*")} == {1234}
    for folder in (tmp_path, *tmp_path.parents):  # pytest's own folders are root's alone
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
    subprocess.run(["rm", "-r", str(data / "models")], check=True, user=1234, group=1234, extra_groups=[])


def test_download_prints_paths_and_nothing_else(shell: Shell, hub: HubServer, tmp_path: Path) -> None:
    """A script gets paths and nothing else."""
    hub.add("org/gated", {"config.json": b"{}"}, gated="auto")
    shell.env |= {"HF_TOKEN": "good"}
    words = [*shell.command, "org/big", "org/gated/config.json", "--location-file", str(tmp_path / "where")]
    script = f'for path in $({shlex.join(words)}); do ls "$path"; done'
    done = subprocess.run(["bash", "-ec", script], env=shell.env, cwd=ROOT, capture_output=True, text=True, check=True)
    listed = done.stdout.split()
    assert listed[:2] == ["config.json", "model.safetensors"]
    assert listed[2].endswith("/config.json")
    assert len((tmp_path / "where").read_text().splitlines()) == 2
    assert "good" not in done.stderr
    assert not [path for path in shell.cache.rglob("*") if path.is_file() and b"good" in path.read_bytes()]


def test_downloads_of_the_same_model_share_it(shell: Shell, hub: HubServer) -> None:
    """Two downloads of the same model share it."""
    first, part = shell.start_and_wait_for_half("org/big")
    second = shell.start("org/big")
    assert second.stderr
    assert any("another process downloads it" in line for line in second.stderr)
    first.kill()
    first.communicate()
    out, _ = second.communicate(timeout=60)
    assert Path(out.strip(), "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent["model.safetensors"] == len(WEIGHTS)
    assert not part.exists()
