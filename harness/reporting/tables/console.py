"""Tables of a summary for a terminal of any width."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.pages import HEADS, Line, Page, pages

__all__ = ["terminal"]


def terminal(summary: pd.DataFrame, victims: Sequence[Victim] = (), *, width: int) -> Group:
    """Render a summary for a terminal of ``width`` columns; ``victims`` label the tables.

    If the width allows, the cases stand side by side as in the paper, and the mean over all targets beside them. In a
    narrow terminal, they stand below each other.
    """
    unlimited = Console(width=10_000)
    parts: list[Text | Table] = []
    for page in pages(summary, victims):
        groups = list(page.heads)
        choices = (_side_by_side(page, groups), _side_by_side(page, _cases(page)), _stacked(page))
        fitting = (table for table in choices if unlimited.measure(table).maximum <= width)
        parts += [Text(page.title, style="italic"), next(fitting, choices[-1])]
        parts += [*(Text(note, style="dim") for note in page.notes), Text()]
    return Group(*parts)


def _side_by_side(page: Page, groups: Sequence[str]) -> Table:
    """Return one line per attack; each group is a table of its own, which gives it a heading and a rule."""
    labels = _table("attack", *(HEADS.get(name, name) for name in page.parameters), title=" ")
    for line in page.lines:
        labels.add_row(Text(line.attack), *line.parameters)
    tables = [labels]
    for group in groups:
        tables.append(_table(*(HEADS[figure] for figure in FIGURES), title=page.heads[group]))
        for line in page.lines:
            tables[-1].add_row(*_cells(line, group))
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*tables)
    return grid


def _stacked(page: Page) -> Table:
    """Return one line per attack and case, for narrow terminals."""
    cases = _cases(page)
    names = ("attack", *(["case"] if len(cases) > 1 else []))
    table = _table(*names, *(HEADS.get(name, name) for name in (*page.parameters, *FIGURES)), wrap=True)
    for line in page.lines:
        for case in cases:
            labels = {"attack": line.attack, "case": case, **dict(zip(page.parameters, line.parameters, strict=True))}
            shown = [labels[name] if name == "case" or case == cases[0] else "" for name in (*names, *page.parameters)]
            table.add_row(*map(Text, shown), *_cells(line, case), end_section=case == cases[-1] and len(cases) > 1)
    return table


def _cases(page: Page) -> list[str]:
    """Return the groups without the mean over all targets."""
    return [group for group in page.heads if group != "all_targets"]


def _table(*heads: str, title: str | None = None, wrap: bool = False) -> Table:
    """Return an empty table. With `wrap`, long attacks take several lines, so that no figure is cut."""
    table = Table(title=title, title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for head in heads:
        left = head in ("attack", "case")
        table.add_column(head, justify="left" if left else "right", no_wrap=not (wrap and head == "attack"))
    return table


def _cells(line: Line, group: str) -> list[Text]:
    return [Text(figure.text, style="bold" if figure.best else "") for figure in line.figures[group]]
