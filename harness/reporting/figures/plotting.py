"""Drawing: panels of summary lines side by side over one axis, with one legend below."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from eadbench.harness.numbers import parameter_text
from eadbench.harness.styles import Style

__all__ = ["PAPER", "STYLE", "Panel", "curves", "wrap"]

PAPER = "_paper"
"""The end of the name of a column with the paper's figures."""

STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7.5,
    "figure.titlesize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.8,
}
"""Settings of matplotlib for a figure as wide as a page of text."""

_AXES = {"beta": "regularisation β", "temperature": "temperature T", "kappa": "confidence κ"}
_FIGURES = {"asr": "ASR (%)", "l1": "L1 distortion", "l2": "L2 distortion", "linf": "L∞ distortion"}

# Inches.
_WIDTH_ONE_PANEL, _WIDTH = 4.2, 7.2
_PANEL_HEIGHT, _TITLE_HEIGHT, _ENTRY_HEIGHT, _HANDLE_WIDTH = 2.1, 0.45, 0.17, 0.55
_LETTERS_PER_INCH = 15
_COLUMNS = 3
_HOLLOW: Any = {"linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 0.9, "markersize": 5.5, "zorder": 4}
_MAX_TICK_LABELS = 6
_MAX_TICKS = 8
_MIN_TICK_GAP = 0.05
"""Share of the axis between two ticks."""
_DECADE = 10


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines of the summary to draw over an axis; `figure` is ``asr``, ``l1``, ``l2`` or ``linf``.

    Lines without a value on the axis are drawn as horizontal lines. The paper's figure of a line, in a column such as
    ``asr_paper``, is a hollow mark: at the line's value on the axis, or at the right end of a horizontal line.
    """

    lines: pd.DataFrame
    axis: str
    figure: str
    title: str = ""


def curves(panels: Sequence[Panel], labels: Mapping[str, str], looks: Mapping[str, Style], *, title: str) -> Figure:
    """Draw panels of one axis, three in a row, under one title and above one legend.

    Parameters
    ----------
    labels, looks
        The label and the style of every series of the sweep.
    """
    columns = min(len(panels), _COLUMNS)
    rows = ceil(len(panels) / columns)
    width = _WIDTH if columns > 1 else _WIDTH_ONE_PANEL
    present = set(pd.concat([panel.lines["series"] for panel in panels]))
    looks = {series: look for series, look in looks.items() if series in present}
    label_width = max((len(labels[series]) for series in looks), default=0) / _LETTERS_PER_INCH
    legend_columns = max(1, min(len(looks), int(width / (_HANDLE_WIDTH + label_width))))
    height = _PANEL_HEIGHT * rows + _TITLE_HEIGHT + _ENTRY_HEIGHT * ceil(len(looks) / legend_columns)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(wrap(title, width), x=0.01, ha="left")
    handles: dict[str, Artist] = {}
    marked = False
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        by_series = dict(list(panel.lines.groupby("series", sort=False)))
        for (series, lines), linewidth in zip(by_series.items(), _linewidths(panel, len(by_series)), strict=True):
            look = looks[str(series)].matplotlib | {"linewidth": linewidth}
            handles[str(series)] = _draw(axes, lines, panel, labels[str(series)], look)
            marked |= _draw_paper(axes, lines, panel, looks[str(series)].matplotlib)
        axes.set_xlabel(_AXES[panel.axis])
        axes.set_ylabel(_FIGURES[panel.figure])
        axes.set_title(wrap(panel.title, 0.85 * width / columns), loc="left")
        _scale_x(axes, panel)
        _scale_y(axes, panel, panels)
    entries = {labels[series]: handles[series] for series in looks}
    if marked:
        entries["the paper's"] = Line2D([], [], **_HOLLOW, marker="o", color="0.4")
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=legend_columns,
        frameon=False,
        handlelength=2.6,
    )
    return figure


def wrap(text: str, width: float) -> str:
    """Wrap a title into lines of at most `width` inches, never around ``=``."""
    unbroken = text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    lines = textwrap.fill(unbroken, max(1, int(width * _LETTERS_PER_INCH)), break_on_hyphens=False)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def _draw(axes: Axes, lines: pd.DataFrame, panel: Panel, name: str, style: dict[str, Any]) -> Artist:
    """Draw a series with its intervals: a curve with a band, or points with bars if they form no curve.

    Of a series without a value on the axis, draw a horizontal line.
    """
    if lines[panel.axis].isna().all():
        level = {name: style[name] for name in ("color", "linestyle")} | {"linewidth": 1.0}
        return axes.axhline(float(lines[panel.figure].iloc[0]), label=name, **level)
    lines = lines.sort_values(panel.axis, kind="stable")
    x, y, low, high = (
        lines[column].to_numpy(dtype=float)
        for column in (panel.axis, panel.figure, f"{panel.figure}_lo", f"{panel.figure}_hi")
    )
    if len(x) > 1 and lines[panel.axis].is_unique:
        axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    else:
        axes.vlines(x, low, high, color=style["color"], linewidth=0.8)
        style = style | {"linestyle": "none", "zorder": 3}
    return axes.plot(x, y, label=name, markeredgecolor="white", markeredgewidth=0.4, **style)[0]


def _draw_paper(axes: Axes, lines: pd.DataFrame, panel: Panel, style: dict[str, Any]) -> bool:
    """Draw the paper's figures of a series as hollow marks; return whether there are any."""
    column = f"{panel.figure}{PAPER}"
    if column not in lines or lines[column].isna().all():
        return False
    look = _HOLLOW | {name: style[name] for name in ("color", "marker")}
    if lines[panel.axis].isna().all():
        level = float(lines[column].iloc[0])
        axes.plot([1], [level], transform=axes.get_yaxis_transform(), clip_on=False, **look)
    else:
        axes.plot(lines[panel.axis].to_numpy(dtype=float), lines[column].to_numpy(dtype=float), **look)
    return True


def _linewidths(panel: Panel, count: int) -> list[float]:
    """Return the line widths of `count` series; for the ASR they decrease, so that equal curves all stay visible."""
    thin, thick = STYLE["lines.linewidth"], 2 * STYLE["lines.linewidth"]
    if panel.figure != "asr" or count == 1:
        return [thin] * count
    return [thick + (thin - thick) * index / (count - 1) for index in range(count)]


def _scale_x(axes: Axes, panel: Panel) -> None:
    """Scale the x axis: logarithmic for β and T (0 left of the least), with the values as ticks if they fit.

    With many β, only powers of ten have a label.
    """
    values = sorted(panel.lines[panel.axis].dropna().unique().tolist())
    if panel.axis != "kappa":
        positive = [value for value in values if value > 0]
        if len(positive) == len(values):
            axes.set_xscale("log")
        elif positive:
            axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
        fit = True
    else:
        gaps = [b - a for a, b in pairwise(values)]
        fit = min(gaps, default=1) > _MIN_TICK_GAP * (values[-1] - values[0])
    if fit and len(values) <= _MAX_TICKS:
        sparse = panel.axis == "beta" and len(values) > _MAX_TICK_LABELS
        texts = [parameter_text(value) for value in values]
        axes.set_xticks(values, [text if not sparse or text.startswith(("0", "1e")) else "" for text in texts])
        axes.xaxis.set_minor_locator(NullLocator())


def _scale_y(axes: Axes, panel: Panel, panels: Sequence[Panel]) -> None:
    """Scale the y axis: ASR from 0 to the highest of all panels; distortions logarithmic if they span a decade."""
    if panel.figure == "asr":
        top = max(other.lines[["asr", "asr_hi"]].max().max() for other in panels)
        axes.set_ylim(-0.04 * max(top, 1), 1.05 * max(top, 1))
        return
    values = panel.lines[panel.figure]
    values = values[values > 0]
    if values.max() > _DECADE * values.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
