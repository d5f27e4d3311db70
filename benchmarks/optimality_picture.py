"""A picture of the rows that `benchmarks/optimality.py` has written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.optimality_table import PEER, TITLES, groups

__all__ = ["draw"]

SETTINGS = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "optimality"}
OURS, THEIRS = "#2f6f9f", "#b0b0b0"


def draw(rows: Sequence[dict[str, Any]], place: Path) -> None:
    """Draw the global optimality of every untargeted attack, a panel for each norm and budget, into a file."""
    panels = [group for group in groups(rows) if not group.targeted]
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(4.4 * columns, 2.6 * lines), layout="constrained")
        for axes, group in zip(figure.subplots(lines, columns, squeeze=False).flat, panels, strict=False):
            scores = group.scores(group.attacks)
            order = np.argsort(scores.overall)
            values = scores.overall[order]
            names = [group.attacks[at] for at in order]
            bars = axes.barh(names, values, color=[THEIRS if name.startswith(PEER) else OURS for name in names])
            axes.bar_label(bars, [f"{value:.3f}" for value in values], padding=2)
            axes.set(title=f"{TITLES[group.norm]}, {group.budget:,} passes", xlim=(0, 1.15), xticks=[0, 0.5, 1])
        for axes in figure.axes[len(panels) :]:
            axes.remove()
        figure.supxlabel("global optimality; ours in blue, adv-lib's in grey")
        figure.savefig(place, metadata={"Date": None} if place.suffix == ".svg" else None, dpi=150)
