"""Progress bars of a sweep, on a terminal or in a notebook."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Event, Thread, Timer
from typing import Self

from rich.console import Console
from rich.progress import TaskID
from rich.text import Text

from eadbench.harness.execution.bars import Bars, count_text, time_text
from eadbench.harness.execution.executor import Outcome
from eadbench.harness.execution.forecast import Forecast, Meter
from eadbench.harness.execution.pace import Pace, kind_of
from eadbench.harness.plan.grid import Example, Population, Setting, Shard, Size
from eadbench.harness.plan.tasks import Task

SILENT = 5.0
"""Seconds after which a run says what it waits for."""
LINE_SECONDS = 60.0
"""Seconds between two lines of a run without a terminal."""
WARM_UP = 10.0
"""Seconds of work before the time left is told: what the first batches take says nothing of the others."""


class Progress:
    """Bars for each training and for the examples attacked, with a line of figures below.

    A context manager. Without a terminal it prints a line a minute, and warnings, retries and failures.

    Parameters
    ----------
    line_seconds
        Seconds between two lines without a terminal.
    price
        Of a worker's hour: show what the workers cost.

    Attributes
    ----------
    forecast : Forecast or None
        How long the attacks were expected to take, and took until now.
    meter : Meter
        What the workers cost.
    """

    def __init__(self, console: Console, *, line_seconds: float = LINE_SECONDS, price: float | None = None) -> None:
        self._bars = Bars(console, disable=not _can_draw(console))
        self._ended = Event()
        self._lines = Thread(target=self._print_lines, args=[line_seconds], daemon=True)
        self._console = console
        self._reported: dict[str, TaskID] = {}
        self._current: TaskID | None = None
        self._workers = self._retried = self._failed = 0
        self._done = 0
        """Examples of the current bar in tasks that have ended."""
        self._partly: dict[str, float] = {}
        """Examples of the current bar that running tasks have done."""
        self._sweep: _SweepCounts | None = None
        self.forecast: Forecast | None = None
        self.meter = Meter(price)

    def __enter__(self) -> Self:
        self._bars.start()
        if self._bars.disable:
            self._lines.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._bars.stop()

    def _print_lines(self, seconds: float) -> None:
        """Print a line now and then, until the run has ended."""
        while not self._ended.wait(seconds):
            running = [task for task in self._bars.tasks if not task.finished and task.total]
            texts = [", ".join(filter(None, [task.description, count_text(task), time_text(task)])) for task in running]
            if texts:
                self.notice(" · ".join(filter(None, [*texts, self._bars.figures])))

    @contextmanager
    def waiting(self, title: str) -> Iterator[None]:
        """Show a spinner inside the context; without a terminal, a line if the context takes long."""
        task = self._bars.add_task(title, total=None)
        timer = Timer(SILENT, self.notice, [f"still {title}, after {SILENT:.0f} s"])
        timer.daemon = True
        if self._bars.disable:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._bars.remove_task(task)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the terminal to others inside the context, and draw no bar of earlier work after it."""
        self._bars.stop()
        for task in self._bars.tasks:
            self._bars.remove_task(task.id)
        self._bars.figures, self._sweep, self._current = "", None, None
        try:
            yield
        finally:
            self._bars.start()

    def notice(self, text: str) -> None:
        """Print what the run waits for."""
        self._console.print(Text(text, "dim"), highlight=False, soft_wrap=True)

    def report(self, title: str, done: int, total: int) -> None:
        """Show how far a long task, such as a training, has come."""
        if title not in self._reported:
            self._reported[title] = self._bars.add_task(title, total=total)
        self._bars.update(self._reported[title], completed=done, total=total)

    def workers_ready(self, count: int) -> None:
        """Show how many workers are ready."""
        self._workers = count
        self.meter.count(count)
        self._refresh()

    def retried(self, outcome: Outcome[Task]) -> None:
        """Print that a task failed and goes to another worker."""
        self._retried += 1
        self._partly.pop(outcome.task.digest, None)
        self._print_error("yellow", "is tried again", outcome)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._console.print(Text.assemble(("warning:", "yellow"), " ", text), highlight=False, soft_wrap=True)

    def complete(self) -> None:
        """Fill every bar."""
        for task in self._bars.tasks:
            self._bars.update(task.id, completed=task.total)

    def begin(self, title: str, total: int) -> None:
        """Start a bar for tasks whose sizes add up to `total`."""
        self._current = self._bars.add_task(title, total=total)
        self._sweep, self._done, self._partly = None, 0, {}
        self._refresh()

    def begin_sweep(self, size: Size, examples_per_cell: Mapping[Population, int], pace: Pace) -> None:
        """Start a bar for the shards of a sweep, given the number of examples of a cell."""
        self.begin("attacking", size.examples)
        self._sweep = _SweepCounts(size, examples_per_cell, pace)
        self._refresh()

    def advanced(self, task: Task, share: float, seconds: float) -> None:
        """Move the current bar by the share of a running shard that is done."""
        self._partly[task.digest] = share * task.size
        if self._sweep is not None and isinstance(task, Shard):
            self._sweep.pace.advanced(task, share, seconds)
        self._refresh()

    def withdraw(self) -> None:
        """Remove the current bar: nothing was left to do."""
        assert self._current is not None
        self._bars.remove_task(self._current)
        self._sweep = self._current = None
        self._refresh()

    def skip(self, shard: Shard, left: Sequence[Example]) -> None:
        """Take a shard's examples that an earlier run has done off the bar, all but those left to run."""
        assert self._current is not None and self._sweep is not None
        done = set(shard.examples).difference(left)
        self._sweep.count(shard, done, whole=not left)
        total = self._bars.tasks[self._bars.task_ids.index(self._current)].total or 0
        self._bars.update(self._current, total=total - len(done))
        self._sweep.pace.skipped(kind_of(shard), len(done))
        self._refresh()

    def shard_ended(self, outcome: Outcome[Shard]) -> None:
        """Count a shard of the sweep that has ended."""
        if self._sweep is not None:
            self._sweep.pace.ended(outcome.task, None if outcome.record is None else outcome.record.seconds)
            if outcome.record is not None:
                self._sweep.count(outcome.task, outcome.task.examples, whole=True)
                self._sweep.gradients += outcome.record.gradient_evaluations
        self.ended(outcome)
        if self._sweep is not None:
            self.forecast = self._sweep.forecast

    def ended(self, outcome: Outcome[Task]) -> None:
        """Advance the current bar by a task that has ended, or print that it failed."""
        assert self._current is not None
        if outcome.error:
            self._failed += 1
            self._print_error("red", "failed", outcome)
        self._partly.pop(outcome.task.digest, None)
        self._done += outcome.task.size
        self._refresh()

    def _print_error(self, colour: str, event: str, outcome: Outcome[Task]) -> None:
        text = (f"{outcome.task.name} {event}", colour)
        self._console.print(
            Text.assemble(text, f" after {', '.join(outcome.workers)}: {outcome.reason}"), highlight=False
        )

    def _refresh(self) -> None:
        figures = self._sweep.figures() if self._sweep else []
        if self._current is not None:
            left = self._sweep.seconds_left(self._workers) if self._sweep else None
            self._bars.update(self._current, completed=self._done + sum(self._partly.values()), left=left)
            workers = f"{self._workers} worker{'s' if self._workers > 1 else ''}"
            figures.append(workers if self._workers else "waiting for a worker")
            if (cost := self.meter.cost) is not None:
                price = (self.meter.price or 0.0) * self._workers / 3600
                figures.append(f"cost {cost:.2f}" + ("" if left is None else f" of about {cost + left * price:.2f}"))
        figures += [
            f"{count} {event}" for count, event in ((self._retried, "retried"), (self._failed, "failed")) if count
        ]
        self._bars.figures = " · ".join(figures)


def _can_draw(console: Console) -> bool:
    """Return whether bars can be drawn: on a terminal, or in a notebook with ipywidgets."""
    return console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)


class _SweepCounts:
    """Counts of a sweep's cells, shards and gradient evaluations."""

    def __init__(self, size: Size, examples_per_cell: Mapping[Population, int], pace: Pace) -> None:
        self.pace = pace
        self._size, self._examples_per_cell = size, examples_per_cell
        self._shards = self._cells = self.gradients = 0
        self._started = time.monotonic()
        self._expected: tuple[float, float] | None = None
        """The seconds of work before the first figure, and that figure: the seconds from start to end."""
        self._begun: Counter[tuple[tuple[Population, Setting], float | None, float]] = Counter()
        """Examples done of the β and κ of a block, until all are."""

    def count(self, shard: Shard, examples: Iterable[Example], *, whole: bool) -> None:
        """Count examples of a shard that are done, and the shard if all of them are."""
        self._shards += whole
        for (beta, kappa), number in Counter((example.beta, example.kappa) for example in examples).items():
            key = (shard.block, beta, kappa)
            self._begun[key] += number
            if self._begun[key] >= self._examples_per_cell[shard.population]:
                del self._begun[key]
                self._cells += len(shard.setting.decision_rules)

    def seconds_left(self, workers: int) -> float | None:
        """Return the seconds that the examples left take, once it can be told; keep the first figure for the end."""
        after = time.monotonic() - self._started
        left = self.pace.seconds_left(workers) if after >= WARM_UP else None
        if left is not None and workers and self._expected is None:
            self._expected = after, after + left
        return left

    @property
    def forecast(self) -> Forecast | None:
        """What was expected first, and how long the attacks took until now."""
        if self._expected is None:
            return None
        after, expected = self._expected
        return Forecast(expected=expected, after=after, took=time.monotonic() - self._started)

    def figures(self) -> list[str]:
        """Return the counts as texts, and the gradient evaluations per second."""
        texts = [f"{self._cells}/{self._size.cells} cells", f"{self._shards:,}/{self._size.shards:,} shards"]
        if self.gradients:
            rate = self.gradients / (time.monotonic() - self._started)
            texts.append(f"{rate:,.0f} gradients/s")
        return texts
