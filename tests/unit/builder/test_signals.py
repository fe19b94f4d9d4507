"""Signals end a run cleanly."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from jetson_containers.core.errors import (
    InterruptedByUserError,
)
from tests.unit.builder.helpers import Site, chain


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
