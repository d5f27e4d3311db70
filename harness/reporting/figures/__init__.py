"""Figures of a sweep: curves over β, T and κ from the summary, galleries of adversarial images, and their files."""

from eadbench.harness.reporting.figures.curves import draw
from eadbench.harness.reporting.figures.files import save, slug

__all__ = ["draw", "save", "slug"]
