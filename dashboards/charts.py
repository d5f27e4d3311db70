"""The explorer's charts, of frames that are ready to be drawn; the theme around them is Streamlit's."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from dashboards.style import encodings

AXES = {"beta": "regularisation β", "kappa": "confidence κ", "temperature": "temperature T"}
FIGURES = {"asr": "ASR, %", "l1": "L1 distortion", "l2": "L2 distortion", "linf": "L∞ distortion"}
Layers = alt.LayerChart | alt.FacetChart
"""What Altair gives for marks over each other."""

_HEIGHT = 320
_POWER = "datum.value == 0 ? '0' : datum.value < 0.1 ? format(datum.value, '~e') : format(datum.value, '~g')"
_BEYOND = 10
"""A distortion that spans more than this factor gets a logarithmic scale."""


def over_axis(points: pd.DataFrame, axis: str, figure: str, series: Sequence[str]) -> Layers:
    """A line of each series, with its intervals as a band.

    Parameters
    ----------
    points
        The columns `series`, that of the axis, and that of the figure, with _lo and _hi.
    """
    x = alt.X(f"{axis}:Q", title=AXES[axis], scale=_x_scale(points[axis], axis), axis=_x_axis(points[axis], axis))
    y = alt.Y(f"{figure}:Q", title=FIGURES[figure], scale=_y_scale(points, figure))
    look = encodings(series)
    told = [
        alt.Tooltip("series", title="attack"),
        alt.Tooltip(axis, title=AXES[axis]),
        alt.Tooltip(figure, title=FIGURES[figure], format=".4~g"),
        alt.Tooltip(f"{figure}_lo", title="from", format=".4~g"),
        alt.Tooltip(f"{figure}_hi", title="to", format=".4~g"),
    ]
    base = _dashed(alt.Chart(points.dropna(subset=[figure])))
    ends = {"x": x, "y": alt.Y(f"{figure}_lo:Q", title=FIGURES[figure]), "y2": f"{figure}_hi:Q"}
    band = base.mark_area(opacity=0.15).encode(**ends, color=look["color"])
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=look["color"], strokeDash=look["strokeDash"])
    marks = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=x, y=y, color=look["color"], shape=look["shape"], tooltip=told
    )
    return _sized(alt.layer(band, line, marks))


def broken_within(steps: pd.DataFrame, figure: str, series: Sequence[str]) -> Layers:
    """The share of examples (`share`, in percent) broken within a distortion (`distortion`), a line of each series."""
    look = encodings(series)
    x = alt.X("distortion:Q", title=f"{FIGURES[figure]} at most")
    y = alt.Y("share:Q", title="examples broken, %", scale=alt.Scale(domain=[0, 100]))
    base = _dashed(alt.Chart(steps))
    line = base.mark_line(strokeWidth=2, interpolate="step-after").encode(
        x=x, y=y, color=look["color"], strokeDash=look["strokeDash"]
    )
    told = [
        alt.Tooltip("series", title="attack"),
        alt.Tooltip("distortion", title=FIGURES[figure], format=".4~g"),
        alt.Tooltip("share", title="broken, %", format=".1f"),
    ]
    ends = base.transform_filter("datum.last").mark_point(filled=True, size=70, opacity=1)
    return _sized(alt.layer(line, ends.encode(x=x, y=y, color=look["color"], shape=look["shape"], tooltip=told)))


def against_cost(points: pd.DataFrame, figure: str, series: Sequence[str]) -> Layers:
    """A point of each setting: its mean distortion over the gradient evaluations that an example took."""
    look = encodings(series)
    x = alt.X(
        "evaluations:Q",
        title="gradient evaluations an example, mean",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=alt.Axis(format="~s", tickCount=5, grid=False),
    )
    y = alt.Y(f"{figure}:Q", title=FIGURES[figure], scale=_y_scale(points, figure))
    told = [
        alt.Tooltip("setting", title="attack"),
        alt.Tooltip("evaluations", title="gradient evaluations", format=",.0f"),
        alt.Tooltip(figure, title=FIGURES[figure], format=".4~g"),
        alt.Tooltip("asr", title="ASR, %", format=".1f"),
    ]
    base = alt.Chart(points.dropna(subset=[figure]))
    bars = base.mark_rule(opacity=0.6).encode(
        x=x, y=alt.Y(f"{figure}_lo:Q", title=FIGURES[figure]), y2=f"{figure}_hi:Q", color=look["color"]
    )
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, y=y, color=look["color"], shape=look["shape"], tooltip=told
    )
    return _sized(alt.layer(bars, marks))


def matrix(cells: pd.DataFrame, sources: Sequence[str], targets: Sequence[str]) -> Layers:
    """How often (`asr`, in percent) examples crafted on a victim (`source`) fool another (`target`)."""
    x = alt.X("target:N", title="tested on", sort=list(targets), axis=_names())
    y = alt.Y("source:N", title="crafted on", sort=list(sources), axis=_names())
    told = [
        alt.Tooltip("source", title="crafted on"),
        alt.Tooltip("target", title="tested on"),
        alt.Tooltip("asr", title="ASR, %", format=".1f"),
    ]
    base = alt.Chart(cells).encode(x=x, y=y)
    colour = alt.Color("asr:Q", scale=alt.Scale(scheme="cividis", domain=[0, 100]), legend=alt.Legend(title="ASR, %"))
    tiles = base.mark_rect(stroke="#808080", strokeWidth=0.5).encode(color=colour, tooltip=told)
    text = base.mark_text(fontSize=14, fontWeight=600).encode(
        text=alt.Text("asr:Q", format=".1~f"),
        color=alt.condition("datum.asr > 55", alt.value("#000000"), alt.value("#FFFFFF")),
        tooltip=told,
    )
    return alt.layer(tiles, text).properties(height=max(160, 70 * len(sources) + 70))


def over_time(points: pd.DataFrame) -> Layers:
    """Examples done (`examples`) over the time (`ended`)."""
    x, y = alt.X("ended:T", title=None), alt.Y("examples:Q", title="examples done")
    base = alt.Chart(points)
    area = base.mark_area(opacity=0.2, interpolate="step-after", color="#0072B2").encode(x=x, y=y)
    line = base.mark_line(interpolate="step-after", color="#0072B2").encode(x=x, y=y)
    return alt.layer(area, line).properties(height=220)


def _sized(chart: Layers) -> Layers:
    """One legend for all layers, and room for it."""
    shared: Layers = chart.resolve_scale(color="shared", shape="shared")
    return shared.properties(height=_HEIGHT)


def _dashed(chart: alt.Chart) -> alt.Chart:
    """With a field of its own for dashes, or the legend's markers would be drawn in them."""
    return chart.transform_calculate(dashes="datum.series")


def _names() -> alt.Axis:
    """Each part of a victim's name on a line of its own."""
    return alt.Axis(labelAngle=0, labelLimit=170, labelExpr="split(datum.label, ', ')", labelFlush=False)


def _x_scale(values: pd.Series, axis: str) -> alt.Scale:
    """From the least to the most; β on a logarithmic scale, where 0 stands left of the least."""
    shared: dict[str, Any] = {"domain": [values.min(), values.max()], "nice": False, "padding": 12}
    if axis != "beta":
        return alt.Scale(**shared)
    if (values == 0).any():
        return alt.Scale(type="symlog", constant=float(values[values > 0].min()), **shared)
    return alt.Scale(type="log", **shared)


def _x_axis(values: pd.Series, axis: str) -> alt.Axis:
    """The values themselves for ticks."""
    given: dict[str, Any] = {"labelExpr": _POWER} if axis == "beta" else {}
    return alt.Axis(values=sorted(values.unique().tolist()), labelOverlap=True, grid=False, **given)


def _y_scale(points: pd.DataFrame, figure: str) -> alt.Scale:
    if figure == "asr":
        return alt.Scale(domain=[0, 100])
    values = points[figure][points[figure] > 0]
    wide = len(values) > 0 and values.max() > _BEYOND * values.min()
    return alt.Scale(type="log") if wide else alt.Scale(zero=False, nice=True)
