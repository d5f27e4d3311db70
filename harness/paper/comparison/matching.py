"""Match a summary with the figures that the paper prints."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import Labels, defense_label
from eadbench.harness.paper.published import SETTING, learnt_from, published, same_setting
from eadbench.harness.plan.grid import Victim

__all__ = ["COLUMNS", "PARTS", "TARGETS", "compare", "paper_figures"]

TARGETS = 9
"""Target classes of an image in the paper."""
PARTS = ("ours", "ours_lo", "ours_hi", "paper", "ratio")
"""The columns of a compared figure: ``asr_ours``, ``asr_ours_lo``, …"""
COLUMNS = (
    *("table", *SETTING, "label", "defence", "victim", "model", "evaluated_on", "arch", "cell", "images"),
    *(f"{figure}_{part}" for figure in FIGURES for part in PARTS),
)


def compare(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Put our figures beside the paper's, for every setting and case that both have.

    The paper's best and worst cases are over nine targets: over another number, the average case alone is compared.
    If two of our victims match one line of the paper (two undefended networks), each makes a line. Examples crafted on
    one victim and tested on another match table 13 if it measured that transfer.

    Parameters
    ----------
    summary
        The result of ``eadbench.harness.analysis.aggregate.summarise`` for targeted attacks, as the paper's are.
    victims
        The victims of the summary's ``model`` and ``evaluated_on``, of one sweep or several.

    Returns
    -------
    DataFrame with the columns ``COLUMNS``, in the order of the paper's tables: the setting; the labels of our attack,
    defence and victim; and for each of ``FIGURES`` ours with its 95 % interval, the paper's, and their ratio (NaN if
    the paper's is 0 or "N.A.").
    """
    ours = _in_paper_columns(summary[_over_same_targets(summary)], victims)
    paper = published()
    labels = Labels(lines=summary, victims=victims)
    left = paper.assign(key=same_setting(paper), position=range(len(paper)))
    right = ours.assign(key=same_setting(ours), label=ours["series"].map(labels.series))
    right = right.drop(columns=["table", *SETTING])
    both = left.merge(right, on="key", suffixes=("_paper", "_ours")).sort_values("position", kind="stable")
    for figure in FIGURES:
        for end in ("lo", "hi"):
            both[f"{figure}_ours_{end}"] = both[f"{figure}_{end}"]
        nonzero = both[f"{figure}_paper"].where(both[f"{figure}_paper"] != 0)
        both[f"{figure}_ratio"] = both[f"{figure}_ours"] / nonzero
    return both[list(COLUMNS)].reset_index(drop=True)


def paper_figures(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Return the paper's figures for every line of a summary.

    Returns
    -------
    DataFrame with the index of the summary and the columns ``FIGURES``: NaN where the paper has none. Of different
    figures for one line, those that more tables print.
    """
    ours = _in_paper_columns(summary[_over_same_targets(summary)], victims)
    paper = published()
    often_first = paper.assign(key=same_setting(paper)).sort_values(
        "table", key=lambda tables: -tables.str.count(","), kind="stable"
    )
    by_setting = often_first.drop_duplicates("key").set_index("key")[list(FIGURES)]
    found = by_setting.reindex(same_setting(ours)).set_axis(ours.index)
    return found.reindex(summary.index)


def _over_same_targets(summary: pd.DataFrame) -> "pd.Series[bool]":
    """Return which lines have a case over as many targets as the paper's, or an average case of random targets."""
    average = (summary["case"] == "average") & summary["targets"].str.match("all|random")
    from_file = summary["targets"].str.startswith("file")  # an image may have fewer than the most
    return average | ((summary["targets_per_image"] == TARGETS) & ~from_file)


def _in_paper_columns(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """Return the summary's lines with the columns of `SETTING`; drop transfers to unknown victims."""
    known = {victim.digest: victim for victim in victims}
    labels = Labels(lines=summary, victims=victims)
    transfer = summary["evaluated_on"] != summary["model"]
    ours = summary[~transfer | summary["evaluated_on"].isin(known)].copy()
    for name in ("norm", "decision_rule"):
        ours[name] = ours[name].fillna("")
    ours["crafted_on"] = ours["defense"].where(transfer[ours.index], "")
    parameters = [json.loads(text) for text in ours["defense_parameters"]]
    for position, (index, tested_on) in enumerate(zip(ours.index, ours["evaluated_on"], strict=True)):
        if transfer[index]:  # the paper's line has the defence of the victim tested on
            target = known[str(tested_on)]
            parameters[position] = dict(target.defense_parameters)
            ours.at[index, "defense"] = target.defense
            ours.at[index, "temperature"] = math.nan if target.temperature is None else target.temperature
    ours["learnt_from"] = [learnt_from(defense_parameters) for defense_parameters in parameters]
    ours["defence"] = list(map(_defence_text, ours["defense"], parameters))
    sources = [labels.victim[model] for model in ours["model"]]
    targets = [labels.victim.get(tested_on, tested_on) for tested_on in ours["evaluated_on"]]
    return ours.assign(
        victim=[
            source if source == target else f"{source} → {target}"
            for source, target in zip(sources, targets, strict=True)
        ]
    )


def _defence_text(defense: str, parameters: Mapping[str, Any]) -> str:
    """Return a defence as the paper's tables name it: ``T = 100``, ``trained on C&W``."""
    temperature = parameters.get("temperature")
    return defense_label(defense, parameters) if temperature is None else f"T = {temperature:g}"
