"""The explorer's charts, drawn from prepared frames in Streamlit's theme."""

import math
from collections.abc import Mapping
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from eadbench.dashboards.style import encodings, legend_columns
from eadbench.harness.styles import Style

AXES = {"beta": "regularisation β", "kappa": "confidence κ", "temperature": "temperature T"}
FIGURES = {"asr": "ASR, %", "l1": "L1 distortion", "l2": "L2 distortion", "linf": "L∞ distortion"}
Layers = alt.LayerChart | alt.FacetChart
"""Altair's type of a chart with several layers."""

_HEIGHT = 330
_LEGEND_ROW = 24
_POWER = "datum.value == 0 ? '0' : datum.value < 0.1 ? format(datum.value, '~e') : format(datum.value, '~g')"
_FEW = 4
"""Series of more than so many have fainter bands, which lie over each other."""
_LINEAR_SPAN = 10
"""A distortion that spans more than this factor gets a logarithmic scale."""


def over_axis(
    points: pd.DataFrame, references: pd.DataFrame, axis: str, figure: str, series: Mapping[str, Style]
) -> Layers:
    """Draw a line for each series, with its intervals as a band, and a horizontal one for each reference.

    Parameters
    ----------
    points
        The columns `series`, the axis, and the figure, also with _lo and _hi.
    references
        Series that have no value on the axis: the same columns without it.
    """
    x = alt.X(f"{axis}:Q", title=AXES[axis], scale=_x_scale(points[axis], axis), axis=_x_axis(points[axis], axis))
    y = _y(pd.concat([points, references]), figure)
    channels = encodings(series)
    ends = [alt.Tooltip(f"{figure}_{end}", title=title, format=".4~g") for end, title in (("lo", "from"), ("hi", "to"))]
    value = alt.Tooltip(figure, title=FIGURES[figure], format=".4~g")
    tooltip = [alt.Tooltip("series", title="attack"), alt.Tooltip(axis, title=AXES[axis]), value, *ends]
    base = _dashed(alt.Chart(points.dropna(subset=[figure])))
    low_to_high = {"x": x, "y": alt.Y(f"{figure}_lo:Q", title=FIGURES[figure]), "y2": f"{figure}_hi:Q"}
    band = base.mark_area(opacity=0.15 if len(series) <= _FEW else 0.06).encode(**low_to_high, color=channels["color"])
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=channels["color"], strokeDash=channels["strokeDash"])
    marks = base.mark_point(filled=True, size=55, opacity=1).encode(
        x=x, y=y, color=channels["color"], shape=channels["shape"], tooltip=tooltip
    )
    level = _dashed(alt.Chart(references.dropna(subset=[figure]))).mark_rule(strokeWidth=1.5, opacity=0.9)
    levels = level.encode(
        y=y,
        color=channels["color"],
        strokeDash=channels["strokeDash"],
        tooltip=[alt.Tooltip("series", title="attack"), value, *ends],
    )
    return _sized(alt.layer(band, levels, line, marks), series)


def broken_within(steps: pd.DataFrame, figure: str, series: Mapping[str, Style]) -> Layers:
    """Draw the share of examples (`share`, in percent) broken within a distortion (`distortion`), a line per series."""
    channels = encodings(series)
    x = alt.X("distortion:Q", title=f"{FIGURES[figure]} at most")
    y = alt.Y("share:Q", title="examples broken, %", scale=alt.Scale(domain=[0, 100]))
    base = _dashed(alt.Chart(steps))
    line = base.mark_line(strokeWidth=2, interpolate="step-after").encode(
        x=x, y=y, color=channels["color"], strokeDash=channels["strokeDash"]
    )
    tooltip = [
        alt.Tooltip("series", title="attack"),
        alt.Tooltip("distortion", title=FIGURES[figure], format=".4~g"),
        alt.Tooltip("share", title="broken, %", format=".1f"),
    ]
    ends = base.transform_filter("datum.last").mark_point(filled=True, size=70, opacity=1)
    marks = ends.encode(x=x, y=y, color=channels["color"], shape=channels["shape"], tooltip=tooltip)
    return _sized(alt.layer(line, marks), series)


def against_cost(points: pd.DataFrame, figure: str, series: Mapping[str, Style]) -> Layers:
    """Draw a point for each setting: mean distortion over the gradient evaluations per example."""
    channels = encodings(series)
    x = alt.X(
        "evaluations:Q",
        title="gradient evaluations an example, mean",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=alt.Axis(format="~s", tickCount=5, grid=False),
    )
    y = _y(points, figure)
    tooltip = [
        alt.Tooltip("setting", title="attack"),
        alt.Tooltip("evaluations", title="gradient evaluations", format=",.0f"),
        alt.Tooltip(figure, title=FIGURES[figure], format=".4~g"),
        alt.Tooltip("asr", title="ASR, %", format=".1f"),
    ]
    base = alt.Chart(points.dropna(subset=[figure]))
    bars = base.mark_rule(opacity=0.6).encode(
        x=x, y=alt.Y(f"{figure}_lo:Q", title=FIGURES[figure]), y2=f"{figure}_hi:Q", color=channels["color"]
    )
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=x, y=y, color=channels["color"], shape=channels["shape"], tooltip=tooltip
    )
    return _sized(alt.layer(bars, marks), series)


def over_time(points: pd.DataFrame) -> Layers:
    """Draw the examples done (`examples`) over the time (`ended`)."""
    span = points["ended"].max() - points["ended"].min()
    short, day = span < pd.Timedelta(minutes=5), span < pd.Timedelta(days=1)
    pattern = "%H:%M:%S" if short else "%H:%M" if day else "%d %b, %H:%M"
    x = alt.X("ended:T", title=None, axis=alt.Axis(format=pattern, tickCount=6, labelOverlap=True))
    y = alt.Y("examples:Q", title="examples done")
    # Milliseconds: pyarrow warns of every column with a time zone (pandas 3.1).
    milliseconds = (points["ended"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(milliseconds=1)
    base = alt.Chart(points.assign(ended=milliseconds))
    area = base.mark_area(opacity=0.2, interpolate="step-after", color="#0072B2").encode(x=x, y=y)
    line = base.mark_line(interpolate="step-after", color="#0072B2").encode(x=x, y=y)
    return alt.layer(area, line).properties(height=220)


def _sized(chart: Layers, series: Mapping[str, Style]) -> Layers:
    """Give all layers one legend, and make room for it."""
    shared: Layers = chart.resolve_scale(color="shared", shape="shared")
    return shared.properties(height=_HEIGHT + _LEGEND_ROW * -(-len(series) // legend_columns(series)))


def _dashed(chart: alt.Chart) -> alt.Chart:
    """Add a separate field for dashes; with `series` itself, the legend would draw its marks dashed."""
    return chart.transform_calculate(dashes="datum.series")


def _x_scale(values: pd.Series, axis: str) -> alt.Scale:
    """Return the scale from the least to the greatest value: logarithmic for β and T, with 0 left of the least."""
    options: dict[str, Any] = {"domain": [values.min(), values.max()], "nice": False, "padding": 12}
    if axis == "kappa":
        return alt.Scale(**options)
    if (values == 0).any():
        return alt.Scale(type="symlog", constant=float(values[values > 0].min()), **options)
    return alt.Scale(type="log", **options)


def _x_axis(values: pd.Series, axis: str) -> alt.Axis:
    """Return an axis with a tick at each value."""
    options: dict[str, Any] = {"labelExpr": _POWER} if axis == "beta" else {}
    return alt.Axis(values=sorted(values.unique().tolist()), labelOverlap=True, grid=False, **options)


def _y(points: pd.DataFrame, figure: str) -> alt.Y:
    name = f"{figure}:Q"
    if figure == "asr":
        return alt.Y(name, title=FIGURES[figure], scale=alt.Scale(domain=[0, 100]))
    shown = points[[figure, f"{figure}_lo", f"{figure}_hi"]].to_numpy(dtype="float64")
    least, greatest = shown[shown > 0].min(initial=np.inf), shown.max(initial=0, where=shown > 0)
    if greatest > _LINEAR_SPAN * least:
        scale = alt.Scale(type="log", domain=[least, greatest], nice=False, padding=8)
        return alt.Y(name, title=FIGURES[figure], scale=scale, axis=alt.Axis(values=_ticks(least, greatest)))
    return alt.Y(name, title=FIGURES[figure], scale=alt.Scale(zero=False, nice=True))


def _ticks(least: float, greatest: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten between the least and the greatest value."""
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
    return [tick for power in powers for step in (1, 2, 5) if least <= (tick := step * 10.0**power) <= greatest]
