"""Figures of a sweep: curves over β, T and κ, ROC curves of detectors, leaderboards, and the files of any figure."""

from eadbench.harness.reporting.figures.board import draw_board
from eadbench.harness.reporting.figures.curves import draw
from eadbench.harness.reporting.figures.files import save, slug
from eadbench.harness.reporting.figures.roc import draw_roc

__all__ = ["draw", "draw_board", "draw_roc", "save", "slug"]
