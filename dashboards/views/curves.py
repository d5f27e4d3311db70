"""Curves over β, κ or T, what is broken within a distortion, and what it cost."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from eadbench.dashboards import charts, choices, curves
from eadbench.dashboards.lines import described
from eadbench.dashboards.sources import Source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis.aggregate import FIGURES, GROUPS
from eadbench.harness.labels import OWN, parameter_text

_SYMBOLS = {"beta": "β", "kappa": "κ", "temperature": "T"}
_FIXED = {"beta": ("kappa",), "kappa": ("beta",), "temperature": ("beta", "kappa")}
"""By axis, what is the same throughout; an attack that has no such parameter stands in each."""
_DISTORTIONS = {"L1": "l1", "L2": "l2", "L∞": "linf"}
_MOST_SERIES = 12


def show(source: Source) -> None:
    """The page."""
    st.title("Curves")
    found = rows_or_stop(source)
    texts = described(found.summary, found.victims)
    own = texts["tested"] == OWN
    lines, texts = found.summary[own], texts[own]
    victim = choices.one("Victim", list(dict.fromkeys(texts["victim"])), key="victim", width=choices.WIDE)
    attacks = list(dict.fromkeys(texts["series"]))
    series = choices.few("Attacks", attacks, key="attacks", default=attacks[:_MOST_SERIES])
    if not series:
        st.info("Choose an attack.")
        return
    taken = texts["series"].isin(series)
    lines, texts = lines[taken], texts[taken]
    _over_axis(source, lines, texts, victim, series)
    here = texts["victim"] == victim
    if not here.any():
        st.info("None of these attacks was run on this victim.")
        return
    _distortions(source, lines[here], texts[here], series)


def _over_axis(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, victim: str, series: Sequence[str]) -> None:
    """The paper's figures 2, 3 and 5."""
    axes = curves.axes_of(lines)
    if not axes:
        st.info("These attacks have one value of β, κ and T each, so there is no curve over them.")
        return
    st.header("Over " + ", ".join(_SYMBOLS[axis] for axis in axes))
    with st.container(horizontal=True):
        axis = {_SYMBOLS[axis]: axis for axis in axes}[choices.one("Over", [_SYMBOLS[a] for a in axes], key="over")]
        group = choices.one("Case", [*GROUPS], key="case", default="average")
        here = texts["victim"] == victim
        if axis == "temperature":
            first = lines[here].iloc[0] if here.any() else lines.iloc[0]
            here = (lines["dataset"] == first["dataset"]) & (lines["arch"] == first["arch"])
        lines = lines[here & lines[axis].notna()]
        usual = lines
        for name in _FIXED[axis]:
            lines = _fixed(lines, name, usual, key=name)
    if lines.empty:
        st.info(f"No attack on this victim has a {_SYMBOLS[axis]}.")
        return
    points = curves.over(source.with_intervals(lines), texts.loc[lines.index], axis, group)
    shown = [name for name in series if name in set(points["series"])]
    for column, figure in zip([*st.columns(2), *st.columns(2)], FIGURES, strict=True):
        chart = charts.over_axis(points, axis, figure, shown)
        column.altair_chart(chart, alt=_alt(charts.FIGURES[figure], charts.AXES[axis], shown))
    what = "All targets" if group == "all_targets" else f"{group.capitalize()} case"
    st.caption(f"{what}, 95 % bootstrap intervals.")


def _fixed(lines: pd.DataFrame, name: str, usual: pd.DataFrame, *, key: str) -> pd.DataFrame:
    """The lines of one value of β or κ, first that of most of the usual ones, and those of attacks without it."""
    values = sorted(lines[name].dropna().unique().tolist())
    if not values:
        return lines
    texts = {parameter_text(value): value for value in values}
    common = parameter_text(usual[name].dropna().mode().iloc[0])
    value = texts[choices.one(_SYMBOLS[name], list(texts), key=key, default=common)]
    chosen: pd.DataFrame = lines[(lines[name] == value) | lines[name].isna()]
    return chosen


def _distortions(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, series: Sequence[str]) -> None:
    """What each example took, of one victim."""
    st.header("Distortion against success, and against cost")
    with st.container(horizontal=True):
        metric = _DISTORTIONS[choices.one("Distortion", list(_DISTORTIONS), key="distortion")]
        settings = lines
        for name in ("kappa", "beta"):
            settings = _fixed(settings, name, lines, key=f"at_{name}")
    left, right = st.columns(2)
    with left:
        _broken(source, settings.drop_duplicates("cell"), texts, metric, series)
    with right:
        _costs(source, lines[lines["case"] == "best"], texts, metric, series)


def _broken(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, metric: str, series: Sequence[str]) -> None:
    """The security curve."""
    numbers = source.numbers(lines).tolist()
    steps = source.broken_within(numbers, metric)
    parts = dict(zip(texts.loc[lines.index, "series"], (steps[number] for number in numbers), strict=True))
    shown = [name for name in series if name in parts]
    drawn = pd.concat([parts[name].assign(series=name) for name in shown], ignore_index=True)
    chart = charts.broken_within(drawn, metric, shown)
    st.altair_chart(chart, alt=_alt("share of examples broken", charts.FIGURES[metric], shown))
    st.caption("The share of examples, of every target, that an attack breaks within a distortion, at these κ and β.")


def _costs(source: Source, lines: pd.DataFrame, texts: pd.DataFrame, metric: str, series: Sequence[str]) -> None:
    """Distortion over gradient evaluations."""
    spent = source.costs(source.numbers(lines).tolist())
    figures = curves.figures_of(source.with_intervals(lines), "all_targets").reset_index(drop=True)
    said = texts.loc[lines.index, ["series", "setting"]].reset_index(drop=True)
    points = pd.concat([figures, said], axis=1).assign(evaluations=spent.to_numpy())
    points = points[points["evaluations"] > 0]
    shown = [name for name in series if name in set(points["series"])]
    chart = charts.against_cost(points, metric, shown)
    st.altair_chart(chart, alt=_alt(f"mean {charts.FIGURES[metric]}", "gradient evaluations an example", shown))
    st.caption("A point of every β and κ of each attack: means over all targets, of distortions over successes.")


def _alt(what: str, over: str, series: Sequence[str]) -> str:
    return f"{what} over {over}, of {', '.join(series)}"
