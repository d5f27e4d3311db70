"""How far a running attack has come, for whoever follows it: a progress bar, or an estimate of the time it takes.

An engine says so at its own pace. Without a follower that costs nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["advance", "begin_part", "follow", "tick"]

SECONDS = 1.0
"""Seconds between two reports."""


@dataclass
class _Follower:
    report: Callable[[float], None]
    seconds: float
    reported: float = field(default_factory=time.monotonic)
    done: float = 0.0
    """The share that is done without the part that runs."""
    width: float = 0.0
    """The share of that part."""
    ticks: int = 1
    ticked: int = 0


_FOLLOWER: ContextVar[_Follower | None] = ContextVar("follower", default=None)


@contextmanager
def follow(report: Callable[[float], None], *, seconds: float = SECONDS) -> Iterator[None]:
    """Call `report` with the share of its work that an attack in this block has done.

    Parameters
    ----------
    report
        Called with a number in [0, 1]. What it raises ends the attack.
    seconds
        The least time between two calls.
    """
    token = _FOLLOWER.set(_Follower(report, seconds))
    try:
        yield
    finally:
        _FOLLOWER.reset(token)


def advance(share: Callable[[], float]) -> None:
    """Report the share of the attack that is done. It is computed only if a report is due."""
    follower = _FOLLOWER.get()
    if follower is not None and time.monotonic() - follower.reported >= follower.seconds:
        follower.reported = time.monotonic()
        follower.report(share())


def begin_part(begin: int, size: int, count: int, *, ticks: int) -> None:
    """Say that examples from `begin` on, `size` of `count`, are attacked together, in a number of :func:`tick`."""
    follower = _FOLLOWER.get()
    if follower is not None:
        follower.done, follower.width = begin / count, min(size, count - begin) / count
        follower.ticks, follower.ticked = ticks, 0


def tick() -> None:
    """Say that a step of the part has begun."""
    follower = _FOLLOWER.get()
    if follower is not None:
        advance(lambda: follower.done + follower.width * min(1.0, follower.ticked / follower.ticks))
        follower.ticked += 1
