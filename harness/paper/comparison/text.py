"""A comparison as CSV or Markdown."""

from collections.abc import Sequence

import pandas as pd

from eadbench.harness.analysis.aggregate import CASES, FIGURES
from eadbench.harness.errors import UserError
from eadbench.harness.labels import FIGURES as FIGURE_LABELS
from eadbench.harness.paper.comparison.blocks import Block, blocks, select_cases

__all__ = ["FORMATS", "render"]

FORMATS = ("csv", "markdown")


def render(compared: pd.DataFrame, format: str, *, cases: Sequence[str] = CASES) -> str:
    """Render a comparison as text.

    Parameters
    ----------
    compared
        The result of :func:`eadbench.harness.paper.comparison.compare`.
    format
        ``csv`` (every column, floats in full precision) or ``markdown``.
    cases
        The cases to render.

    Raises
    ------
    UserError
        The format or a case is unknown.
    """
    if format not in FORMATS:
        raise UserError(f"format: must be one of {', '.join(FORMATS)}, not {format!r}")
    lines = select_cases(compared, cases)
    if format == "csv":
        return str(lines.to_csv(index=False, lineterminator="\n"))
    return "\n".join(map(_markdown, blocks(lines)))


def _markdown(block: Block) -> str:
    heads = [*block.heads]
    for figure in FIGURES:
        heads += [f"{FIGURE_LABELS[figure]}: ours", "paper", "ratio"]
    rows = [heads, [":--"] * len(block.heads) + ["--:"] * (len(heads) - len(block.heads))]
    for labels, figures in zip(block.labels, block.figures, strict=True):
        cells = [text for figure in figures for text in (f"{figure.ours} {figure.interval}".strip(), *figure[2:])]
        rows.append([*labels, *cells])
    return f"**{block.title}**\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
