"""What a person sees while a sweep runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console
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

from harness.executor import Outcome


class Progress:
    """Bars on the terminal: one for each victim in training, one for the examples attacked.

    A context manager; without a terminal it prints nothing but failures.
    """

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._training: dict[str, TaskID] = {}
        self._current: TaskID | None = None
        self._gradients, self._seconds = 0, 0.0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def waiting(self, title: str) -> Iterator[None]:
        """A spinner while something is awaited."""
        task = self._bars.add_task(title, total=None, rate="")
        try:
            yield
        finally:
            self._bars.remove_task(task)

    def report(self, title: str, done: int, total: int) -> None:
        """How far a worker is with a task that takes long, such as training."""
        if title not in self._training:
            self._training[title] = self._bars.add_task(title, total=total, rate="")
        self._bars.update(self._training[title], completed=done, total=total)

    def complete(self) -> None:
        """All that was begun is done."""
        for task in self._bars.tasks:
            self._bars.update(task.id, completed=task.total)

    def begin(self, title: str, total: int, workers: int | None = None) -> None:
        """Tasks will end that add up to `total`."""
        if workers is not None:
            title = f"{title} on {workers} worker{'s' if workers != 1 else ''}"
        self._current = self._bars.add_task(title, total=total, rate="")
        self._gradients, self._seconds = 0, 0.0

    def ended(self, outcome: Outcome, size: int) -> None:
        """A task is done, or has failed."""
        assert self._current is not None
        if outcome.error:
            self._console.print(f"[red]{outcome.name} failed[/] on {outcome.worker}: {outcome.reason}")
        if outcome.tally:
            self._gradients += outcome.tally.gradient_evaluations
            self._seconds += outcome.tally.seconds
        rate = f"{self._gradients / self._seconds:,.0f} gradients/s a worker" if self._gradients else ""
        self._bars.update(self._current, advance=size, rate=rate)
