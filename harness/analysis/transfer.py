"""The transfer matrix: the ASR of examples crafted on one victim (line) and tested on another (column)."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.table import Table

from eadbench.harness.analysis.aggregate import SETTING
from eadbench.harness.errors import EadbenchError
from eadbench.harness.labels import Labels
from eadbench.harness.numbers import parameter_text, rate_text
from eadbench.harness.plan.grid import Victim

__all__ = ["HEADS", "csv", "matrix", "terminal", "victims_tested_on"]

HEADS = ("cell", "model", "series", *SETTING)
"""The columns that identify a line of a matrix; the others are digests of victims."""


def matrix(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame | None:
    """Return the ASR over every target class, in percent, of each cell (line) on each victim (column).

    Parameters
    ----------
    summary
        The result of ``aggregate.summarise``.
    victims
        The victims of the sweep, in the order of the columns.

    Returns
    -------
    DataFrame with the columns ``HEADS`` and one column per victim's digest, NaN if a cell was not tested on it; None
    if no example was tested on another victim.

    Raises
    ------
    EadbenchError
        A cell has two lines for one victim.
    """
    lines = summary[summary["case"] == "best"]  # every case's line repeats the mean over all targets
    if (lines["model"] == lines["evaluated_on"]).all():
        return None
    duplicates = lines[lines.duplicated(["cell", "evaluated_on"])]
    if len(duplicates):
        cell = duplicates["cell"].iloc[0]
        raise EadbenchError(f"cell {cell} has two lines for one victim; give the rows of one sweep")
    sources = lines.loc[lines["model"] != lines["evaluated_on"], "model"]
    transfers = lines[lines["model"].isin(sources)]
    heads = transfers.drop_duplicates("cell")[list(HEADS)].reset_index(drop=True)
    rates = transfers.pivot(index="cell", columns="evaluated_on", values="all_targets_asr").loc[heads["cell"]]
    digests = [victim.digest for victim in victims]
    order = sorted(rates.columns, key=lambda digest: digests.index(digest) if digest in digests else len(digests))
    return pd.concat([heads, rates[order].reset_index(drop=True)], axis=1)


def victims_tested_on(matrix: pd.DataFrame) -> list[str]:
    """Return the digests that are columns of a matrix."""
    return [str(column) for column in matrix.columns if column not in HEADS]


def csv(matrix: pd.DataFrame, labels: Labels) -> str:
    """Return a matrix as CSV, with the labels of its victims and attacks."""
    labelled = matrix.assign(crafted_on=matrix["model"].map(labels.victim), label=matrix["series"].map(labels.series))
    columns = ["crafted_on", "label", *SETTING, "model", "cell", *victims_tested_on(matrix)]
    return str(labelled[columns].to_csv(index=False, lineterminator="\n"))


def terminal(matrix: pd.DataFrame, labels: Labels) -> Table:
    """Render a matrix for a terminal."""
    table = Table(title="ASR over every target, by victim tested on", title_style="italic", title_justify="left")
    table.box = box.SIMPLE_HEAD
    for head in ("crafted on", "attack", "β", "κ"):
        table.add_column(head)
    targets = victims_tested_on(matrix)
    names = labels.short_victims([*targets, *matrix["model"]])
    for digest in targets:
        table.add_column(f"{names[digest]}\n{digest[:6]}", justify="right")
    for line in matrix.to_dict("records"):
        rates = ["" if pd.isna(line[digest]) else rate_text(line[digest]) for digest in targets]
        table.add_row(
            f"{names[line['model']]} {line['model'][:6]}",
            labels.series[line["series"]],
            parameter_text(line["beta"]),
            parameter_text(line["kappa"]),
            *rates,
        )
    return table
