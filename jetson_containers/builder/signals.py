"""Ctrl-C, TERM and HUP (a lost terminal) while stages run: passed to the main loop, which ends them in order."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """While it is entered, the first signal is handed to `tell`; without `tell`, or the second time, it raises.

    `tell` runs inside a signal handler: it may do nothing but what is safe there (`SimpleQueue.put`). Outside the
    main thread, where Python allows no handlers, it does nothing. A signal that was ignored when the program started
    stays so: a shell starts `command &` like that, and Ctrl-C is then meant for what runs in the foreground; `nohup`
    does it with HUP.
    """

    def __init__(self) -> None:
        self.tell: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, _number: int, _frame: object) -> None:
        tell, self.tell = self.tell, None
        if tell is None:
            raise KeyboardInterrupt
        tell()
