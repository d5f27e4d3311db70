"""A table of texts with one line of heads, for a terminal, in Markdown or in LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eadbench.harness.numbers import NO_VALUE
from eadbench.harness.reporting.tables import latex
from eadbench.harness.reporting.tables.markdown import escape
from eadbench.harness.reporting.tables.pages import Figure

__all__ = ["Grid", "terminal", "text"]

_POWER = re.compile(r"\d+(\.\d+)?e-?\d+")


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table. The figures that are the best of their column or line stand out."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[Figure]]
    notes: Sequence[str] = ()

    def transposed(self, head: str) -> "Grid":
        """Return the same table with lines for columns, and `head` above its first column."""
        heads = [Figure(text, False) for text in self.heads]
        first, *lines = (list(column) for column in zip(heads, *self.lines, strict=True))
        names = [figure.text for figure in first[1:]]
        return Grid(title=self.title, heads=[head, *names], lines=lines, notes=self.notes)


def terminal(grid: Grid) -> Group:
    """Render a table for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(grid.heads):
        is_right = index and head != "attack"
        table.add_column(Text(head), justify="right" if is_right else "left", overflow="fold")
    for line in grid.lines:
        table.add_row(*(Text(figure.text, style="bold" if figure.best else "") for figure in line))
    return Group(Text(grid.title, style="italic"), table, *(Text(note, style="dim") for note in grid.notes), Text())


def text(grid: Grid, format: str) -> str:
    """Render a table as ``markdown`` or ``latex`` (needs the package booktabs)."""
    return _markdown(grid) if format == "markdown" else _latex(grid)


def _markdown(grid: Grid) -> str:
    lines = [[f"**{escape(each.text)}**" if each.best else escape(each.text) for each in line] for line in grid.lines]
    rows = [[escape(head) for head in grid.heads], [":--", *["--:"] * (len(grid.heads) - 1)], *lines]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"**{escape(grid.title)}**\n\n{table}" + "".join(f"\n{escape(note)}\n" for note in grid.notes)


def _latex(grid: Grid) -> str:
    lines = [
        [rf"\textbf{{{_tex(each.text)}}}" if each.best else _tex(each.text) for each in line] for line in grid.lines
    ]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"\caption{{{_tex(grid.title)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(grid.heads) - 1)}}}",
            r"\toprule",
            rf"{' & '.join(map(_tex, grid.heads))} \\",
            r"\midrule",
            *(rf"{' & '.join(line)} \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par {_tex(note)}" for note in grid.notes),
            r"\end{table}",
            "",
        ]
    )


def _tex(content: str) -> str:
    if _POWER.fullmatch(content):
        return latex.power_of_ten(content)
    escaped = latex.symbols(latex.escape(content)).replace(NO_VALUE, "N.A.").replace("·", r"$\cdot$")
    return escaped.replace("<", "$<$").replace(">", "$>$")
