"""Tables of a summary, in the layout of the paper's table 8: for a terminal, or as CSV, Markdown or LaTeX text."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import (
    ALL_TARGETS,
    COUNTS,
    FIGURES,
    INTERVALS,
    ROUNDED_COLUMNS,
    SETTING,
    TRANSFER,
)
from eadbench.harness.errors import UserError
from eadbench.harness.label_parts import parsed, with_targets
from eadbench.harness.labels import Labels, varying_names
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.tables.console import terminal
from eadbench.harness.reporting.tables.latex import render_latex
from eadbench.harness.reporting.tables.markdown import render_markdown
from eadbench.harness.reporting.tables.matrix import render_matrix
from eadbench.harness.reporting.tables.seeds import render_seeds, seeds_csv, seeds_terminal

__all__ = [
    "CSV_COLUMNS",
    "FORMATS",
    "render",
    "render_matrix",
    "render_seeds",
    "seeds_csv",
    "seeds_terminal",
    "terminal",
]

CSV_COLUMNS = (
    *("table", "victim", "label", *SETTING, "case", *FIGURES, *COUNTS, *TRANSFER, *ALL_TARGETS, *INTERVALS),
    *(*ROUNDED_COLUMNS, "indicators", "model", "evaluated_on", "cell"),
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
    varying = _varying(summary, labels, victims)
    place = CSV_COLUMNS.index(SETTING[-1]) + 1
    columns = [*CSV_COLUMNS[:place], *varying, *CSV_COLUMNS[place:]]
    return str(labelled.assign(**varying)[columns].to_csv(index=False, lineterminator="\n"))


def _varying(summary: pd.DataFrame, labels: Labels, victims: Sequence[Victim]) -> dict[str, list[Any]]:
    """Return a column for each hyperparameter of an attack, and each field of a training, that varies.

    The latter is named ``training.seed``.
    """
    trainings = {
        victim.digest: {f"training.{name}": value for name, value in victim.training.items()} for victim in victims
    }
    fields = varying_names([training for training in trainings.values() if training])
    names = dict.fromkeys(
        name
        for attack in labels.attacks.values()
        for name in attack.details
        if name not in attack.lists and name not in CSV_COLUMNS
    )
    parameters = [parsed(text) | with_targets(parsed(text), "") for text in summary["parameters"]]
    columns = {name: [values.get(name) for values in parameters] for name in names}
    return columns | {name: [trainings.get(model, {}).get(name) for model in summary["model"]] for name in fields}


FORMATS: dict[str, Callable[[pd.DataFrame, Sequence[Victim]], str]] = {
    "csv": render_csv,
    "markdown": render_markdown,
    "latex": render_latex,
}
