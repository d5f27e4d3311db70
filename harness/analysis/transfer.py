"""The transfer matrix: how often examples crafted on one victim (a line) fool another (a column)."""

from collections.abc import Sequence

import pandas as pd
from rich import box
from rich.table import Table

from eadbench.harness.labels import defense_text, parameter_text, rate_text
from eadbench.harness.plan.grid import Victim

SETTING = ("model", "attack", "decision_rule", "beta", "kappa")


def matrix(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame | None:
    """ASR over every target class, in percent, of each setting (line) on each victim (column).

    Parameters
    ----------
    summary
        From ``eadbench.harness.analysis.aggregate.summarise``.
    victims
        Those that examples were crafted or tested on.

    Returns
    -------
    DataFrame with the columns ``SETTING`` and one per victim's digest, NaN where a setting was not tested; None where
    nothing was tested on another victim.
    """
    lines = summary[summary["case"] == "best"]  # the mean over all targets stands in each case's line
    if (lines["model"] == lines["evaluated_on"]).all():
        return None
    crafted = lines["model"].isin(lines.loc[lines["model"] != lines["evaluated_on"], "model"])
    wide = lines[crafted].pivot_table(
        index=list(SETTING), columns="evaluated_on", values="all_targets_asr", sort=False, dropna=False, observed=True
    )
    wide = wide.dropna(how="all")
    digests = [victim.digest for victim in victims]
    order = sorted(wide.columns, key=lambda digest: digests.index(digest) if digest in digests else len(digests))
    return wide[order].reset_index()


def terminal(found: pd.DataFrame, victims: Sequence[Victim]) -> Table:
    """The matrix for a terminal."""
    names = {victim.digest: defense_text(victim.defense, victim.temperature) for victim in victims}
    table = Table(title="ASR over every target, by victim tested on", title_style="italic", title_justify="left")
    table.box = box.SIMPLE_HEAD
    for head in ("crafted on", "attack", "β", "κ"):
        table.add_column(head)
    onto = [column for column in found.columns if column not in SETTING]
    for digest in onto:
        table.add_column(f"{names.get(digest, '')}\n{digest[:6]}", justify="right")
    for line in found.to_dict("records"):
        rule = f" ({line['decision_rule']})" if line["decision_rule"] else ""
        rates = ["" if pd.isna(line[digest]) else rate_text(line[digest]) for digest in onto]
        table.add_row(
            f"{names.get(line['model'], '')} {line['model'][:6]}",
            f"{line['attack']}{rule}",
            parameter_text(line["beta"]),
            parameter_text(line["kappa"]),
            *rates,
        )
    return table
