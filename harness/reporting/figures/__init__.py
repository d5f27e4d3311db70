"""Figures of a sweep: curves over β, T and κ, and the files of any figure."""

from eadbench.harness.reporting.figures.curves import draw
from eadbench.harness.reporting.figures.files import save, slug

__all__ = ["draw", "save", "slug"]
