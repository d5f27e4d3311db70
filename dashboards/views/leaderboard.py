"""Which attack comes nearest to the least known distances: a ranking, security curves, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from eadbench.dashboards import board_charts, choices
from eadbench.dashboards.rendering import render
from eadbench.dashboards.sources import Source, names, source
from eadbench.dashboards.views.parts import rows_or_stop
from eadbench.harness.analysis import board_curves
from eadbench.harness.analysis.leaderboard import Board, boards
from eadbench.harness.labels import norm_label
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text
from eadbench.harness.reporting import leaderboard as reports
from eadbench.harness.reporting.figures.board import MOST_CURVES, board_styles
from eadbench.harness.reporting.leaderboard import optimality_text


@dataclass(frozen=True, kw_only=True)
class _Figure:
    text: str
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class _Row:
    attack: str
    figures: list[_Figure]


def show(chosen: Source) -> None:
    """Show the page."""
    st.title("Leaderboard")
    rows_or_stop(chosen)
    with st.container(horizontal=True):
        others = [name for name in names() if name != chosen.name]
        together = [*_together(others)] if others else []
        every = choices.toggle(
            "Attacks of every norm", key="every", help="Rank attacks that minimise another norm too."
        )
    sources = [chosen, *(source(name) for name in together)]
    ranked = _boards(tuple((each.folder, each.state) for each in sources), every, sources)
    titles = {board.title: board for board in ranked}
    board = titles[choices.select("Ranking", list(titles), key="ranking", width=choices.WIDE)]
    st.html(_table(board))
    st.caption(f"{reports.MEANING} {' '.join(reports.notes(board))}")
    st.download_button(
        "CSV",
        reports.render(ranked, "csv"),
        file_name=f"{chosen.name.replace('/', '-')}-leaderboard.csv",
        mime="text/csv",
        on_click="ignore",
        help="Every ranking, with all intervals.",
    )
    _curves(board)


def _together(others: list[str]) -> list[str]:
    """Return the further sweeps whose attacks are ranked with those of the chosen one."""
    return st.multiselect("Together with", others, key="with", bind="query-params", width=choices.WIDE)


@st.cache_data(max_entries=16, show_spinner="Ranking attacks …", show_time=True)
def _boards(states: tuple[tuple[str, str], ...], every: bool, _sources: list[Source]) -> list[Board]:
    """Return the boards of some folders; the result is cached by their states."""
    found = boards([each.snapshot for each in _sources], all_attacks=every)
    for board in found:
        board.lines  # noqa: B018 - computed here, so that it is cached
    return found


def _table(board: Board) -> str:
    """Return the ranking as HTML."""
    several = len(board.victims) > 1
    rows = [
        _Row(
            attack=str(line["label"]),
            figures=[
                _Figure(text=str(line["rank"] or NO_VALUE)),
                _figure(line, "go", optimality_text),
                *(_figure(line, f"lo_{victim.digest}", optimality_text) for victim in board.victims if several),
                _figure(line, "asr", rate_text),
                _figure(line, "distance", figure_text),
                _Figure(text=NO_VALUE if np.isnan(line["passes"]) else f"{line['passes']:,.0f}"),
                _Figure(text=NO_VALUE if np.isnan(line["seconds"]) else f"{line['seconds']:.2g}"),
            ],
        )
        for line in board.lines.to_dict("records")
    ]
    heads = ["#", "GO", *(f"LO {victim.name}" for victim in board.victims if several)]
    heads += ["ASR, %", norm_label(board.norm), "passes", "seconds"]
    return render("leaderboard.html.j2", rows=rows, heads=heads, aria_label=f"Ranking: {board.title}")


def _figure(line: Mapping[Any, Any], name: str, text: Any) -> _Figure:
    low, high = line[f"{name}_lo"], line[f"{name}_hi"]
    interval = "" if np.isnan(low) else f"[{text(low)}, {text(high)}]"
    return _Figure(text=text(line[name]), interval=interval)


def _curves(board: Board) -> None:
    """Show the security curves of one victim, and distance against cost on it."""
    st.header("Security curves")
    with st.container(horizontal=True):
        labels = board.lines["label"].tolist()
        victims = {victim.name: victim for victim in board.victims}
        victim = victims[choices.select("Victim", list(victims), key="victim", width=choices.WIDE)]
        shown = st.multiselect(
            "Attacks", labels, default=labels[:MOST_CURVES], key="attacks", bind="query-params", width=choices.WIDE
        )
    series = board_styles(board, shown)
    left, right = st.columns(2)
    with left:
        chart = board_charts.security(board_curves.steps(board, victim, shown), board.norm, series)
        st.altair_chart(chart, alt=f"robust accuracy over {norm_label(board.norm)}, of {', '.join(series)}")
        st.caption("ρ(ε): the share of examples that an attack does not break within ε. The lower, the stronger.")
    with right:
        points = board_curves.points(board, victim, shown)
        chart = board_charts.against_passes(points, {name: series[name] for name in shown})
        st.altair_chart(chart, alt=f"local optimality over passes, of {', '.join(shown)}")
        st.caption(
            "Local optimality on this victim over the passes of an example, forward and backward: within 1/32, 1/16, … "
            "of a budget, and for an attack without a budget at its end."
        )
