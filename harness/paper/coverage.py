"""Which of the paper's tables a sweep reproduces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eadbench.harness.paper.comparison import compare
from eadbench.harness.paper.published import published, same_setting
from eadbench.harness.plan.grid import Victim


@dataclass(frozen=True, kw_only=True)
class Places:
    """The paper's tables with a sweep's settings, whatever its number of images and iterations.

    Attributes
    ----------
    cells
        The tables that print a figure of a cell's setting, by the cell's digest.
    sweep
        The tables with a cell for every line.
    """

    cells: Mapping[str, Sequence[int]]
    sweep: Sequence[int]


def places(summary: pd.DataFrame, victims: Sequence[Victim]) -> Places:
    """Find the tables that have the settings of a targeted sweep's summary."""
    ours, paper = compare(summary, victims), published()
    cells = {str(cell): _tables(lines) for cell, lines in ours.groupby("cell", sort=False)}
    covered = same_setting(paper).isin(set(same_setting(ours)))
    incomplete = _tables(paper[~covered])
    return Places(cells=cells, sweep=[table for table in _tables(paper) if table not in incomplete])


def _tables(lines: pd.DataFrame) -> list[int]:
    """Return the numbers of the tables that print any of the lines."""
    return sorted({int(number) for numbers in lines["table"] for number in numbers.split(", ")})
