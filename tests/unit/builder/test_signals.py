"""Signals end a run cleanly."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import (
    InterruptedByUserError,
    NotReadyError,
)
from tests.fakes import FakeEngine
from tests.unit.builder.helpers import Site, chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jetson_containers.engine.interface import BuildRequest


class SignalledEngine(FakeEngine):
    """An engine whose child gets a signal of the terminal together with us, and fails of it."""

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> None:
        """The failure can arrive before the signal has been heard of."""
        if request.tag.endswith(":b"):
            os.kill(os.getpid(), signal.SIGHUP)
            raise NotReadyError("asking for images failed")
        super().build(request, on_line)


def test_signal_that_a_child_got_as_well_is_an_interruption(tmp_path: Path) -> None:
    """What fails of the signal is no failure of its stage, whichever of the two is heard of first."""
    site = Site(tmp_path, SignalledEngine())
    for _ in range(5):
        with pytest.raises(InterruptedByUserError):
            site.run(chain("a", "b", "c"))
    assert site.engine.image("jetson-containers/stage:b") is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_children_first_and_leaves_nothing_half_done(site: Site, number: signal.Signals) -> None:
    """A signal stops children first and leaves nothing half done."""
    site.engine.hang(":b$")

    def send() -> None:
        assert site.engine.hanging.wait(120)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    before = signal.getsignal(number)
    sender.start()
    with pytest.raises(InterruptedByUserError) as caught:
        site.run(chain("a", "b", "c"))
    sender.join()
    assert caught.value.exit_code == 130
    assert site.engine.stopped.is_set()
    assert signal.getsignal(number) is before
    assert site.engine.image("jetson-containers/stage:b") is None
    report = json.loads((site.logs() / "build.json").read_text())
    assert [(entry["state"], entry["cause"]) for entry in report["stages"]] == [
        ("built", ""),
        ("failed", "interrupted"),
        ("skipped", "interrupted"),
    ]
    site.engine.heal()
    site.built()
    site.run(chain("a", "b", "c"))
    assert site.built() == ["b", "c"]
