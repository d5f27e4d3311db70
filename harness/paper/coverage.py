"""Where a sweep stands in the paper: which of its tables have the settings of the cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eadbench.harness.paper.comparison import compare
from eadbench.harness.paper.published import published, same_setting
from eadbench.harness.plan.grid import Victim


@dataclass(frozen=True, kw_only=True)
class Places:
    """The paper's tables that have a sweep's settings; with what effort and on how many images is not looked at.

    Attributes
    ----------
    cells
        By a cell's digest, every table that prints a figure of its setting.
    sweep
        The tables of which every line has a cell.
    """

    cells: Mapping[str, Sequence[int]]
    sweep: Sequence[int]


def places(summary: pd.DataFrame, victims: Sequence[Victim]) -> Places:
    """Find the tables for the summary of a targeted sweep."""
    ours, paper = compare(summary, victims), published()
    cells = {str(cell): _tables(lines) for cell, lines in ours.groupby("cell", sort=False)}
    had, settings = set(same_setting(ours)), same_setting(paper)
    lacking = _tables(paper[~settings.isin(had)])
    return Places(cells=cells, sweep=[table for table in _tables(paper) if table not in lacking])


def _tables(lines: pd.DataFrame) -> list[int]:
    """The numbers of the tables that print any of the lines."""
    return sorted({int(number) for printed in lines["table"] for number in printed.split(", ")})
