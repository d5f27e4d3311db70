"""Leaderboards: in the report of a sweep, and as a page of their own over several sweeps."""

from collections.abc import Sequence

from markupsafe import Markup

from eadbench.dashboards.page.curves import figure_html
from eadbench.dashboards.page.section import Section, fitting
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.leaderboard import Board, compared
from eadbench.harness.reporting import leaderboard as reports
from eadbench.harness.reporting.figures import draw_board
from eadbench.harness.reporting.figures.board import MOST_CURVES
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["page", "section"]

_CURVES = 500_000
"""Bytes of curves in a report at most."""


def section(snapshot: Snapshot) -> Section | None:
    """Return the boards of a sweep; None without attacks on a budget."""
    boards = [board for board in compared(snapshot) if board.attacks["budget"].notna().any()]
    return Section(anchor="leaderboard", title="Leaderboard", body=_body(boards, _CURVES)) if boards else None


def page(boards: Sequence[Board]) -> str:
    """Return the boards as one HTML file that loads no other file."""
    header = render("leaderboard_header.html.j2", titles=[board.title for board in boards])
    sections = [
        Section(anchor=f"board-{number}", title=board.title, body=_body([board], _CURVES))
        for number, board in enumerate(boards, start=1)
    ]
    return f"{render('report.html.j2', title='Leaderboard', header=header, sections=sections)}\n"


def _body(boards: Sequence[Board], room: int) -> Markup:
    tables = [
        {
            "title": board.title,
            "heads": ["attack", "#", *reports.heads(board)[2:]],
            "rows": [[name, rank, *rest] for rank, name, *rest in reports.texts(board)],
            "notes": reports.notes(board),
        }
        for board in boards
    ]
    figures = (
        (digest, figure_html([figure], f"b{number}-{digest}"))
        for number, board in enumerate(boards)
        for digest, figure in draw_board(board).items()
    )
    drawn = [html for _, html in fitting(figures, room)]
    return render("board.html.j2", tables=tables, figures=drawn, meaning=reports.MEANING, most=MOST_CURVES)
