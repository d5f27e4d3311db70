"""The curves of a leaderboard: security curves, and local optimality over passes, a figure for each victim."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from eadbench.harness.analysis.board_curves import ENVELOPE, points, steps
from eadbench.harness.analysis.leaderboard import Board
from eadbench.harness.labels import norm_label
from eadbench.harness.reporting.figures.plotting import STYLE, wrap
from eadbench.harness.styles import Style, styles

__all__ = ["MOST_CURVES", "board_styles", "draw_board"]

MOST_CURVES = 8
"""Attacks that are drawn, of those that lead."""
_WIDTH, _HEIGHT, _ENTRY, _COLUMNS = 7.2, 2.9, 0.17, 3
"""Inches, and columns of the legend."""


def board_styles(board: Board, shown: Sequence[str]) -> dict[str, Style]:
    """Return the style of each curve by its label, the envelope's last."""
    own = styles(board.attacks.assign(series=board.attacks["label"]))
    return {label: own[label] for label in shown} | {ENVELOPE: Style("#808080", "dotted", "square")}


def draw_board(board: Board) -> Mapping[str, Figure]:
    """Draw a figure for each victim, by its digest: ρ over ε on the left, local optimality over passes on the right."""
    shown = board.lines["label"].tolist()[:MOST_CURVES]
    looks = board_styles(board, shown)
    figures = {}
    with mpl.rc_context(STYLE):
        for victim in board.victims:
            figure = Figure(figsize=(_WIDTH, _HEIGHT + _ENTRY * -(-len(looks) // _COLUMNS)), layout="constrained")
            figure.suptitle(wrap(f"{board.title}, {victim.name}", _WIDTH), x=0.01, ha="left")
            left, right = figure.subplots(1, 2)
            for label, curve in steps(board, victim, shown).groupby("series", sort=False):
                look = looks[str(label)].matplotlib | {"marker": "none"}
                left.step(curve["distance"], curve["share"], where="post", **look)
            left.set(
                xlabel=f"ε, {norm_label(board.norm)}", ylabel="robust accuracy ρ(ε), %", xlim=(0, None), ylim=(0, 103)
            )
            for label, curve in points(board, victim, shown).groupby("series", sort=False):
                right.plot(curve["passes"], curve["lo"], **looks[str(label)].matplotlib)
            right.set(xlabel="passes of an example", ylabel="local optimality", xscale="log", ylim=(0, 1.03))
            right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            right.xaxis.set_minor_formatter(NullFormatter())
            handles = [Line2D([], [], **look.matplotlib) for look in looks.values()]
            figure.legend(
                handles, list(looks), loc="outside lower center", ncols=_COLUMNS, frameon=False, handlelength=2.6
            )
            figures[victim.digest] = figure
    return figures
