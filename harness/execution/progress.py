"""What a person sees while a sweep runs."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from eadbench.harness.execution.executor import Outcome
from eadbench.harness.plan.grid import Example, Shard, Size


class Progress:
    """Bars on the terminal: one for each victim in training, one for the examples attacked, and a line of figures.

    A context manager; without a terminal it prints nothing but retries and failures.
    """

    def __init__(self, console: Console) -> None:
        self._bars = _BarsAndFigures(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._training: dict[str, TaskID] = {}
        self._current: TaskID | None = None
        self._workers = self._retried = self._failed = 0
        self._sweep: _Sweep | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def waiting(self, title: str) -> Iterator[None]:
        """A spinner while something is awaited."""
        task = self._bars.add_task(title, total=None)
        try:
            yield
        finally:
            self._bars.remove_task(task)

    def report(self, title: str, done: int, total: int) -> None:
        """How far a worker is with a task that takes long, such as training."""
        if title not in self._training:
            self._training[title] = self._bars.add_task(title, total=total)
        self._bars.update(self._training[title], completed=done, total=total)

    def staffed(self, workers: int) -> None:
        """So many workers are ready."""
        self._workers = workers
        self._show()

    def retried(self, outcome: Outcome) -> None:
        """A task failed, and is given to another worker."""
        self._retried += 1
        self._say("yellow", "is tried again", outcome)

    def warn(self, text: str) -> None:
        """Something is not as the user will have meant it."""
        self._console.print(Text.assemble(("warning:", "yellow"), " ", text), highlight=False, soft_wrap=True)

    def complete(self) -> None:
        """All that was begun is done."""
        for task in self._bars.tasks:
            self._bars.update(task.id, completed=task.total)

    def begin(self, title: str, total: int) -> None:
        """Tasks will end that add up to `total`."""
        self._current = self._bars.add_task(title, total=total)
        self._sweep = None
        self._show()

    def begin_sweep(self, size: Size, per_cell: int) -> None:
        """The shards of a sweep of that size will end, or turn out to have been done, so many examples a cell."""
        self.begin("attacking", size.examples)
        self._sweep = _Sweep(size, per_cell)
        self._show()

    def withdraw(self) -> None:
        """There was nothing to do of what was begun."""
        assert self._current is not None
        self._bars.remove_task(self._current)
        self._sweep = self._current = None
        self._show()

    def passed(self, shard: Shard, left: Sequence[Example]) -> None:
        """Of a shard's examples only those that are left had not been done before."""
        assert self._current is not None and self._sweep is not None
        before = set(shard.examples).difference(left)
        self._sweep.count(shard, before, whole=not left)
        total = self._bars.tasks[self._bars.task_ids.index(self._current)].total or 0
        self._bars.update(self._current, total=total - len(before))
        self._show()

    def ended(self, outcome: Outcome, size: int) -> None:
        """A task is done, or has failed."""
        assert self._current is not None
        if outcome.error:
            self._failed += 1
            self._say("red", "failed", outcome)
        elif self._sweep is not None and outcome.tally and isinstance(outcome.task, Shard):
            self._sweep.count(outcome.task, outcome.task.examples, whole=True)
            self._sweep.gradients += outcome.tally.gradient_evaluations
        self._bars.update(self._current, advance=size)
        self._show()

    def _say(self, colour: str, what: str, outcome: Outcome) -> None:
        where = ", ".join(outcome.workers)
        said = Text.assemble((f"{outcome.name} {what}", colour), f" after {where}: {outcome.reason}")
        self._console.print(said, highlight=False)

    def _show(self) -> None:
        figures = self._sweep.figures() if self._sweep else []
        if self._current is not None:
            staffed = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
            figures.append(staffed if self._workers else "waiting for a worker")
        figures += [
            f"{number} {what}" for number, what in ((self._retried, "retried"), (self._failed, "failed")) if number
        ]
        self._bars.figures = " · ".join(figures)


class _Sweep:
    """How much of a sweep is done."""

    def __init__(self, size: Size, per_cell: int) -> None:
        self._size, self._per_cell = size, per_cell
        self._shards = self._cells = self.gradients = 0
        self._started = time.monotonic()
        self._open: Counter[tuple[Any, ...]] = Counter()

    def count(self, shard: Shard, examples: Iterable[Example], *, whole: bool) -> None:
        """Count examples of a shard that are done, and the shard if it is done whole."""
        self._shards += whole
        setting = shard.setting
        for axes, number in Counter((example.beta, example.kappa) for example in examples).items():
            key = (shard.victim.digest, setting.attack, str(setting.parameters), *axes)
            self._open[key] += number
            if self._open[key] >= self._per_cell:
                del self._open[key]
                self._cells += len(setting.decision_rules)

    def figures(self) -> list[str]:
        """Cells, shards and gradient evaluations per second."""
        found = [f"{self._cells}/{self._size.cells} cells", f"{self._shards:,}/{self._size.shards:,} shards"]
        if self.gradients:
            rate = self.gradients / (time.monotonic() - self._started)
            found.append(f"{rate:,.0f} gradients/s")
        return found


class _BarsAndFigures(Bars):
    """Rich's bars with a line of text below."""

    figures = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the figures."""
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(f"  {self.figures}", style="dim")
