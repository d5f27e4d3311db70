"""Run the phases of a sweep on its workers: victims, shards, transfers. Collect what they took and what failed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain, takewhile
from types import TracebackType
from typing import NamedTuple, Self

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import Cancelled, VictimFailed
from eadbench.harness.execution.executor import AnyTask, Executor, Outcome
from eadbench.harness.execution.pace import Kind, Pace, Work, records_of
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.remaining import Remaining
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.plan.grid import Population, Shard, Size
from eadbench.harness.plan.tasks import Setup, Task, Transfer
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed, ShardRecord

__all__ = ["Failure", "MakeExecutor", "Runner", "Totals"]

MakeExecutor = Callable[[Setup, DataSet, Progress], Executor]


class Failure(NamedTuple):
    """A task that was given up; its file in `DIR/failures` has the details."""

    name: str
    reason: str


@dataclass
class Totals:
    """What the shards and transfers took, those that failed left out."""

    shards: int = 0
    transfers: int = 0
    examples: int = 0
    gradient_evaluations: int = 0
    worker_seconds: float = 0.0
    """Seconds spent on shards, summed over workers."""
    unconfirmed: int = 0
    """Examples that a search found and that failed when they were tested again, in float32."""
    random: bool = False
    """Whether a victim is random."""

    def add(self, record: ShardRecord) -> None:
        """Add a shard."""
        self.shards += 1
        self.examples += record.examples
        self.gradient_evaluations += record.gradient_evaluations
        self.worker_seconds += record.seconds
        self.unconfirmed += sum(record.unconfirmed.values())
        self.random |= record.random


class Runner:
    """A context manager that starts workers when the first task needs them, and stops them when it is left.

    Parameters
    ----------
    check
        Called after each task; an exception ends the run.
    asked_to_stop
        Asked before each task; if true, the running tasks are the last.

    Attributes
    ----------
    failures
        The shards and transfers that failed.
    totals
        What the others took.
    """

    def __init__(
        self,
        setup: Setup,
        data: DataSet,
        results: Results,
        executor: MakeExecutor,
        progress: Progress,
        *,
        check: Callable[[], None] = lambda: None,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._check, self._asked_to_stop = check, asked_to_stop
        self._setup, self._data, self._results = setup, data, results
        self._make_executor, self._progress = executor, progress
        self._stack = ExitStack()
        self._failed_before = results.failed()
        self.failures: list[Failure] = []
        self.totals = Totals()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def _executor(self) -> Executor:
        with self._progress.waiting("starting the workers"):
            return self._stack.enter_context(self._make_executor(self._setup, self._data, self._progress))

    def _run(self, tasks: Iterable[AnyTask]) -> Iterator[Outcome[AnyTask]]:
        """Run tasks, and yield their outcomes.

        Raises
        ------
        Cancelled
            The run was asked to stop, and its running tasks have ended.
        """
        for outcome in self._executor.run(takewhile(lambda _: not self._asked_to_stop(), tasks)):
            self._check()
            yield outcome
        if self._asked_to_stop():
            raise Cancelled

    def make_victims(self, planner: VictimPlanner) -> int:
        """Make the victims of a spec and all models that they need. Return how many models were made.

        Raises
        ------
        UserError
            A training diverges, an image is damaged, or a network cannot be attacked.
        VictimFailed
            A victim cannot be made.
        """
        models_made = 0
        while (tasks := planner.next_tasks()).all():
            if tasks.shards:
                examples = sum(shard.size for shard in tasks.shards.values())
                self._progress.begin("crafting examples to train on", examples)
            for outcome in self._run(tasks.all()):
                if outcome.error:
                    raise VictimFailed(f"a victim could not be made ready: {outcome.reason}; run again to retry it")
                if outcome.task.digest in tasks.shards:
                    self._progress.ended(outcome)
                else:
                    models_made += 1
            self._progress.complete()
        return models_made

    def attack(
        self,
        remaining: Remaining,
        size: Size,
        *,
        examples_per_cell: Mapping[Population, int],
        work: Mapping[Kind, Work],
    ) -> None:
        """Run the shards that are left of a sweep of that size."""
        pace = Pace(work, records_of(self._results))
        self._progress.begin_sweep(size, examples_per_cell, pace)
        shards = self._counted(remaining)
        first = next(shards, None)
        if first is None:
            self._progress.withdraw()
            return
        for outcome in self._run(chain([first], shards)):
            self._progress.shard_ended(outcome)
            self._store_failure(outcome, _failed_shard)
            if outcome.record is not None:
                self.totals.add(outcome.record)

    def _counted(self, remaining: Remaining) -> Iterator[Shard]:
        """Yield the shards left to run; report finished ones to the progress bar."""
        for shard, examples in remaining.examples_left():
            if len(examples) < len(shard.examples):
                self._progress.skip(shard, examples)
            if examples:
                yield replace(shard, examples=examples)

    def transfer(self, transfers: Sequence[Transfer]) -> None:
        """Test the stored images of shards on other victims."""
        if not transfers:
            return
        self._progress.begin("testing on other victims", len(transfers))
        for outcome in self._run(transfers):
            self._progress.ended(outcome)
            self._store_failure(outcome, _failed)
            self.totals.transfers += outcome.error is None

    def _store_failure(self, outcome: Outcome[AnyTask], describe: Callable[[Outcome[AnyTask]], Failed]) -> None:
        """Store why a task failed, or delete the record of an earlier failure."""
        digest = outcome.task.digest
        if outcome.error:
            self._results.write_failure(digest, describe(outcome))
            self.failures.append(Failure(outcome.task.name, outcome.reason))
        elif digest in self._failed_before:
            self._results.forget_failure(digest)


def _failed(outcome: Outcome[Task]) -> Failed:
    """Return the record of a failure."""
    return Failed(
        task=outcome.task.name,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        workers=list(outcome.workers),
        error=outcome.error or "",
    )


def _failed_shard(outcome: Outcome[Shard]) -> Failed:
    """Return the record of a shard's failure, with its examples."""
    shard = outcome.task
    return replace(
        _failed(outcome),
        victim=shard.victim.digest,
        attack=shard.setting.attack,
        split=shard.split,
        examples=[example._asdict() for example in shard.examples],
    )
