"""Signals that stop a command: its workers end, what is committed stays, and the exit code is 128 + the signal."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from eadbench.harness.errors import Stopped

__all__ = ["stopped_by_signals"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_STOP = 1.0
"""Seconds within which two signals count as one: launchers pass on what the terminal has sent already."""


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """End the block by an exception on the first signal, and the process on the next.

    Raises
    ------
    Stopped
        A signal has ended the block.
    """
    if threading.current_thread() is not threading.main_thread():  # only it handles signals
        yield
        return
    first: list[tuple[int, float]] = []

    def stop(number: int, _: FrameType | None) -> None:
        if not first:
            first.append((number, time.monotonic()))
            # Ray's and Python's own loops let no other exception through.
            raise KeyboardInterrupt
        if time.monotonic() - first[0][1] > ONE_STOP:
            os._exit(128 + number)

    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number in SIGNALS if handlers[number] is not signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    except BaseException as error:  # what was interrupted may raise anything
        if first:
            raise Stopped(signal.Signals(first[0][0])) from error
        raise
    finally:
        for number in ours:
            signal.signal(number, handlers[number])
