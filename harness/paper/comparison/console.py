"""A comparison for a terminal of any width."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import CASES, FIGURES
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.paper.comparison.blocks import Block, blocks, select_cases

__all__ = ["terminal"]


def terminal(compared: pd.DataFrame, width: int, *, cases: Sequence[str] = CASES) -> Group:
    """Render a comparison for a terminal of ``width`` columns.

    The figures stand side by side, with their intervals if the width allows; in a narrow terminal, below each other.

    Raises
    ------
    UserError
        A case is unknown.
    """
    unlimited = Console(width=10_000)
    parts: list[Text | Table] = []
    for block in blocks(select_cases(compared, cases)):
        choices = (_side_by_side(block, intervals=True), _side_by_side(block, intervals=False), _stacked(block))
        fitting = (table for table in choices if unlimited.measure(table).maximum <= width)
        parts += [Text(block.title, style="italic"), next(fitting, choices[-1]), Text()]
    return Group(*parts)


def _side_by_side(block: Block, *, intervals: bool) -> Table:
    """Return one line per line of the paper; each figure is a table of its own, which gives it a heading and a rule."""
    tables = [_table(*block.heads, title=" ", left=len(block.heads))]
    for labels in block.labels:
        tables[0].add_row(*map(Text, labels))
    for index, name in enumerate(FIGURES):
        tables.append(_table("ours", *([""] if intervals else []), "paper", "ratio", title=FIGURE_LABELS[name]))
        for figures in block.figures:
            ours, interval, paper, ratio = figures[index]
            tables[-1].add_row(ours, *([Text(interval, style="dim")] if intervals else []), paper, ratio)
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*tables)
    return grid


def _stacked(block: Block) -> Table:
    """Return one line per figure and line of the paper, for narrow terminals."""
    table = _table(*block.heads, "", "ours", "", "paper", "ratio", left=len(block.heads) + 1)
    for labels, figures in zip(block.labels, block.figures, strict=True):
        for index, (name, (ours, interval, paper, ratio)) in enumerate(zip(FIGURES, figures, strict=True)):
            row_labels = map(Text, labels) if index == 0 else [""] * len(labels)
            last = index == len(FIGURES) - 1
            interval_text = Text(interval, style="dim")
            table.add_row(*row_labels, FIGURE_LABELS[name], ours, interval_text, paper, ratio, end_section=last)
    return table


def _table(*heads: str, title: str | None = None, left: int = 0) -> Table:
    """Return an empty table; the first `left` columns are left-aligned, the others right-aligned."""
    table = Table(title=title, title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < left else "right", no_wrap=True)
    return table
