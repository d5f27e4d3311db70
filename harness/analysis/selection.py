"""Which lines of a summary a report shows, and in which order."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from pandas.errors import UndefinedVariableError

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.errors import UserError
from eadbench.harness.messages import one_line
from eadbench.harness.registry import ATTACKS

__all__ = ["selected"]

_LINE = ["cell", "evaluated_on"]
_TABLE = ["table", "dataset", "model", "evaluated_on"]
CASE = "average"
"""The case whose figures a condition and an order are about."""


def selected(summary: Summary, *, only: str | None, sort: str | None) -> Summary:
    """Return a summary with some of its lines, each table in the order of a column.

    Parameters
    ----------
    only
        A condition on the columns of the tidy CSV, such as ``attack == "ead" and beta < 0.1 and asr == 100``; figures
        are those of the average case. If it holds for no attack by its name, attacks have their labels: "EAD".
    sort
        A column, ascending; descending with a minus before it. Lines without a value come last.

    Raises
    ------
    UserError
        The condition is none, names an unknown column, or holds for no line; or there is no such column.
    """
    lines = summary.lines[summary.lines["case"] == CASE].assign(
        label=lambda each: each["series"].map(summary.labels.series)
    )
    if only is not None:
        lines = _matching(lines, only)
    if sort is not None:
        lines = _sorted(lines, sort)
    keys = pd.MultiIndex.from_frame(lines[_LINE])
    place = pd.Series(range(len(keys)), index=keys)
    every = pd.MultiIndex.from_frame(summary.lines[_LINE])
    kept = summary.lines[every.isin(keys)]
    order = place.loc[every[every.isin(keys)]].to_numpy()
    counts = summary.counts
    if counts is not None:
        counts = counts[pd.MultiIndex.from_frame(counts[_LINE]).isin(keys)]
    robust = summary.robust
    if only is not None:
        robust = [table for each in robust if len((table := each.of_cells(set(kept["cell"]))).lines)]
    return replace(summary, lines=kept.iloc[order.argsort(kind="stable")], counts=counts, robust=robust)


def _matching(lines: pd.DataFrame, only: str) -> pd.DataFrame:
    """Return the lines for which a condition holds."""
    holds = _holds(lines, only)
    if not holds.any():
        holds = _holds(lines.assign(attack=lines["attack"].map(ATTACKS.label)), only)
    if not holds.any():
        attacks = ", ".join(sorted(set(lines["attack"])))
        raise UserError(f"--only {only}: holds for no line; attacks are {attacks}")
    return lines[holds]


def _holds(lines: pd.DataFrame, only: str) -> "pd.Series[bool]":
    """Return whether a condition holds for each line."""
    try:
        holds = lines.eval(only, engine="python")
    except UndefinedVariableError as error:
        raise UserError(f"--only {only}: {one_line(error)}; columns are {_names(lines.columns)}") from error
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError, NotImplementedError) as error:
        reason = one_line(f"{type(error).__name__}: {error}")
        raise UserError(
            f"--only {only}: must be a condition such as 'attack == \"ead\" and beta < 0.1' ({reason})"
        ) from error
    if not isinstance(holds, pd.Series) or holds.dtype != bool:
        raise UserError(f"--only {only}: must be a condition, such as 'attack == \"ead\" and beta < 0.1'")
    return holds


def _sorted(lines: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Return the lines in the order of a column, table by table."""
    column = sort.removeprefix("-")
    if column not in lines:
        raise UserError(f"--sort {sort}: must be one of the columns {_names(lines.columns)}")
    table = lines.groupby(_TABLE, sort=False).ngroup()
    ordered = lines.assign(_table=table.to_numpy())
    ordered = ordered.sort_values(column, ascending=not sort.startswith("-"), kind="stable")
    return ordered.sort_values("_table", kind="stable").drop(columns="_table")


def _names(columns: Sequence[str] | pd.Index) -> str:
    return ", ".join(name for name in columns if not name.endswith(("_lo", "_hi")))
