"""The workers of a sweep, started when there is work for them, and what becomes of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self

import torch

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import EadbenchError, UserError
from eadbench.harness.execution.executor import Executor, Outcome
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.remaining import Missing
from eadbench.harness.plan import recipes as victims
from eadbench.harness.plan.grid import Shard, Size
from eadbench.harness.plan.recipes import Planned
from eadbench.harness.plan.tasks import Setup, Transfer, VictimTask
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Failed
from eadbench.harness.spec.schema import Spec
from eadbench.models import Recipe, build, initial_parameters

MakeExecutor = Callable[[Setup, DataSet, Progress], Executor]


class Failure(NamedTuple):
    """A task that was given up; `DIR/failures` has the rest."""

    name: str
    reason: str


@dataclass
class Spent:
    """What the shards and transfers took that did not fail."""

    shards: int = 0
    transfers: int = 0
    examples: int = 0
    gradient_evaluations: int = 0
    worker_seconds: float = 0.0
    """Spent on shards, by all workers together."""
    unconfirmed: int = 0
    """Examples found by a search that float32 did not confirm."""


class Crew:
    """A context manager; its workers end with it.

    Attributes
    ----------
    failures
        The shards and transfers that failed.
    spent
        What the others took.
    """

    def __init__(
        self, setup: Setup, data: DataSet, results: Results, executor: MakeExecutor, progress: Progress
    ) -> None:
        self._setup, self._data, self._results = setup, data, results
        self._make, self._progress = executor, progress
        self._stack = ExitStack()
        self._failed_before = results.failed()
        self.failures: list[Failure] = []
        self.spent = Spent()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def _executor(self) -> Executor:
        with self._progress.waiting("starting the workers"):
            return self._stack.enter_context(self._make(self._setup, self._data, self._progress))

    def make_ready(self, entries: Sequence[Planned], spec: Spec) -> int:
        """Make the victims of a spec ready, and what they need before; returns how many models that took.

        Raises
        ------
        UserError
            An architecture that cannot be built, or does not take the images.
        EadbenchError
            A task towards a victim failed.
        """
        made = 0
        while tasks := victims.next_tasks(entries, spec, self._data, self._results):
            for task in tasks:
                if isinstance(task, VictimTask):
                    _check_architecture(task.recipe, self._data)
            if examples := sum(len(task.examples) for task in tasks if isinstance(task, Shard)):
                self._progress.begin("crafting examples to train on", examples)
            for outcome in self._executor.run(tasks):
                if outcome.error:
                    raise EadbenchError(f"a victim could not be made ready: {outcome.reason}")
                if isinstance(outcome.task, Shard):
                    self._progress.ended(outcome, len(outcome.task.examples))
                made += isinstance(outcome.task, VictimTask)
            self._progress.complete()
        return made

    def attack(self, missing: Missing, size: Size, *, per_cell: int) -> None:
        """Attack the examples of the shards that are missing of a sweep of that size, so many of each cell."""
        shards = self._passing(missing)
        self._progress.begin_sweep(size, per_cell)
        first = next(shards, None)
        if first is None:
            self._progress.withdraw()
            return
        for outcome in self._executor.run(chain([first], shards)):
            assert isinstance(outcome.task, Shard)
            self._progress.ended(outcome, len(outcome.task.examples))
            self._keep(outcome)
            if outcome.tally:
                self.spent.shards += 1
                self.spent.examples += outcome.tally.examples
                self.spent.gradient_evaluations += outcome.tally.gradient_evaluations
                self.spent.worker_seconds += outcome.tally.seconds
                self.spent.unconfirmed += outcome.tally.unconfirmed

    def _passing(self, missing: Missing) -> Iterator[Shard]:
        """The missing shards; of those between them it is told that they had been done."""
        for shard, left in missing.sifted():
            if len(left) < len(shard.examples):
                self._progress.passed(shard, left)
            if left:
                yield replace(shard, examples=left)

    def transfer(self, transfers: Sequence[Transfer]) -> None:
        """Test the stored images of shards on other victims."""
        if not transfers:
            return
        self._progress.begin("testing on other victims", len(transfers))
        for outcome in self._executor.run(transfers):
            self._progress.ended(outcome, 1)
            self._keep(outcome)
            self.spent.transfers += outcome.tally is not None

    def _keep(self, outcome: Outcome) -> None:
        if outcome.error:
            self._results.write_failure(outcome.digest, _failed(outcome))
            self.failures.append(Failure(outcome.name, outcome.reason))
        elif outcome.digest in self._failed_before:
            self._results.forget_failure(outcome.digest)


def _failed(outcome: Outcome) -> Failed:
    """What is stored of a failure."""
    failed = Failed(
        task=outcome.name,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        workers=list(outcome.workers),
        error=outcome.error or "",
    )
    if not isinstance(outcome.task, Shard):
        return failed
    shard = outcome.task
    examples = [example._asdict() for example in shard.examples]
    return replace(
        failed, victim=shard.victim.digest, attack=shard.setting.attack, split=shard.split, examples=examples
    )


def _check_architecture(recipe: Recipe, data: DataSet) -> None:
    """Build a victim once here and show it an image, so that a mistake is found before a worker is started."""
    try:
        parameters = initial_parameters(recipe.arch, recipe.parameters)
        model = build(recipe.arch, num_classes=recipe.num_classes, **parameters).eval()
        with torch.inference_mode():
            model(torch.zeros(1, *data.shape))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"victims: arch {recipe.arch}: {' '.join(str(error).split())}") from error
