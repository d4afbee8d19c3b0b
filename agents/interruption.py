"""Signals during training: the step is finished and saved first."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled like an interrupt."""


RAISED = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}


class Interruption:
    """Context that notes SIGINT and SIGTERM instead of letting them break a step off.

    A second signal is not waited for. Outside the main thread, where Python delivers no signals,
    it does nothing.

    Attributes:
        signal: the signal caught, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in RAISED}
        return self

    def __exit__(self, *failure: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_if_caught(self) -> None:
        """Raise `KeyboardInterrupt`, or `Terminated`, if a signal came."""
        if self.signal is not None:
            raise RAISED[self.signal]

    def _note(self, number: int, frame: FrameType | None) -> None:
        caught = signal.Signals(number)
        if self.signal is not None:
            raise RAISED[caught]
        self.signal = caught
