"""What curves are drawn from: lines of the summary over an axis, and the examples of a setting."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from eadbench.dashboards.table import figures_of

__all__ = ["AXES", "axes_of", "broken_within", "costs", "figures_of", "over"]

AXES = ("beta", "kappa", "temperature")
_MOST_STEPS = 400
"""Of a line of :func:`broken_within`: more than a chart has pixels to show."""
_FAMILY = ["dataset", "arch", "defense"]


def axes_of(summary: pd.DataFrame) -> list[str]:
    """The axes of which some attack has several values on one victim, or over victims for the temperature."""
    own = summary[summary["model"] == summary["evaluated_on"]]
    found = []
    for axis in AXES:
        victim = _FAMILY if axis == "temperature" else ["model"]
        groups = own.dropna(subset=[axis]).groupby([*victim, "attack", "decision_rule"])[axis]
        if len(groups) and (groups.nunique() > 1).any():
            found.append(axis)
    return found


def over(lines: pd.DataFrame, texts: pd.DataFrame, axis: str, group: str) -> pd.DataFrame:
    """The figures of lines over an axis, of one case or of all targets.

    Returns
    -------
    DataFrame with `series`, the axis, and the figures with _lo and _hi, in the order of the axis.
    """
    had = lines[lines[axis].notna()]
    first = had.drop_duplicates(["cell", "evaluated_on"])
    figures = figures_of(had, group).reset_index(drop=True)
    points = figures.assign(series=texts.loc[first.index, "series"].to_numpy(), **{axis: first[axis].to_numpy()})
    return points.sort_values(["series", axis], kind="stable", ignore_index=True)


def broken_within(success: pd.Series, distortion: pd.Series) -> pd.DataFrame:
    """The share of examples that an attack breaks within a distortion.

    Returns
    -------
    DataFrame with `distortion`, ascending from 0, `share` in percent of all examples, of which those that failed are
    never broken, and `last`, true in the last row.
    """
    found = np.sort(distortion[success].to_numpy(dtype=np.float64))
    share = 100.0 * np.arange(1, len(found) + 1) / max(1, len(success))
    if len(found) > _MOST_STEPS:
        keep = np.unique(np.linspace(0, len(found) - 1, _MOST_STEPS).round().astype(np.int64))
        found, share = found[keep], share[keep]
    steps = pd.DataFrame({"distortion": np.append(0.0, found), "share": np.append(0.0, share)})
    return steps.assign(last=np.arange(len(steps)) == len(steps) - 1)


def costs(rows: pd.DataFrame, lines: Sequence[int]) -> pd.Series:
    """The mean of the gradient evaluations that an example of each line took."""
    means = rows.groupby("line")["iterations"].mean()
    return means.reindex(list(lines)).astype("float64")
