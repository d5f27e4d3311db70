"""Progress bars that fit a terminal of 60 columns: what is done, a bar, its count, and the time that is left."""

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.progress import Progress as RichBars
from rich.table import Column, Table
from rich.text import Text

from eadbench.harness.execution.pace import span_text

__all__ = ["Bars", "count_text", "time_text"]

ROOMY = 100
"""Columns of a terminal that show the time that has passed beside the time that is left."""


class Bars(RichBars):
    """The bars, with a line of figures below."""

    def __init__(self, console: Console, *, disable: bool) -> None:
        self.figures, self._terminal = "", console
        super().__init__(
            SpinnerColumn(),
            TextColumn(
                "{task.description}", table_column=Column(ratio=3, min_width=12, no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=8)),
            _Count(),
            _Time(console),
            console=console,
            disable=disable,
            expand=True,
        )

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """Return the bars, no wider than they need to be on a wide terminal."""
        table = super().make_tasks_table(tasks)
        table.width = min(self._terminal.width, 120)
        return table

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars, then the figures."""
        yield self.make_tasks_table(self.tasks)
        if self.figures:
            yield Text(f"  {self.figures}", style="dim")


class _Count(ProgressColumn):
    """``120/3,000``."""

    def __init__(self) -> None:
        super().__init__(Column(justify="right", no_wrap=True))

    def render(self, task: Task) -> Text:
        return Text(count_text(task), style="progress.download")


class _Time(ProgressColumn):
    """``5 min left``; on a wide terminal, also what has passed."""

    def __init__(self, console: Console) -> None:
        super().__init__(Column(justify="right", no_wrap=True))
        self._console = console

    def render(self, task: Task) -> Text:
        passed = span_text(task.elapsed or 0.0)
        texts = [time_text(task), passed if self._console.width >= ROOMY or task.total is None else ""]
        return Text(" · ".join(filter(None, texts)) or passed, style="progress.remaining")


def count_text(task: Task) -> str:
    """Return how much of a task is done: ``120/3,000``; empty if its size is not known."""
    return "" if task.total is None else f"{int(task.completed):,}/{int(task.total):,}"


def time_text(task: Task) -> str:
    """Return the time that a task has left: its field `left` if it has one, else what its speed says."""
    left = task.fields.get("left") or task.time_remaining
    return "" if task.finished or left is None else f"{span_text(left)} left"
