"""What differs between sweeps, cell by cell, on the examples that they share."""

from collections.abc import Hashable, Sequence
from html import escape
from math import isnan
from typing import Any

import pandas as pd
import streamlit as st

from eadbench.dashboards import choices
from eadbench.dashboards.sources import Source, source
from eadbench.dashboards.table import HEADS
from eadbench.harness.analysis import compare as comparing
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import NO_VALUE, OWN, figure_text, rate_text, told_apart

_ORDERS = {"largest change": "largest"} | {HEADS[figure]: f"{figure}_change" for figure in FIGURES}
_PARTS = ("before", "after", "difference", "low", "high", "p")
_MOST = 200
_SURE = 0.05

Line = dict[Hashable, Any]


def show(names: Sequence[str]) -> None:
    """The page."""
    st.title("Compare")
    if len(names) < 2:
        st.info("Give the folders of two sweeps or more: `eadbench dashboard results/before results/after`.")
        return
    with st.container(horizontal=True):
        base = choices.one("From", list(names), key="from")
        others = [name for name in names if name != base]
        chosen = st.multiselect("To", others, default=others, key="to", bind="query-params", width=choices.WIDE)
        order = choices.one("Sorted by", list(_ORDERS), key="sorted")
    for name in chosen:
        st.header(f"{name} against {base}")
        _pair(source(base), source(name), _ORDERS[order])
    if not chosen:
        st.info("Choose a sweep to compare with.")
        return
    other = chosen[0] if len(chosen) == 1 else "the other"
    st.caption(
        f"{base} → {other}: means over the examples that both have; of distortions, over those on which both "
        "succeeded. In brackets: the 95 % interval of the change, by a bootstrap over images. p: McNemar's exact test "
        "for ASR, and Wilcoxon's signed-rank test for distortions, both over images. Bold: below "
        f"{_SURE} after Holm's adjustment for all tests of the table."
    )


def _pair(before: Source, after: Source, order: str) -> None:
    """Two sweeps."""
    found, matched = _compared(before.folder, before.state, after.folder, after.state, before, after)
    if found.empty:
        st.info(
            "No cell of one is a cell of the other: none has the same attack, rule, β and κ on the same kind of victim."
        )
        return
    ranked = found.sort_values(order, key=abs, ascending=False, kind="stable", na_position="last")
    same = found["largest"].fillna(0).eq(0).all() and (found["examples"] > 0).all()
    if same:
        st.success(f"The same figures in all {len(found)} cells, on every example that both have.")
    st.html(_html(ranked.head(_MOST).to_dict("records"), f"{after.name} against {before.name}"))
    more = [f"All on {found['victim'].iloc[0]}."] if found["victim"].nunique() == 1 else []
    more += [f"The first {_MOST} of {len(found)} cells."] if len(found) > _MOST else []
    more += [f"{matched.alone} cells are in one of the two only."] if matched.alone else []
    if matched.unclear:
        more.append(
            f"{matched.unclear} cells are left out, because a sweep has several victims of their architecture, defence "
            "and temperature."
        )
    if more:
        st.caption(" ".join(more))
    st.download_button(
        "CSV",
        str(ranked.to_csv(index=False, lineterminator="\n")),
        file_name=f"{before.name}-{after.name}.csv".replace("/", "-"),
        mime="text/csv",
        key=f"csv {after.name}",
        on_click="ignore",
    )


@st.cache_data(max_entries=16, show_spinner="Comparing examples …", show_time=True)
def _compared(
    folder: str, state: str, other: str, other_state: str, _before: Source, _after: Source
) -> tuple[pd.DataFrame, comparing.Matched]:
    """The comparison of two folders in the states that they are in, by which it is kept."""
    first, second = _before.stored(), _after.stored()
    matched = comparing.match(first.lines, _before.results.victims()[1], second.lines, _after.results.victims()[1])
    return comparing.table(list(comparing.compare(matched.pairs, first, second))), matched


def _html(lines: Sequence[Line], said: str) -> str:
    """The table: of each figure before and after, and below them how it changed."""
    names = [line["victim"] for line in lines]
    victims = told_apart(names) if len(set(names)) > 1 else [""] * len(names)
    heads = "".join(f'<th scope="col" class="first">{HEADS[figure]}</th>' for figure in FIGURES)
    rows = "".join(_row(line, victim) for line, victim in zip(lines, victims, strict=True))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(said)}"><table class="figures">'
        f'<thead><tr><th scope="col" class="label">attack</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(line: Line, victim: str) -> str:
    tested = "" if line["tested"] == OWN else f"tested on {line['tested']}"
    below = "<br>".join(escape(text) for text in (victim, tested, f"{line['examples']:,} examples") if text)
    label = f'<th scope="row" class="label">{escape(str(line["setting"]))}<br><span class="below">{below}</span></th>'
    cells = "".join(f'<td class="first">{_figure(line, figure)}</td>' for figure in FIGURES)
    return f"<tr>{label}{cells}</tr>"


def _figure(line: Line, figure: str) -> str:
    """A figure before and after, and its change with the interval and the p value."""
    of = rate_text if figure == "asr" else figure_text
    before, after, difference, low, high, p = (line[f"{figure}_{name}"] for name in _PARTS)
    if isnan(difference):
        return NO_VALUE
    if difference == low == high == 0:
        return f'{of(before)}<br><span class="below">same</span>'
    relative = "" if figure == "asr" else f" ({line[f'{figure}_change']:+.1f} %)"
    change = f"{difference:+.3g}{relative}"
    if line[f"{figure}_adjusted"] < _SURE:
        change = f"<strong>{change}</strong>"
    chance = "p &lt; 0.001" if p < 0.001 else f"p = {p:.3f}"
    interval = f'<span class="interval">[{low:.3g}, {high:.3g}], {chance}</span>'
    return f"{of(before)} → {of(after)}<br>{change}<br>{interval}"
