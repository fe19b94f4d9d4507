"""What is said while an image is pulled or pushed."""

from __future__ import annotations

import io

from jetson_containers.core.console import Console, Level
from jetson_containers.engine import transfer_progress
from jetson_containers.engine.transfer_events import Transferred
from jetson_containers.engine.transfer_progress import TransferProgress
from tests.fakes import FakeEngine

STATE = Transferred(done=120_000_000, total=450_000_000, complete=3, layers=12)


def progress(*times: float, level: Level = Level.NORMAL, name: str = "pulling dustynv/mlc:r36.4") -> TransferProgress:
    clock = iter(times)
    return TransferProgress(console=Console(err=io.StringIO(), level=level), name=name, clock=lambda: next(clock))


def test_transfer_progress_tells_bytes_rate_layers_and_time() -> None:
    """One line has what was moved, of how much, how fast, and for how long."""
    shown = progress(0.0, 5.0, 25.0)
    assert shown.on_bytes is not None
    shown.on_bytes(Transferred(done=20_000_000, total=450_000_000, layers=12))
    shown.on_bytes(STATE)
    assert shown.text() == "pulling dustynv/mlc:r36.4  25s  120.0 MB of 450.0 MB, 3/12 layers  5.0 MB/s"


def test_transfer_progress_before_the_first_byte_and_while_unpacking() -> None:
    """Without a byte there is no rate, and while the engine unpacks there is none either."""
    shown = progress(0.0, 3.0, 3.0, 70.0)
    assert shown.text() == "pulling dustynv/mlc:r36.4  3s"
    shown.on_bytes(Transferred(done=9, total=9, complete=1, layers=2, extracting=True))  # type: ignore[misc]
    assert shown.text() == "pulling dustynv/mlc:r36.4  1m10s  9 B of 9 B, 1/2 layers, extracting"


def test_transfer_progress_in_a_narrow_terminal_shortens_the_name() -> None:
    """The figures stay whole; of a long name the end is shown."""
    shown = progress(0.0, 1.0, 1.0, name=f"pulling registry.example/{'robots/' * 9}mlc:r36.4")
    shown.on_bytes(STATE)  # type: ignore[misc]
    assert shown.text(60) == "pulling …ts/mlc:r36.4  1s  120.0 MB of 450.0 MB, 3/12 layers"


def test_transfer_progress_of_an_engine_without_bytes_is_its_last_line() -> None:
    """Podman tells no bytes: its last line stands in their place."""
    shown = progress(0.0, 2.0)
    shown.line("Copying blob 1f3e")
    assert shown.text() == "pulling dustynv/mlc:r36.4  2s  Copying blob 1f3e"


def test_transfer_progress_with_verbose_leaves_bytes_among_the_lines() -> None:
    """With --verbose all lines of the engine are shown, the bytes among them; otherwise none is."""
    shown = progress(0.0, level=Level.VERBOSE)
    shown.line("a: Pull complete")
    assert shown.on_bytes is None
    assert "a: Pull complete" in shown.console.err.getvalue()  # type: ignore[union-attr]
    quiet = progress(0.0)
    quiet.line("a: Pull complete")
    assert quiet.console.err.getvalue() == ""  # type: ignore[union-attr]


def test_transfer_progress_pulls_and_pushes() -> None:
    """Both go through the engine; what it says of a push is heard."""
    engine, console, heard = FakeEngine(), Console(err=io.StringIO()), []
    engine.registry["acme/there:1"] = engine.add_image("acme/there:1")
    transfer_progress.pull(engine, "acme/there:1", console)
    transfer_progress.push(engine, "acme/there:1", console, heard.append)
    assert [call[0] for call in engine.calls] == ["pull", "push"]
    assert heard == ["Pushed acme/there:1"]
    assert console.err.getvalue() == ""  # type: ignore[union-attr]
