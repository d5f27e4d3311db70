"""Figures of a sweep: curves over β, T and κ from the summary, galleries of adversarial images, and their files."""

from harness.figures.curves import draw
from harness.figures.files import save, slug

__all__ = ["draw", "save", "slug"]
