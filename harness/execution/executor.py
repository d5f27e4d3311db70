"""Who runs tasks: one worker in this process, or (in :mod:`eadbench.harness.execution.ray`) actors on a Ray cluster."""

import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from eadbench.harness.analysis.aggregate import attack_name
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import EnvironmentFault
from eadbench.harness.execution.worker import Worker
from eadbench.harness.plan.grid import Shard
from eadbench.harness.plan.tasks import Setup, Tally, Task, Transfer
from eadbench.models import Stored, read


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended: what it took, or the traceback of what it last failed with."""

    task: Task
    workers: Sequence[str]
    """Those that failed, and the one that did not."""
    tally: Tally | None = None
    error: str | None = None

    @property
    def digest(self) -> str:
        """What names the task in the results."""
        if isinstance(self.task, Shard):
            return self.task.digest
        return f"{self.task.shard}-{self.task.onto}" if isinstance(self.task, Transfer) else self.task.recipe.digest

    @property
    def name(self) -> str:
        """What was done, or failed, in words."""
        if isinstance(self.task, Shard):
            return f"shard {self.task.digest}"
        if isinstance(self.task, Transfer):
            return f"shard {self.task.shard} on victim {self.task.onto}"
        return f"victim {self.task.recipe.digest}"

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return (self.error or "").strip().rpartition("\n")[2]


class Watch(Protocol):
    """Who is told how a run goes, beside its outcomes."""

    def report(self, title: str, done: int, total: int) -> None:
        """How far a worker is with a task that takes long, such as training."""

    def staffed(self, workers: int) -> None:
        """So many workers are ready."""

    def retried(self, outcome: Outcome) -> None:
        """A task failed, and is given to another worker."""

    def warn(self, text: str) -> None:
        """Something is not as the user will have meant it."""


class Executor(Protocol):
    """A context manager whose workers live from its entry to its exit."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do every task, taking the next as a worker comes free; outcomes in the order in which they come."""


class SerialExecutor:
    """One worker, in this process; gives the rows that a cluster would."""

    def __init__(self, setup: Setup, data: DataSet, watch: Watch) -> None:
        self._watch = watch

        def stored(digest: str) -> Stored:
            return read(self._worker.results.model(digest))

        self._worker = Worker(setup, name="here", report=watch.report, data=lambda: data, stored=stored)

    def __enter__(self) -> Self:
        self._watch.staffed(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, tasks: Iterable[Task]) -> Iterator[Outcome]:
        """Do one task after another."""
        workers = [self._worker.name]
        for task in tasks:
            try:
                tally = self._worker.do(task)
            except EnvironmentFault:
                raise
            except Exception:  # whatever a task fails with is recorded, and the sweep goes on
                yield Outcome(task=task, workers=workers, error=traceback.format_exc())
            else:
                yield Outcome(task=task, workers=workers, tally=tally)


def title_of(task: Task) -> str:
    """What a cluster's dashboard calls a task: ``EAD on cw_mnist, distillation, T = 100``."""
    if isinstance(task, Shard):
        temperature = "" if task.victim.temperature is None else f", T = {task.victim.temperature:g}"
        attack = attack_name(task.setting.attack, task.setting.parameters.get("norm"))
        return f"{attack} on {task.victim.arch}, {task.victim.defense}{temperature}"
    if isinstance(task, Transfer):
        return f"transfer onto {task.onto}"
    return f"make {task.recipe.arch}, {task.recipe.defense['name']} ({task.recipe.digest})"
