"""The chart of the page Detectors: true positives over false positives."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from eadbench.dashboards.charts import Layers
from eadbench.dashboards.style import encodings, legend_columns
from eadbench.harness.styles import Style

__all__ = ["roc_chart"]

_HEIGHT = 380
_LEGEND_ROW = 24
_FAINTEST = 0.35


def roc_chart(points: pd.DataFrame, series: Mapping[str, Style]) -> Layers:
    """Draw the ROC curve of each cell; curves of a greater κ are darker.

    Parameters
    ----------
    points
        Columns `cell`, `series` (its label), `kappa` (NaN without one), `false` and `true`, both in percent.
    """
    channels = encodings(series)
    kappas = sorted(points["kappa"].dropna().unique())
    shades = [_FAINTEST + (1 - _FAINTEST) * (at + 1) / len(kappas) for at in range(len(kappas))]
    darker = {"opacity": alt.Opacity("kappa:O", title="κ", scale=alt.Scale(domain=kappas, range=shades))}
    x = alt.X("false:Q", title="false positives, %", scale=alt.Scale(domain=[0, 100]))
    y = alt.Y("true:Q", title="true positives, %", scale=alt.Scale(domain=[0, 100]))
    curves = (
        alt.Chart(points)
        .transform_calculate(dashes="datum.series")
        .mark_line(strokeWidth=2, interpolate="step-after")
        .encode(
            x=x,
            y=y,
            detail="cell:N",
            order="false:Q",
            color=channels["color"],
            strokeDash=channels["strokeDash"],
            tooltip=[alt.Tooltip("series", title="attack"), alt.Tooltip("kappa", title="κ")],
            **(darker if len(kappas) > 1 else {}),
        )
    )
    chance = alt.Chart(pd.DataFrame({"false": [0, 100], "true": [0, 100]})).mark_line(color="#b0b0b0", strokeWidth=1)
    layers: Layers = alt.layer(chance.encode(x=x, y=y), curves)
    return layers.properties(height=_HEIGHT + _LEGEND_ROW * -(-len(series) // legend_columns(series)))
