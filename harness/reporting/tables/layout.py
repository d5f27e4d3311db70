"""Tables with some of their columns, or with lines for columns."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES, GROUPS
from eadbench.harness.errors import UserError
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.grid import Grid
from eadbench.harness.reporting.tables.pages import HEADS, Figure, Page, pages

__all__ = ["PARAMETERS", "Layout", "chosen_columns", "grids"]

PARAMETERS = ("beta", "kappa")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a table shows. A kind of column of which none is named is shown whole."""

    parameters: Sequence[str] = ()
    cases: Sequence[str] = ()
    figures: Sequence[str] = ()
    transpose: bool = False

    @classmethod
    def of(cls, columns: str | None, *, transpose: bool) -> Self | None:
        """Return the layout that options ask for: columns, separated by commas; None if they ask for none.

        Raises
        ------
        UserError
            There is no such column.
        """
        if columns is None and not transpose:
            return None
        names = [name.strip() for name in (columns or "").split(",") if name.strip()]
        known = (*PARAMETERS, *GROUPS, *FIGURES)
        if columns is not None and (not names or any(name not in known for name in names)):
            raise UserError(f"--columns {columns}: must be some of {', '.join(known)}, separated by commas")
        kinds = ([name for name in dict.fromkeys(names) if name in kind] for kind in (PARAMETERS, GROUPS, FIGURES))
        parameters, cases, figures = kinds
        return cls(parameters=parameters, cases=cases, figures=figures, transpose=transpose)


def grids(summary: pd.DataFrame, victims: Sequence[Victim], layout: Layout) -> Iterator[Grid]:
    """Yield the tables of a summary, one per victim and data set."""
    for page in pages(summary, victims):
        grid = _grid(page, layout)
        yield grid.transposed("") if layout.transpose else grid


def _grid(page: Page, layout: Layout) -> Grid:
    """Return a page with the columns of a layout."""
    own = [name for name in page.parameters if name not in PARAMETERS]  # they tell lines apart
    parameters = own + [name for name in layout.parameters or PARAMETERS if name in page.parameters]
    cases = [case for case in layout.cases if case in page.heads] or list(page.heads)
    figures = layout.figures or FIGURES
    heads = [f"{page.heads[case]}: {HEADS[figure]}" for case in cases for figure in figures]
    if len(figures) == 1:
        heads = [f"{page.heads[case]} {HEADS[figures[0]]}" for case in cases]
    elif len(cases) == 1:
        heads = [HEADS[figure] for figure in figures]
    lines = [
        [
            Figure(line.attack, False),
            *(Figure(line.parameters[page.parameters.index(name)], False) for name in parameters),
            *(line.cells(case, cases)[FIGURES.index(figure)] for case in cases for figure in figures),
        ]
        for line in page.lines
    ]
    title = page.title if len(cases) > 1 or len(page.heads) == 1 else f"{page.title}, {page.heads[cases[0]]}"
    return Grid(
        title=title,
        heads=["attack", *(HEADS.get(name, name) for name in parameters), *heads],
        lines=lines,
        notes=page.notes,
    )


def chosen_columns(csv: str, columns: str | None) -> str:
    """Return a CSV with some of its columns, in the order of their names, which commas separate.

    Raises
    ------
    UserError
        There is no such column.
    """
    if columns is None:
        return csv
    names = [name.strip() for name in columns.split(",") if name.strip()]
    frame = pd.read_csv(io.StringIO(csv), dtype=str, keep_default_na=False)
    if not names or any(name not in frame for name in names):
        raise UserError(f"--columns {columns}: must be some of {', '.join(frame.columns)}, separated by commas")
    return str(frame[names].to_csv(index=False, lineterminator="\n"))
