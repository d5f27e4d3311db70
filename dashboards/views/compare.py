"""What differs between sweeps, cell by cell, on the examples that they share."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import pandas as pd
import streamlit as st
from markupsafe import Markup

from eadbench.dashboards import choices
from eadbench.dashboards.figures_table import HEADS
from eadbench.dashboards.rendering import render
from eadbench.dashboards.sources import Source, source
from eadbench.harness.analysis import compare
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import OWN, Labels
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text

_ORDERS = {"largest effect": "largest"} | {HEADS[figure]: f"{figure}_change" for figure in FIGURES}
_PARTS = ("difference", "low", "high", "p")
_CELL_LIMIT = 200
"""Cells that are shown."""
_SIGNIFICANT = 0.05

Line = Mapping[Hashable, Any]
"""A line of :func:`harness.analysis.compare.table`."""


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """A figure of both sweeps as printed: both values, their difference, and its interval with the p value."""

    values: str
    difference: str | None = None
    interval: str | None = None
    significant: bool = False


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A cell that both sweeps have."""

    setting: str
    details: Sequence[str]
    figures: Sequence[_Figure]


def show(names: Sequence[str]) -> None:
    """Show the page."""
    st.title("Compare")
    if len(names) < 2:
        st.info("Give the folders of two sweeps or more: `eadbench dashboard results/before results/after`.")
        return
    with st.container(horizontal=True):
        base = choices.select("From", list(names), key="from")
        others = [name for name in names if name != base]
        chosen = st.multiselect("To", others, default=others, key="to", bind="query-params", width=choices.WIDE)
        order = choices.select("Sorted by", list(_ORDERS), key="sorted")
    for name in chosen:
        st.header(f"{name} against {base}")
        _pair(source(base), source(name), _ORDERS[order])
    if not chosen:
        st.info("Choose a sweep to compare with.")
        return
    other = chosen[0] if len(chosen) == 1 else "the other"
    st.caption(
        f"{base} → {other}: means over the examples that both have; of distortions, over those on which both "
        "succeeded. In brackets: the 95 % interval of the change, with images as clusters. p: McNemar's exact "
        "test for ASR, and Wilcoxon's signed-rank test for distortions, both over images. Bold: below "
        f"{_SIGNIFICANT} after Holm's adjustment for all tests of the table. Without an example in common: means over "
        "all examples of each, with the 95 % intervals of both and of their difference, and no test."
    )


def _pair(before: Source, after: Source, order: str) -> None:
    """Show the comparison of two sweeps."""
    cells, matched = _compared(before.folder, before.state, after.folder, after.state, before, after)
    if cells.empty:
        st.info("The sweeps share no cell: no attack with the same rule, β and κ on the same kind of victim.")
        return
    ranked = cells.sort_values(order, key=abs, ascending=False, kind="stable", na_position="last")
    if unpaired := int((cells["others"] > 0).sum()):
        which = "The folders have" if unpaired == len(cells) else f"{unpaired} of {len(cells)} cells have"
        st.info(
            f"{which} no example in common: these means are unpaired, each with its interval. For paired tests, attack "
            "the same images."
        )
    if cells["same"].all() and (cells["examples"] > 0).all():
        st.success(f"The same figures in all {len(cells)} cells, on every example that both have.")
    st.html(_html(ranked.head(_CELL_LIMIT).to_dict("records"), f"{after.name} against {before.name}"))
    if notes := _notes(cells, matched):
        st.caption(" ".join(notes))
    st.download_button(
        "CSV",
        str(ranked.drop(columns="short_victim").to_csv(index=False, lineterminator="\n")),
        file_name=f"{before.name}-{after.name}.csv".replace("/", "-"),
        mime="text/csv",
        key=f"csv {after.name}",
        on_click="ignore",
    )


@st.cache_data(max_entries=16, show_spinner="Comparing examples …", show_time=True)
def _compared(
    folder: str, state: str, other: str, other_state: str, _before: Source, _after: Source
) -> tuple[pd.DataFrame, compare.Matched]:
    """Compare two folders, and name each cell's victim in few words; the result is cached by their states."""
    first, second = _before.stored(), _after.stored()
    victims = _before.snapshot.victims
    matched = compare.match(first.lines, victims, second.lines, _after.snapshot.victims)
    cells = compare.table(list(compare.compare(matched.pairs, first, second)))
    models = first.lines.loc[[pair.before for pair in matched.pairs], "model"].tolist()
    short = Labels(lines=first.lines, victims=victims).short_victims(models)
    return cells.assign(short_victim=[short[model] for model in models]), matched


def _notes(cells: pd.DataFrame, matched: compare.Matched) -> list[str]:
    """Return what the table does not show."""
    notes = [f"All on {cells['victim'].iloc[0]}."] if cells["victim"].nunique() == 1 else []
    notes += [f"The first {_CELL_LIMIT} of {len(cells)} cells."] if len(cells) > _CELL_LIMIT else []
    notes += [f"{matched.alone} cells are in one of the two only."] if matched.alone else []
    if matched.unclear:
        notes.append(f"{matched.unclear} cells are left out, because several cells of the other sweep match them.")
    return notes


def _html(lines: Sequence[Line], aria_label: str) -> Markup:
    """Return the table: each figure before and after, with its change below."""
    several = len({line["victim"] for line in lines}) > 1
    rows = [
        _Row(
            setting=line["setting"],
            details=_details(line, victim=several),
            figures=[_figure(line, figure) for figure in FIGURES],
        )
        for line in lines
    ]
    heads = [HEADS[figure] for figure in FIGURES]
    return render("comparison.html.j2", rows=rows, heads=heads, aria_label=aria_label)


def _details(line: Line, *, victim: bool) -> list[str]:
    tested = [] if line["tested"] == OWN else [f"tested on {line['tested']}"]
    return [
        *([line["short_victim"]] if victim else []),
        *tested,
        f"{line['examples']:,} and {line['others']:,} examples, none in common: unpaired"
        if line["others"]
        else f"{line['examples']:,} examples, {line['l1_count']:,} succeed in both",
    ]


def _figure(line: Line, figure: str) -> _Figure:
    difference, low, high, p = (line[f"{figure}_{part}"] for part in _PARTS)
    if line["others"] and isnan(difference):  # one of the two has no success
        return _Figure(values=f"{_value(line, figure, 'before')} → {_value(line, figure, 'after')}")
    if isnan(difference):
        return _Figure(values=NO_VALUE)
    if line[f"{figure}_same"]:
        return _Figure(values=_value(line, figure, "before"), difference="same")
    relative = "" if figure == "asr" else f" ({line[f'{figure}_change']:+.1f} %)"
    interval = "" if isnan(low) else f"[{low:.3g}, {high:.3g}]"
    chance = "" if isnan(p) else "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return _Figure(
        values=f"{_value(line, figure, 'before')} → {_value(line, figure, 'after')}",
        difference=f"{difference:+.3g}{relative}",
        interval=", ".join(filter(None, (interval, chance))) or None,
        significant=line[f"{figure}_adjusted"] < _SIGNIFICANT,
    )


def _value(line: Line, figure: str, side: str) -> str:
    """Return the figure of one sweep, with its interval if the two have no example in common."""
    as_text = rate_text if figure == "asr" else figure_text
    value, low, high = (as_text(line[f"{figure}_{name}"]) for name in (side, f"{side}_low", f"{side}_high"))
    return f"{value} [{low}, {high}]" if line["others"] and low != NO_VALUE else value
