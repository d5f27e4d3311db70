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
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import AXES, OWN, distinct, family_label, family_of
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.numbers import parameter_text
from eadbench.harness.reporting.tables.pages import case_name, group_heads
from eadbench.harness.styles import Style, styles_by_victim
from eadbench.models import digest_of

_FIXED = {"beta": ("kappa",), "kappa": ("beta",), "temperature": ("beta", "kappa")}
"""By axis, the parameters that are the same throughout; an attack without such a parameter is in every chart."""
_METRICS = {FIGURE_LABELS[metric]: metric for metric in METRICS}
_SERIES_LIMIT = 12
"""Attacks that are drawn at first."""

Series = Mapping[str, Style]
"""The curves that are drawn: the style of each by its label."""


def show(source: Source) -> None:
    """Show the page."""
    st.title("Curves")
    summary = rows_or_stop(source)
    texts = described(summary, summary.lines)
    own = texts["tested"] == OWN
    lines, texts = summary.lines[own], texts[own]
    names = list(dict.fromkeys(texts["victim"]))
    victims = choices.search_several("Victims", names, key="victim", default=names[:1])
    attacks = list(dict.fromkeys(texts["series"]))
    chosen = choices.select_several("Attacks", attacks, key="attacks", default=attacks[:_SERIES_LIMIT])
    if not chosen:
        st.info("Choose an attack.")
        return
    drawn, here = texts["series"].isin(chosen), texts["victim"].isin(victims)
    _over_axis(source, lines[drawn], here[drawn])
    lines = lines[drawn & here]
    if lines.empty:
        st.info("None of these attacks was run on these victims.")
        return
    labels, series = _curves(summary, *_of(summary, lines))
    _distortions(source, lines, texts["setting"], labels, series)


def _curves(summary: Summary, lines: pd.DataFrame, victims: "pd.Series[str]") -> tuple["pd.Series[str]", Series]:
    """Return the label of the curve of each line, given the name of its victim, and the style of each curve.

    A curve of one attack on one of several victims is called ``EAD (L1) · distillation T = 10``.
    """
    names = list(dict.fromkeys(victims))
    attacks = lines["series"].map(summary.labels.series)
    labels = attacks if len(names) == 1 else attacks + " · " + victims
    known = dict(zip(zip(lines["series"], victims, strict=True), labels, strict=True))
    # The attacks of all lines: an attack looks the same whatever is drawn beside it.
    looks = styles_by_victim(summary.lines, names)
    return labels, {known[key]: style for key, style in looks.items() if key in known}


def _over_axis(source: Source, lines: pd.DataFrame, here: "pd.Series[bool]") -> None:
    """Show the paper's figures 2, 3 and 5; `here` marks the lines of the chosen victims."""
    axes = {AXES[axis]: axis for axis in curve_points.axes_of(lines)}
    if not axes:
        st.info("These attacks have one value of β, κ and T each, so there is no curve over them.")
        return
    summary = source.summary()
    st.header(f"Over {', '.join(axes)}")
    with st.container(horizontal=True):
        axis = axes[choices.select("Over", list(axes), key="over")]
        lines, victims = _over_temperature(summary, lines, here) if axis == "temperature" else _of(summary, lines[here])
        groups = list(group_heads(lines)) if len(lines) else []
        group = choices.select("Case", [*GROUPS] if len(groups) > 1 else ["average"], key="case", default="average")
        every_value = lines
        for name in _FIXED[axis]:
            lines = _at_one_value(lines, name, every_value, key=name)
    if not lines[axis].notna().any():
        st.info(f"No attack on these victims has a {AXES[axis]}.")
        return
    labels, series = _curves(summary, lines, victims.loc[lines.index])
    points, references = curve_points.over(source.with_intervals(lines), labels, axis, group)
    for column, figure in zip([*st.columns(2), *st.columns(2)], FIGURES, strict=True):
        chart = charts.over_axis(points, references, axis, figure, series)
        column.altair_chart(chart, alt=_alt(charts.FIGURES[figure], charts.AXES[axis], series))
    case = {"all_targets": "all targets", "average": case_name(lines)}.get(group, f"{group} case").capitalize()
    level = f" Horizontal: what has no {AXES[axis]}." if len(references) else ""
    st.caption(f"{case}, 95 % intervals.{level}")


def _of(summary: Summary, lines: pd.DataFrame) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Return lines, and the short name of the victim of each, whichever victims are chosen."""
    return lines, lines["model"].map(summary.labels.short_victims(summary.lines["model"]))


def _over_temperature(
    summary: Summary, lines: pd.DataFrame, here: "pd.Series[bool]"
) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Return the lines of networks that differ in T, and of the chosen victims without T, with their names.

    A set of networks is called by its defence, ``distillation``, and a victim without T by its own name.
    """
    distilled = lines[lines["temperature"].notna()]
    families = family_of(distilled).map(digest_of)
    first = distilled[~families.duplicated()]
    several = first["arch"].nunique() > 1
    names = distinct(
        {
            family: f"{line['arch']}, {family_label(line)}" if several else family_label(line)
            for family, line in zip(families[first.index], first.to_dict("records"), strict=True)
        }
    )
    labels = families.map(names)
    options = list(names.values())
    default = list(dict.fromkeys(labels[here[distilled.index]])) or options[:1]
    networks = choices.search_several("Networks", options, key="networks", default=default)
    labels = labels[labels.isin(networks)]
    others, other_names = _of(summary, lines[here & lines["temperature"].isna()])
    return pd.concat([distilled.loc[labels.index], others]).sort_index(), pd.concat([labels, other_names])


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


def _distortions(
    source: Source, lines: pd.DataFrame, settings: "pd.Series[str]", labels: "pd.Series[str]", series: Series
) -> None:
    """Show the distortion and the cost of examples on the chosen victims."""
    st.header("Distortion against success, and against cost")
    with st.container(horizontal=True):
        metric = _METRICS[choices.select("Distortion", list(_METRICS), key="distortion")]
        at_one = lines
        for name in ("kappa", "beta"):
            at_one = _at_one_value(at_one, name, lines, key=f"at_{name}")
    left, right = st.columns(2)
    with left:
        _broken(source, at_one.drop_duplicates("cell"), labels, metric, series)
    with right:
        _costs(source, lines[lines["case"] == "best"], settings, labels, metric, series)


def _broken(source: Source, lines: pd.DataFrame, labels: "pd.Series[str]", metric: str, series: Series) -> None:
    """Show the share of examples that each attack breaks within a distortion."""
    numbers = source.numbers(lines).tolist()
    steps = source.broken_within(numbers, metric)
    parts = dict(zip(labels.loc[lines.index], (steps[number] for number in numbers), strict=True))
    shown = {label: style for label, style in series.items() if label in parts}
    points = pd.concat([parts[label].assign(series=label) for label in shown], ignore_index=True)
    chart = charts.broken_within(points, metric, shown)
    st.altair_chart(chart, alt=_alt("share of examples broken", charts.FIGURES[metric], shown))
    st.caption("The share of examples, of every target, that an attack breaks within a distortion, at these κ and β.")


def _costs(
    source: Source,
    lines: pd.DataFrame,
    settings: "pd.Series[str]",
    labels: "pd.Series[str]",
    metric: str,
    series: Series,
) -> None:
    """Show distortion over gradient evaluations."""
    costs = source.costs(source.numbers(lines).tolist())
    figures = figures_of(source.with_intervals(lines), "all_targets").reset_index(drop=True)
    names = {"series": labels.loc[lines.index].to_numpy(), "setting": settings.loc[lines.index].to_numpy()}
    points = figures.assign(**names, evaluations=costs.to_numpy())
    points = points[points["evaluations"] > 0]
    shown = {label: style for label, style in series.items() if label in set(points["series"])}
    chart = charts.against_cost(points, metric, shown)
    st.altair_chart(chart, alt=_alt(f"mean {charts.FIGURES[metric]}", "gradient evaluations an example", shown))
    st.caption("A point for every β and κ of each attack: means over all targets, of distortions over successes.")


def _alt(quantity: str, axis: str, series: Iterable[str]) -> str:
    """Return a chart's text for screen readers."""
    return f"{quantity} over {axis}, of {', '.join(series)}"
