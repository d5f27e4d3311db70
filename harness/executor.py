"""Who runs tasks: one worker in this process, or (in :mod:`harness.cluster`) actors on a Ray cluster."""

import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from harness.grid import Shard
from harness.tasks import Setup, Tally, Task, Transfer
from harness.worker import Report, Worker


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended: what it took, or the traceback of what it failed with."""

    task: Task
    worker: str
    tally: Tally | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        """What failed, in words."""
        if isinstance(self.task, Shard):
            return f"shard {self.task.digest}"
        if isinstance(self.task, Transfer):
            return f"shard {self.task.shard} on victim {self.task.onto}"
        return f"victim {self.task.recipe.digest}"

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return (self.error or "").strip().rpartition("\n")[2]


class Executor(Protocol):
    """A context manager whose workers live from its entry to its exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def workers(self) -> int:
        """How many there are."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do every task, taking the next as a worker comes free; outcomes in the order in which they come."""


class SerialExecutor:
    """One worker, in this process; gives the rows that a cluster would."""

    def __init__(self, setup: Setup, report: Report) -> None:
        self._worker = Worker(setup, report=report)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def workers(self) -> int:
        """One."""
        return 1

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do one task after another."""
        for task in tasks:
            try:
                tally = self._worker.do(task)
            except Exception:  # whatever a task fails with is recorded, and the sweep goes on
                yield Outcome(task=task, worker=self._worker.name, error=traceback.format_exc())
            else:
                yield Outcome(task=task, worker=self._worker.name, tally=tally)
