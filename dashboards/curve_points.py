"""The points of the explorer's curves: figures over an axis, and the examples of a setting."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eadbench.dashboards.figures_table import figures_of
from eadbench.harness.labels import AXES, family_of

__all__ = ["axes_of", "broken_within", "costs", "over"]

_STEP_LIMIT = 400
"""Steps of a line of :func:`broken_within`: more than a chart has pixels to show."""


def axes_of(lines: pd.DataFrame) -> list[str]:
    """Return the axes on which an attack has several values, for one victim or, for the temperature, across victims."""
    own = lines[lines["model"] == lines["evaluated_on"]]
    own = own.assign(family=family_of(own))
    axes = []
    for axis in AXES:
        victim = ["dataset", "family"] if axis == "temperature" else ["model"]
        groups = own.dropna(subset=[axis]).groupby([*victim, "series"])[axis]
        if len(groups) and (groups.nunique() > 1).any():
            axes.append(axis)
    return axes


def over(lines: pd.DataFrame, labels: "pd.Series[str]", axis: str, group: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the figures of lines over an axis, of one case or of all targets.

    Parameters
    ----------
    labels
        The label of each line's curve.

    Returns
    -------
    Two DataFrames with `series` and the figures with _lo and _hi: of the lines with a value on the axis, which is a
    column and the order; and of the others.
    """
    first = lines.drop_duplicates(["cell", "evaluated_on"])
    figures = figures_of(lines, group).reset_index(drop=True)
    points = figures.assign(series=labels.loc[first.index].to_numpy(), **{axis: first[axis].to_numpy()})
    with_value = points[axis].notna()
    on_axis = points[with_value].sort_values(["series", axis], kind="stable", ignore_index=True)
    return on_axis, points[~with_value].drop(columns=axis).reset_index(drop=True)


def broken_within(success: pd.Series, distortion: pd.Series) -> pd.DataFrame:
    """Return the share of examples that an attack breaks within a distortion.

    Returns
    -------
    DataFrame with `distortion`, ascending from 0; `share` in percent of all examples, failed ones included; and
    `last`, true in the last row.
    """
    distortions = np.sort(distortion[success].to_numpy(dtype=np.float64))
    share = 100.0 * np.arange(1, len(distortions) + 1) / max(1, len(success))
    if len(distortions) > _STEP_LIMIT:
        keep = np.unique(np.linspace(0, len(distortions) - 1, _STEP_LIMIT).round().astype(np.int64))
        distortions, share = distortions[keep], share[keep]
    steps = pd.DataFrame({"distortion": np.append(0.0, distortions), "share": np.append(0.0, share)})
    return steps.assign(last=np.arange(len(steps)) == len(steps) - 1)


def costs(rows: pd.DataFrame, lines: Sequence[int]) -> pd.Series:
    """Return the mean number of gradient evaluations per example of each line."""
    means = rows.groupby("line")["iterations"].mean()
    return means.reindex(list(lines)).astype("float64")
