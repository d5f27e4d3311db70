"""Our figures beside the paper's: matched by setting, and rendered as one block for each of the paper's tables."""

from eadbench.harness.paper.comparison.console import terminal
from eadbench.harness.paper.comparison.matching import COLUMNS, TARGETS, compare, paper_figures
from eadbench.harness.paper.comparison.text import FORMATS, render

__all__ = ["COLUMNS", "FORMATS", "TARGETS", "compare", "paper_figures", "render", "terminal"]
