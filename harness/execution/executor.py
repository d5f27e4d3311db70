"""What runs tasks: one worker in this process, or actors on a Ray cluster (:mod:`eadbench.harness.execution.ray`)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from eadbench.harness.plan.tasks import Task
from eadbench.harness.results.records import ShardRecord, last_line

__all__ = ["AnyTask", "Executor", "Observer", "Outcome"]

AnyTask = TypeVar("AnyTask", bound=Task)
TaskOf = TypeVar("TaskOf", bound=Task, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Outcome(Generic[TaskOf]):
    """How a task ended."""

    task: TaskOf
    workers: Sequence[str]
    """The workers that failed, and the one that did not."""
    record: ShardRecord | None = None
    """What a shard took; None for other tasks, and for a shard that failed."""
    error: str | None = None
    """The last traceback of a task that failed."""

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return last_line(self.error or "")


class Observer(Protocol):
    """Follows a run while it lasts."""

    def report(self, title: str, done: int, total: int) -> None:
        """Show how far a long task, such as a training, has come."""

    def advanced(self, task: Task, share: float, seconds: float) -> None:
        """Show the share of a running shard that is done, after so many seconds."""

    def workers_ready(self, count: int) -> None:
        """Show how many workers are ready."""

    def retried(self, outcome: Outcome[Task]) -> None:
        """Show that a task failed and goes to another worker."""

    def notice(self, text: str) -> None:
        """Show what the run waits for."""

    def warn(self, text: str) -> None:
        """Show a warning."""


class Executor(Protocol):
    """A context manager. Its workers live from its entry to its exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, tasks: Iterable[AnyTask]) -> Iterator[Outcome[AnyTask]]:
        """Run every task, taking the next when a worker is free. Yield outcomes as tasks end.

        Raises
        ------
        UserError
            A worker met what only the user can mend, such as a damaged image or a training that diverges.
        EnvironmentFault
            The machine or the cluster failed.
        """
