"""The queue of tasks: which one is next, and which ones run again."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic

from eadbench.harness.execution.executor import AnyTask
from eadbench.harness.execution.ray.policy import Verdict, after_task_failure

__all__ = ["QueuedTask", "TaskQueue"]


@dataclass(frozen=True, kw_only=True)
class QueuedTask(Generic[AnyTask]):
    """A task, and the workers that it has failed on."""

    task: AnyTask
    failed_on: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether the task is run again."""
        return after_task_failure(len(self.failed_on))


class TaskQueue(Generic[AnyTask]):
    """The tasks of a run. They are drawn from their source only as workers come free, so it may exceed memory."""

    def __init__(self, tasks: Iterable[AnyTask]) -> None:
        self._source: Iterator[QueuedTask[AnyTask]] = (QueuedTask(task=task) for task in tasks)
        self._drawn: deque[QueuedTask[AnyTask]] = deque()
        self._failed: deque[QueuedTask[AnyTask]] = deque()

    def waiting(self, most: int) -> int:
        """Count the tasks that wait for a worker, up to `most`."""
        undrawn = most - len(self._failed) - len(self._drawn)
        self._drawn.extend(islice(self._source, max(0, undrawn)))
        return min(most, len(self._failed) + len(self._drawn))

    def take(self, worker: str, workers: Collection[str]) -> QueuedTask[AnyTask] | None:
        """Remove and return the next task for a worker: not one that failed on it, unless it failed on all workers."""
        for queued in self._failed:
            if worker not in queued.failed_on or set(workers) <= set(queued.failed_on):
                self._failed.remove(queued)
                return queued
        return self._drawn.popleft() if self._drawn else next(self._source, None)

    def failed(self, queued: QueuedTask[AnyTask], worker: str) -> QueuedTask[AnyTask]:
        """Record that a task failed on a worker, and queue it again unless it is given up."""
        queued = replace(queued, failed_on=(*queued.failed_on, worker))
        if queued.verdict is Verdict.RETRY:
            self._failed.append(queued)
        return queued
