"""The charts of the page Leaderboard: security curves, and local optimality against passes."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from eadbench.dashboards.charts import Layers
from eadbench.dashboards.style import encodings, legend_columns
from eadbench.harness.labels import norm_label
from eadbench.harness.styles import Style

__all__ = ["against_passes", "security"]

_HEIGHT = 330
_LEGEND_ROW = 24


def security(points: pd.DataFrame, norm: str, series: Mapping[str, Style]) -> Layers:
    """Draw ρ(ε) of each series (columns `series`, `distance`, `share`)."""
    channels = encodings(series)
    tooltip = [
        alt.Tooltip("series", title="attack"),
        alt.Tooltip("distance", title=norm_label(norm), format=".4~g"),
        alt.Tooltip("share", title="not broken, %", format=".1f"),
    ]
    x = alt.X("distance:Q", title=f"ε, {norm_label(norm)}", scale=alt.Scale(nice=False))
    y = alt.Y("share:Q", title="robust accuracy ρ(ε), %", scale=alt.Scale(domain=[0, 100]))
    base = alt.Chart(points).transform_calculate(dashes="datum.series")
    line = base.mark_line(strokeWidth=2, interpolate="step-after").encode(
        x=x, y=y, color=channels["color"], strokeDash=channels["strokeDash"], tooltip=tooltip
    )
    marks = base.mark_point(opacity=0).encode(x=x, y=y, color=channels["color"], shape=channels["shape"])
    return _with_legend(alt.layer(line, marks), series)


def against_passes(points: pd.DataFrame, series: Mapping[str, Style]) -> Layers:
    """Draw local optimality over the passes of an example (columns `series`, `passes`, `lo`)."""
    channels = encodings(series)
    tooltip = [
        alt.Tooltip("series", title="attack"),
        alt.Tooltip("passes", title="passes", format=",.0f"),
        alt.Tooltip("lo", title="local optimality", format=".3f"),
    ]
    x = alt.X(
        "passes:Q",
        title="passes an example",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=alt.Axis(format="~s", tickCount=5, grid=False),
    )
    y = alt.Y("lo:Q", title="local optimality", scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(points).transform_calculate(dashes="datum.series")
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=channels["color"], strokeDash=channels["strokeDash"])
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, y=y, color=channels["color"], shape=channels["shape"], tooltip=tooltip
    )
    return _with_legend(alt.layer(line, marks), series)


def _with_legend(chart: Layers, series: Mapping[str, Style]) -> Layers:
    """Give all layers one legend, and make room for it."""
    shared: Layers = chart.resolve_scale(color="shared", shape="shared")
    return shared.properties(height=_HEIGHT + _LEGEND_ROW * -(-len(series) // legend_columns(series)))
