"""The workers of a sweep, started when there is work for them, and what becomes of it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

import torch

from harness import victims
from harness.datasets import DataSet
from harness.errors import EadbenchError, UserError
from harness.executor import Executor, Outcome
from harness.grid import Shard
from harness.missing import Missing
from harness.progress import Progress
from harness.results import Results
from harness.spec import Spec
from harness.tasks import Setup, Tally, Transfer, VictimTask
from harness.victims import Planned
from models import Recipe, build, initial_parameters

MakeExecutor = Callable[[Setup, Progress], Executor]


class Crew:
    """A context manager; its workers end with it.

    Attributes
    ----------
    failures
        The shards and transfers that failed.
    tallies
        What the shards took that did not.
    """

    def __init__(self, setup: Setup, results: Results, executor: MakeExecutor, progress: Progress) -> None:
        self._setup, self._results, self._make, self._progress = setup, results, executor, progress
        self._stack = ExitStack()
        self.failures: list[Outcome] = []
        self.tallies: list[Tally] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @cached_property
    def _executor(self) -> Executor:
        with self._progress.waiting("starting the workers"):
            return self._stack.enter_context(self._make(self._setup, self._progress))

    def make_ready(self, entries: Sequence[Planned], spec: Spec, data: DataSet) -> int:
        """Make the victims of a spec ready, and what they need before; returns how many models that took.

        Raises
        ------
        UserError
            An architecture that cannot be built, or does not take the images.
        EadbenchError
            A task towards a victim failed.
        """
        made = 0
        while tasks := victims.next_tasks(entries, spec, data, self._results):
            for task in tasks:
                if isinstance(task, VictimTask):
                    _check_architecture(task.recipe, data)
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

    def attack(self, shards: Missing) -> None:
        """Attack the examples of shards."""
        if not shards.count.shards:
            return
        self._progress.begin("attacking", shards.count.examples, self._executor.workers())
        for outcome in self._executor.run(shards):
            assert isinstance(outcome.task, Shard)
            self._progress.ended(outcome, len(outcome.task.examples))
            self._keep(outcome, outcome.task.digest)
            if outcome.tally:
                self.tallies.append(outcome.tally)

    def transfer(self, transfers: Sequence[Transfer]) -> None:
        """Test the stored images of shards on other victims."""
        if not transfers:
            return
        self._progress.begin("testing on other victims", len(transfers))
        for outcome in self._executor.run(transfers):
            assert isinstance(outcome.task, Transfer)
            self._progress.ended(outcome, 1)
            self._keep(outcome, f"{outcome.task.shard}-{outcome.task.onto}")

    def _keep(self, outcome: Outcome, name: str) -> None:
        if outcome.error:
            self._results.write_failure(name, outcome.error)
            self.failures.append(outcome)


def _check_architecture(recipe: Recipe, data: DataSet) -> None:
    """Build a victim once here and show it an image, so that a mistake is found before a worker is started."""
    try:
        parameters = initial_parameters(recipe.arch, recipe.parameters)
        model = build(recipe.arch, num_classes=recipe.num_classes, **parameters).eval()
        with torch.inference_mode():
            model(torch.zeros(1, *data.shape))
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"victims: arch {recipe.arch}: {' '.join(str(error).split())}") from error
