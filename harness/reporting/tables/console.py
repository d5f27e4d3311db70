"""Tables of a summary for a terminal of any width."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from operator import not_

import pandas as pd
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.layout import PARAMETERS
from eadbench.harness.reporting.tables.pages import HEADS, Line, Page, group_of_one_case, pages

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
        wide = (_side_by_side(page, groups), _side_by_side(page, _cases(page)))
        stacked = _stacked(page)
        if unlimited.measure(stacked).minimum > width:
            stacked = _stacked(_folded(page))
        fitting = (table for table in wide if unlimited.measure(table).maximum <= width)
        parts += [Text(page.title, style="italic"), next(fitting, stacked)]
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
            tables[-1].add_row(*_cells(line, group, groups))
    grid = Table.grid(padding=(0, 3, 0, 0))
    grid.add_row(*tables)
    return grid


def _stacked(page: Page) -> Table:
    """Return one line per attack and case, for narrow terminals."""
    cases = _cases(page)
    names = ("attack", *(["case"] if len(cases) > 1 else []))
    table = _table(*names, *(HEADS.get(name, name) for name in (*page.parameters, *FIGURES)), wrap=True)
    for line in page.lines:
        of_line = cases if line.one_case is None else [group_of_one_case(cases)]
        for case in of_line:
            labels = {"attack": line.attack, "case": line.one_case or case}
            if line.one_case in line.parameters:
                labels["case"] = ""
            labels |= dict(zip(page.parameters, line.parameters, strict=True))
            first, last = case == of_line[0], case == of_line[-1]
            shown = [labels[name] if name == "case" or first else "" for name in (*names, *page.parameters)]
            table.add_row(*map(Text, shown), *_cells(line, case, of_line), end_section=last and len(cases) > 1)
    return table


def _folded(page: Page) -> Page:
    """Return a page whose attacks have their hyperparameters, but for β and κ, in their names and not in columns."""
    kept = tuple(name in PARAMETERS for name in page.parameters)
    lines = [
        replace(
            line,
            attack=", ".join([line.attack, *(text for text in compress(line.parameters, map(not_, kept)) if text)]),
            parameters=tuple(compress(line.parameters, kept)),
        )
        for line in page.lines
    ]
    return replace(page, parameters=tuple(compress(page.parameters, kept)), lines=tuple(lines))


def _cases(page: Page) -> list[str]:
    """Return the groups without the mean over all targets."""
    return [group for group in page.heads if group != "all_targets"]


def _table(*heads: str, title: str | None = None, wrap: bool = False) -> Table:
    """Return an empty table. With `wrap`, long attacks take several lines, so that no figure is cut."""
    table = Table(title=title, title_style="", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for head in heads:
        left = head in ("attack", "case")
        wraps = wrap and head == "attack"
        table.add_column(head, justify="left" if left else "right", no_wrap=not wraps, min_width=8 if wraps else None)
    return table


def _cells(line: Line, group: str, groups: Sequence[str]) -> list[Text]:
    return [Text(figure.text, style="bold" if figure.best else "") for figure in line.cells(group, groups)]
