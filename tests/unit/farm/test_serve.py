"""A scheduler and a worker run until a signal ends them."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from jetson_containers.farm import serve


async def _ends(number: signal.Signals) -> None:
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(serve._until_a_signal(loop.create_future()))
    loop.call_soon(os.kill, os.getpid(), number)  # after the first step of what waits
    await asyncio.wait_for(waiting, 60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_ends_in_order_by_a_signal(number: signal.Signals) -> None:
    """Ctrl-C, a request to end and a lost terminal: what runs in the worker is stopped before it ends."""
    asyncio.run(_ends(number))


def test_serve_goes_on_without_a_terminal_under_nohup() -> None:
    """Who ignores a lost terminal goes on."""

    async def ignores() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_ends(signal.SIGHUP), 0.2)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        asyncio.run(ignores())
    finally:
        signal.signal(signal.SIGHUP, before)
