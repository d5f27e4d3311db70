"""Curves over β, κ or T, the share of examples broken within a distortion, and distortion against cost."""

from collections.abc import Iterable, Mapping

import pandas as pd
import streamlit as st

from eadbench.dashboards import charts, choices, curve_points
from eadbench.dashboards.figures_table import figures_of
from eadbench.dashboards.lines import described
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis.aggregate import FIGURES, GROUPS, METRICS
from eadbench.harness.labels import AXES, OWN, family_of
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import parameter_text
from eadbench.harness.styles import Style, styles

_FIXED = {"beta": ("kappa",), "kappa": ("beta",), "temperature": ("beta", "kappa")}
"""By axis, the parameters that are the same throughout; an attack without such a parameter is in every chart."""
_METRICS = {FIGURE_LABELS[metric]: metric for metric in METRICS}
_SERIES_LIMIT = 12
"""Series that are drawn at first."""

Series = Mapping[str, Style]
"""The series that are drawn: the style of each by its label."""


def show(source: Source) -> None:
    """Show the page."""
    st.title("Curves")
    summary = rows_or_stop(source)
    texts = described(summary, summary.lines)
    own = texts["tested"] == OWN
    lines, texts = summary.lines[own], texts[own]
    victim = choices.select("Victim", list(dict.fromkeys(texts["victim"])), key="victim", width=choices.WIDE)
    available = _styles(lines, texts)
    chosen = choices.select_several("Attacks", list(available), key="attacks", default=list(available)[:_SERIES_LIMIT])
    series = {label: available[label] for label in chosen}
    if not series:
        st.info("Choose an attack.")
        return
    drawn = texts["series"].isin(series)
    lines, texts = lines[drawn], texts[drawn]
    _over_axis(source, lines, texts, victim, series)
    here = texts["victim"] == victim
    if not here.any():
        st.info("None of these attacks was run on this victim.")
        return
    _distortions(source, lines[here], texts[here], series)


def _styles(lines: pd.DataFrame, texts: pd.DataFrame) -> Series:
    """Return the style of every series by its label."""
    labels = dict(zip(lines["series"], texts["series"], strict=True))
    return {labels[series]: style for series, style in styles(lines).items()}


def _over_axis(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, victim: str, series: Series) -> None:
    """Show the paper's figures 2, 3 and 5."""
    axes = {AXES[axis]: axis for axis in curve_points.axes_of(lines)}
    if not axes:
        st.info("These attacks have one value of β, κ and T each, so there is no curve over them.")
        return
    st.header(f"Over {', '.join(axes)}")
    with st.container(horizontal=True):
        axis = axes[choices.select("Over", list(axes), key="over")]
        group = choices.select("Case", [*GROUPS], key="case", default="average")
        lines = _on_axis(lines, texts["victim"] == victim, axis)
        every_value = lines
        for name in _FIXED[axis]:
            lines = _at_one_value(lines, name, every_value, key=name)
    if lines.empty:
        st.info(f"No attack on this victim has a {AXES[axis]}.")
        return
    points = curve_points.over(source.with_intervals(lines), texts.loc[lines.index], axis, group)
    shown = {label: style for label, style in series.items() if label in set(points["series"])}
    for column, figure in zip([*st.columns(2), *st.columns(2)], FIGURES, strict=True):
        chart = charts.over_axis(points, axis, figure, shown)
        column.altair_chart(chart, alt=_alt(charts.FIGURES[figure], charts.AXES[axis], shown))
    case = "All targets" if group == "all_targets" else f"{group.capitalize()} case"
    st.caption(f"{case}, 95 % intervals.")


def _on_axis(lines: pd.DataFrame, here: "pd.Series[bool]", axis: str) -> pd.DataFrame:
    """Return the lines of a victim that have a value on the axis; over T, also of victims that differ in T only."""
    if axis == "temperature":
        first = lines[here].head(1) if here.any() else lines.head(1)
        family = family_of(lines) == family_of(first).iloc[0]
        here = (lines["dataset"] == first["dataset"].iloc[0]) & family
    return lines[here & lines[axis].notna()]


def _at_one_value(lines: pd.DataFrame, name: str, every_value: pd.DataFrame, *, key: str) -> pd.DataFrame:
    """Return the lines of the chosen β or κ, and those of attacks without it.

    The most frequent value in `every_value` is chosen at first.
    """
    values = {parameter_text(value): value for value in sorted(lines[name].dropna().unique().tolist())}
    if not values:
        return lines
    default = parameter_text(every_value[name].dropna().mode().iloc[0])
    value = values[choices.select(AXES[name], list(values), key=key, default=default)]
    chosen: pd.DataFrame = lines[(lines[name] == value) | lines[name].isna()]
    return chosen


def _distortions(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, series: Series) -> None:
    """Show the distortion and the cost of examples on one victim."""
    st.header("Distortion against success, and against cost")
    with st.container(horizontal=True):
        metric = _METRICS[choices.select("Distortion", list(_METRICS), key="distortion")]
        settings = lines
        for name in ("kappa", "beta"):
            settings = _at_one_value(settings, name, lines, key=f"at_{name}")
    left, right = st.columns(2)
    with left:
        _broken(source, settings.drop_duplicates("cell"), texts, metric, series)
    with right:
        _costs(source, lines[lines["case"] == "best"], texts, metric, series)


def _broken(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, metric: str, series: Series) -> None:
    """Show the share of examples that each attack breaks within a distortion."""
    numbers = source.numbers(lines).tolist()
    steps = source.broken_within(numbers, metric)
    parts = dict(zip(texts.loc[lines.index, "series"], (steps[number] for number in numbers), strict=True))
    shown = {label: style for label, style in series.items() if label in parts}
    points = pd.concat([parts[label].assign(series=label) for label in shown], ignore_index=True)
    chart = charts.broken_within(points, metric, shown)
    st.altair_chart(chart, alt=_alt("share of examples broken", charts.FIGURES[metric], shown))
    st.caption("The share of examples, of every target, that an attack breaks within a distortion, at these κ and β.")


def _costs(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, metric: str, series: Series) -> None:
    """Show distortion over gradient evaluations."""
    costs = source.costs(source.numbers(lines).tolist())
    figures = figures_of(source.with_intervals(lines), "all_targets").reset_index(drop=True)
    labels = texts.loc[lines.index, ["series", "setting"]].reset_index(drop=True)
    points = pd.concat([figures, labels], axis=1).assign(evaluations=costs.to_numpy())
    points = points[points["evaluations"] > 0]
    shown = {label: style for label, style in series.items() if label in set(points["series"])}
    chart = charts.against_cost(points, metric, shown)
    st.altair_chart(chart, alt=_alt(f"mean {charts.FIGURES[metric]}", "gradient evaluations an example", shown))
    st.caption("A point for every β and κ of each attack: means over all targets, of distortions over successes.")


def _alt(quantity: str, axis: str, series: Iterable[str]) -> str:
    """Return a chart's text for screen readers."""
    return f"{quantity} over {axis}, of {', '.join(series)}"
