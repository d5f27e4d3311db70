"""Which task is next, and what becomes of one that failed."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from eadbench.harness.plan.tasks import Task

ATTEMPTS = 3
"""How many workers a task may fail on."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A task, and the workers that it has failed on."""

    task: Task
    failed_on: tuple[str, ...] = ()


class Jobs:
    """The tasks of a run, taken from their source as workers come free: it may be longer than memory."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._source: Iterator[Job] = (Job(task=task) for task in tasks)
        self._ahead: deque[Job] = deque()
        self._again: deque[Job] = deque()

    def waiting(self, most: int) -> int:
        """How many jobs wait for a worker, counted up to `most`."""
        missing = most - len(self._again) - len(self._ahead)
        self._ahead.extend(islice(self._source, max(0, missing)))
        return min(most, len(self._again) + len(self._ahead))

    def take(self, worker: str, team: Collection[str]) -> Job | None:
        """The next job for a worker: not one that it failed, unless all of the team have."""
        for job in self._again:
            if worker not in job.failed_on or set(team) <= set(job.failed_on):
                self._again.remove(job)
                return job
        return self._ahead.popleft() if self._ahead else next(self._source, None)

    def failed(self, job: Job, worker: str) -> Job:
        """The job as it is after failing on a worker; it waits again unless it is :func:`given_up`."""
        job = replace(job, failed_on=(*job.failed_on, worker))
        if not given_up(job):
            self._again.append(job)
        return job


def given_up(job: Job) -> bool:
    """Whether a job has failed on as many workers as it may."""
    return len(job.failed_on) >= ATTEMPTS
