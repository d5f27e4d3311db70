"""Robust accuracy as text: for a terminal, in Markdown, LaTeX and CSV."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Group

from eadbench.harness.analysis.robust import Robustness
from eadbench.harness.errors import UserError
from eadbench.harness.numbers import NO_VALUE, rate_text
from eadbench.harness.reporting.tables import grid
from eadbench.harness.reporting.tables.grid import Grid
from eadbench.harness.reporting.tables.pages import Figure

__all__ = ["HEADS", "MEANING", "frame", "notes", "render", "terminal", "texts"]

HEADS = ("victim", "attack", "clean", "all", "correct", "images", "passes")
MEANING = (
    "clean: accuracy without an attack. all: robust accuracy over all images, where a clean error counts as broken: "
    "clean accuracy times the next figure. correct: the share of correctly classified images, those attacked, that the "
    "attack does not break within ε. All in percent, with 95 % intervals in brackets. passes: forward and "
    "backward passes of an image."
)


def texts(table: Robustness) -> list[list[str]]:
    """Return the lines of a table under :data:`HEADS`."""
    return [
        [
            str(line["victim"]),
            str(line["attack"]),
            rate_text(line["accuracy"]),
            *(_rate(line, name) for name in ("all", "correct")),
            f"{line['images']:,}",
            NO_VALUE if np.isnan(line["passes"]) else f"{line['passes']:,.0f}",
        ]
        for line in table.lines.to_dict("records")
    ]


def notes(table: Robustness) -> list[str]:
    """Return which images are left out."""
    return [
        f"{victim}: {count} more image{'' if count == 1 else 's'} that some attack has no row of."
        for victim, count in table.left_out.items()
        if count
    ]


def terminal(tables: Sequence[Robustness]) -> Group:
    """Render tables for a terminal."""
    return Group(*map(grid.terminal, _grids(tables)))


def render(tables: Sequence[Robustness], format: str) -> str:
    """Render tables as ``markdown``, ``latex`` or ``csv`` (a line per ε, victim and attack)."""
    if format == "csv":
        return str(frame(tables).to_csv(index=False, lineterminator="\n"))
    if format not in ("markdown", "latex"):
        raise UserError(f"format: must be one of markdown, csv, latex, not {format!r}")
    return "\n".join(grid.text(each, format) for each in _grids(tables))


def frame(tables: Sequence[Robustness]) -> pd.DataFrame:
    """Return a line for each ε, victim and attack, with the ends of the intervals."""
    parts = [
        table.lines.assign(dataset=table.dataset, split=table.split, norm=table.norm, epsilon=table.epsilon)
        for table in tables
    ]
    first = ["dataset", "split", "norm", "epsilon", "victim", "attack", "accuracy"]
    figures = [name + end for name in ("all", "correct") for end in ("", "_lo", "_hi")]
    return pd.concat(parts, ignore_index=True)[[*first, *figures, "images", "passes", "model", "cell"]]


def _grids(tables: Sequence[Robustness]) -> list[Grid]:
    """Return the tables; the last one says what the columns mean."""
    return [
        Grid(
            title=table.title,
            heads=HEADS,
            lines=[[Figure(text, False) for text in line] for line in texts(table)],
            notes=[*notes(table), *([MEANING] if table is tables[-1] else [])],
        )
        for table in tables
    ]


def _rate(line: Mapping[Any, Any], name: str) -> str:
    """Return a rate with its interval: ``57 [35.8, 74.2]``."""
    value, *ends = (rate_text(line[name + end]) for end in ("", "_lo", "_hi"))
    return value if NO_VALUE in ends else f"{value} [{', '.join(ends)}]"
