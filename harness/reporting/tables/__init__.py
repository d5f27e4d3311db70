"""Tables of a summary, in the layout of the paper's table 8: for a terminal, or as CSV, Markdown or LaTeX text."""

from collections.abc import Callable, Sequence

import pandas as pd

from eadbench.harness.analysis.aggregate import ALL_TARGETS, COUNTS, FIGURES, INTERVALS, SETTING, TRANSFER
from eadbench.harness.errors import UserError
from eadbench.harness.labels import Labels
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.console import terminal
from eadbench.harness.reporting.tables.latex import render_latex
from eadbench.harness.reporting.tables.markdown import render_markdown
from eadbench.harness.reporting.tables.matrix import render_matrix

__all__ = ["CSV_COLUMNS", "FORMATS", "render", "render_matrix", "terminal"]

CSV_COLUMNS = (
    *("table", "victim", "label", *SETTING, "case", *FIGURES, *COUNTS, *TRANSFER, *ALL_TARGETS, *INTERVALS),
    *("model", "evaluated_on", "cell"),
)


def render(summary: pd.DataFrame, format: str, victims: Sequence[Victim] = ()) -> str:
    """Render a summary as text.

    Parameters
    ----------
    summary
        The result of ``eadbench.harness.analysis.aggregate.summarise``.
    format
        ``csv`` (tidy, floats in full precision, a missing value empty), ``markdown`` (with the mean over all targets
        as a fourth group) or ``latex`` (needs the package booktabs).
    victims
        The victims attacked and tested on, for the labels.

    Raises
    ------
    UserError
        The format is unknown.
    """
    if format not in FORMATS:
        raise UserError(f"format: must be one of {', '.join(FORMATS)}, not {format!r}")
    return FORMATS[format](summary, victims)


def render_csv(summary: pd.DataFrame, victims: Sequence[Victim]) -> str:
    """Render a summary as CSV."""
    labels = Labels(lines=summary, victims=victims)
    labelled = summary.assign(victim=summary["model"].map(labels.victim), label=summary["series"].map(labels.series))
    return str(labelled[list(CSV_COLUMNS)].to_csv(index=False, lineterminator="\n"))


FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[Victim]], str]] = {
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
}
