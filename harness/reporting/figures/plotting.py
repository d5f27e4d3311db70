"""How lines of the summary are drawn: panels beside each other over one axis, and one legend below them."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from eadbench.harness.labels import parameter_text

__all__ = ["STYLE", "Panel", "curves", "fitted"]

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
"""matplotlib's settings for a figure as wide as a page of text."""

_AXES = {"beta": "regularisation β", "temperature": "temperature T", "kappa": "confidence κ"}
_FIGURES = {"asr": "ASR (%)", "l1": "L1 distortion", "l2": "L2 distortion", "linf": "L∞ distortion"}

# Okabe and Ito's palette, told apart with any colour vision, by attack or by attack and decision rule.
_COLOURS = {
    "EAD": "#D55E00",
    "EAD L1": "#E69F00",
    "C&W": "#0072B2",
    "COV": "#009E73",
    "I-FGM": "#CC79A7",
    "FGM": "#56B4E9",
}
_OTHER_COLOURS = ("#000000", "#808080")
# By decision rule or norm.
_MARKS = {"": ("-", "o"), "EN": ("-", "o"), "L1": ("--", "s"), "L2": ("-.", "^"), "Linf": (":", "D")}
_OTHER_MARK = ("-", "v")

# Inches: a figure's width with one panel and with more, and the heights and widths of its parts.
_ALONE, _WIDE, _HEIGHT, _TITLE, _ENTRY, _HANDLE = 4.2, 7.2, 2.1, 0.45, 0.17, 0.55
_LETTERS_PER_INCH = 15
_COLUMNS = 3
_MOST_LABELS = 6
_MOST_TICKS = 8
_LEAST_GAP = 0.05
_DECADE = 10


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One figure (``asr``, ``l1``, ``l2`` or ``linf``) of lines of the summary over an axis."""

    lines: pd.DataFrame
    axis: str
    figure: str
    title: str = ""


def curves(panels: Sequence[Panel], *, title: str) -> Figure:
    """Draw panels of one axis beside each other, three in a row, under one title and above one legend."""
    columns = min(len(panels), _COLUMNS)
    rows = ceil(len(panels) / columns)
    width = _WIDE if columns > 1 else _ALONE
    styles = _styles(name for panel in panels for name in _series(panel.lines))
    longest = max(map(len, styles), default=0) / _LETTERS_PER_INCH
    beside = max(1, min(len(styles), int(width / (_HANDLE + longest))))
    height = _HEIGHT * rows + _TITLE + _ENTRY * ceil(len(styles) / beside)
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(fitted(title, width), x=0.01, ha="left")
    handles: dict[str, Artist] = {}
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        series = _series(panel.lines)
        for (name, lines), weight in zip(series.items(), _weights(panel, len(series)), strict=True):
            handles[name] = _draw(axes, lines, panel, name, styles[name] | {"linewidth": weight})
        axes.set_xlabel(_AXES[panel.axis])
        axes.set_ylabel(_FIGURES[panel.figure])
        axes.set_title(fitted(panel.title, 0.85 * width / columns), loc="left")
        _scale_x(axes, panel)
        _scale_y(axes, panel, panels)
    shown = [handles[name] for name in styles]
    figure.legend(shown, list(styles), loc="outside lower center", ncols=beside, frameon=False, handlelength=2.6)
    return figure


def fitted(text: str, width: float) -> str:
    """A title broken into lines of at most so many inches."""
    kept = text.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
    lines = textwrap.fill(kept, max(1, int(width * _LETTERS_PER_INCH)), break_on_hyphens=False)
    return lines.replace("\N{NO-BREAK SPACE}", " ")


def _series(lines: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The lines of every attack and decision rule, named as in the tables."""
    groups = lines.groupby(["attack", "decision_rule"], sort=False)
    return {f"{attack} ({rule})" if rule else str(attack): part for (attack, rule), part in groups}


def _styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, line and marker by name; attacks that the project does not know get what is left."""
    styles: dict[str, dict[str, Any]] = {}
    others: dict[str, str] = {}
    for name in names:
        found = re.fullmatch(r"(?P<attack>.+?)(?:-(?P<norm>L1|L2|Linf))?(?: \((?P<rule>.+)\))?", name)
        assert found is not None
        attack, variant = found["attack"], found["rule"] or found["norm"] or ""
        colour = _COLOURS.get(f"{attack} {variant}") or _COLOURS.get(attack)
        colour = colour or others.setdefault(attack, _OTHER_COLOURS[len(others) % len(_OTHER_COLOURS)])
        line, marker = _MARKS.get(variant, _OTHER_MARK)
        styles[name] = {"color": colour, "linestyle": line, "marker": marker}
    return styles


def _draw(axes: Axes, lines: pd.DataFrame, panel: Panel, name: str, style: dict[str, Any]) -> Artist:
    """Draw a series with its intervals: as a band, or as bars where the points are no curve."""
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


def _weights(panel: Panel, count: int) -> list[float]:
    """Line widths of so many series: ASR often coincide, so that each leaves the ones before it to be seen."""
    least, most = STYLE["lines.linewidth"], 2 * STYLE["lines.linewidth"]
    if panel.figure != "asr" or count == 1:
        return [least] * count
    return [most + (least - most) * index / (count - 1) for index in range(count)]


def _scale_x(axes: Axes, panel: Panel) -> None:
    """β on a logarithmic scale (0 stands left of the least), with the values themselves for ticks where they fit.

    Of many β, the powers of ten alone are named.
    """
    values = sorted(panel.lines[panel.axis].unique().tolist())
    if panel.axis == "beta":
        positive = [value for value in values if value > 0]
        if len(positive) == len(values):
            axes.set_xscale("log")
        elif positive:
            axes.set_xscale("symlog", linthresh=positive[0], linscale=0.5)
        fit = True
    else:
        gaps = [b - a for a, b in pairwise(values)]
        fit = min(gaps, default=1) > _LEAST_GAP * (values[-1] - values[0])
    if fit and len(values) <= _MOST_TICKS:
        sparse = panel.axis == "beta" and len(values) > _MOST_LABELS
        texts = [parameter_text(value) for value in values]
        axes.set_xticks(values, [text if not sparse or text.startswith(("0", "1e")) else "" for text in texts])
        axes.xaxis.set_minor_locator(NullLocator())


def _scale_y(axes: Axes, panel: Panel, panels: Sequence[Panel]) -> None:
    """ASR from 0 to the highest of all panels; distortions that span a factor of ten on a logarithmic scale."""
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
