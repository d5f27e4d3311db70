"""The decisions about a pool of workers, as pure functions of its state. Nothing here knows Ray.

The pool carries the decisions out; the queue carries out :func:`after_task_failure`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

__all__ = [
    "ATTEMPTS",
    "FIRST_TIME_LIMIT",
    "LEAST_TIME_LIMIT",
    "MOST_FAILED_STARTS",
    "PATIENCE",
    "SILENT",
    "TIME_MARGIN",
    "Cap",
    "PoolState",
    "Resize",
    "Verdict",
    "after_failed_start",
    "after_task_failure",
    "out_of_patience",
    "resize",
    "target",
    "time_limit",
    "worth_a_notice",
]

ATTEMPTS = 3
"""Failures after which a task is given up."""

PATIENCE = 900.0
"""Seconds without a ready worker after which a run ends."""

SILENT = 6.0
"""Seconds without a ready worker after which a run says what it waits for."""

MOST_FAILED_STARTS = 5
"""Workers in a row that may end before they are ready; then the pool stops growing until the nodes change."""

FIRST_TIME_LIMIT = 24 * 3600.0
"""Seconds that a task may take if no task of its kind has ended yet, unless the spec says otherwise."""

LEAST_TIME_LIMIT = 3600.0
"""Seconds that every task may take, unless the spec says otherwise."""

TIME_MARGIN = 20
"""How many times as long as the slowest task of its kind a task may take per example."""


class Verdict(Enum):
    """What to do after a failure."""

    RETRY = "retry"
    GIVE_UP = "give up"


class Resize(NamedTuple):
    """How many workers to start, and how many workers that are not ready yet to stop."""

    start: int
    stop: int


@dataclass(frozen=True)
class Cap:
    """The most workers that the pool may have while the cluster consists of these nodes."""

    workers: int
    nodes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class PoolState:
    """What the decisions depend on."""

    asked: int | None
    """Workers that the spec asks for; None for as many as fit."""
    room: int
    """Workers that fit on the nodes."""
    nodes: frozenset[str]
    """Ids of the nodes that are alive."""
    ready: int
    """Workers that are ready, busy ones included."""
    busy: int
    starting: int
    """Workers that are not ready yet."""
    failed_starts: int = 0
    """Workers in a row that ended before they were ready."""
    seconds_without_worker: float = 0.0
    """Seconds since a worker was last ready, or since the first of the present workers was started."""
    cap: Cap | None = None

    @property
    def workers(self) -> int:
        """Workers that are ready or starting."""
        return self.ready + self.starting


def target(state: PoolState) -> int:
    """Return how many workers the pool may have.

    If the spec asks for a number, all of them are started. Those that do not fit wait, and an autoscaler adds nodes
    for them. Otherwise the pool has as many workers as fit on the nodes, but at least one.
    """
    most = max(1, state.room) if state.asked is None else state.asked
    if state.cap is not None and state.cap.nodes == state.nodes:
        return min(most, state.cap.workers)
    return most


def resize(state: PoolState, waiting: int) -> Resize:
    """Return how many workers to start and to stop.

    Parameters
    ----------
    waiting
        Tasks that wait for a worker. More workers than tasks are never started.
    """
    most = target(state)
    useful = min(most, state.busy + waiting)
    return Resize(start=max(0, useful - state.workers), stop=min(state.starting, max(0, state.workers - most)))


def out_of_patience(state: PoolState) -> bool:
    """Return whether workers have been starting for so long, with none ready, that the run should end."""
    return state.starting > 0 and state.ready == 0 and state.seconds_without_worker > PATIENCE


def worth_a_notice(state: PoolState) -> bool:
    """Return whether workers have been starting for so long, with none ready, that the run should say so."""
    return state.starting > 0 and state.ready == 0 and state.seconds_without_worker > SILENT


def after_failed_start(state: PoolState) -> Cap | Verdict:
    """Return what to do when a worker has ended before it was ready; the state no longer counts that worker.

    After too many failures in a row, be content with the workers that are ready, or else with those that may still
    become ready. Without either, give up.
    """
    if state.failed_starts < MOST_FAILED_STARTS:
        return Verdict.RETRY
    if not state.workers:
        return Verdict.GIVE_UP
    return Cap(state.ready or state.starting, state.nodes)


def after_task_failure(failures: int) -> Verdict:
    """Return whether a task that has failed that many times is run again."""
    return Verdict.RETRY if failures < ATTEMPTS else Verdict.GIVE_UP


def time_limit(asked: float | None, slowest: float | None, size: int) -> float:
    """Return the seconds that a task may take before its worker is replaced.

    Parameters
    ----------
    asked
        The spec's `resources.timeout`.
    slowest
        Seconds per example of the slowest task of the same kind that has ended; None before one has.
    size
        Examples of the task.
    """
    if asked is not None:
        return asked
    if slowest is None:
        return FIRST_TIME_LIMIT
    return max(LEAST_TIME_LIMIT, TIME_MARGIN * slowest * size)
