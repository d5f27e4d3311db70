"""What differs between sweeps, cell by cell, on the examples that they share."""

from collections.abc import Hashable, Sequence
from html import escape
from math import isnan
from typing import Any

import pandas as pd
import streamlit as st

from dashboards import choices, comparing
from dashboards.sources import Source, source
from dashboards.table import HEADS
from harness.aggregate import FIGURES
from harness.words import NO_VALUE, figure_text, rate_text

_ORDERS = {"largest change": "largest"} | {HEADS[figure]: f"{figure}_change" for figure in FIGURES}
_LABELS = {"victim": "victim", "setting": "attack", "tested": "tested on"}
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
        chosen = st.multiselect("To", others, default=others, key="to", bind="query-params", width=420)
        order = choices.one("Sorted by", list(_ORDERS), key="sorted")
    for name in chosen:
        st.header(f"{name} against {base}")
        _pair(source(base), source(name), _ORDERS[order])
    st.caption(
        "Means over the examples that both have; of distortions, over those on which both succeeded. In brackets: the "
        "95 % interval of the difference, by a bootstrap over images. p: McNemar's exact test for ASR, and Wilcoxon's "
        f"signed-rank test for distortions, both over images. Bold: below {_SURE} after Holm's adjustment for all "
        "tests of the table."
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
    st.html(_html(ranked.head(_MOST).to_dict("records"), before.name, after.name))
    more = [f"All on {found['victim'].iloc[0]}."] if found["victim"].nunique() == 1 else []
    more += [f"The first {_MOST} of {len(found)} cells."] if len(found) > _MOST else []
    more += [f"{matched.alone} cells are in one of the two alone."] if matched.alone else []
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


def _html(lines: Sequence[Line], before: str, after: str) -> str:
    """The table: of each figure before, after, and the change. What is the same in all lines has no column."""
    labels = [name for name in _LABELS if len({line[name] for line in lines}) > 1 or name == "setting"]
    names = "".join(f'<th rowspan="2" scope="col" class="label">{_LABELS[name]}</th>' for name in labels)
    groups = "".join(f'<th colspan="3" scope="colgroup" class="first">{HEADS[figure]}</th>' for figure in FIGURES)
    sides = f'<th scope="col" class="first">{escape(before)}</th><th scope="col">{escape(after)}</th>'
    heads = f'{sides}<th scope="col">change</th>' * len(FIGURES)
    rows = "".join(_row(line, labels) for line in lines)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Comparison"><table class="figures">'
        f'<thead><tr>{names}<th rowspan="2" scope="col">examples</th>{groups}</tr><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(line: Line, labels: Sequence[str]) -> str:
    cells = [f'<th scope="row" class="label">{escape(str(line[name]))}</th>' for name in labels]
    cells.append(f"<td>{line['examples']:,}</td>")
    for figure in FIGURES:
        of = rate_text if figure == "asr" else figure_text
        first, second = (line[f"{figure}_{side}"] for side in ("before", "after"))
        texts = [NO_VALUE if isnan(value) else of(value) for value in (first, second)]
        cells.append(f'<td class="first">{texts[0]}</td><td>{texts[1]}</td><td>{_change(line, figure)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _change(line: Line, figure: str) -> str:
    """A change with its interval and its p value."""
    difference, low, high, p = (line[f"{figure}_{name}"] for name in ("difference", "low", "high", "p"))
    if isnan(difference):
        return NO_VALUE
    if difference == low == high == 0:
        return '<span class="paper">same</span>'
    relative = "" if figure == "asr" else f" ({line[f'{figure}_change']:+.1f} %)"
    text = f"{difference:+.3g}{relative}"
    if line[f"{figure}_adjusted"] < _SURE:
        text = f"<strong>{text}</strong>"
    said = "p &lt; 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f'{text}<br><span class="interval">[{low:.3g}, {high:.3g}], {said}</span>'
