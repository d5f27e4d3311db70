"""Lines of the summary: their labels, and the filters that choose among them."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import OWN, Labels, attack_label, dataset_label, family_label
from eadbench.harness.numbers import parameter_text

Line = Mapping[Hashable, Any]
"""A line of the summary by its columns."""

FILTERS = {
    "dataset": "Data set",
    "victim": "Victim",
    "defence": "Defence",
    "T": "T",
    "targets": "Targets",
    "attack": "Attack",
    "rule": "Decision rule",
    "beta": "β",
    "kappa": "κ",
    "tested": "Tested on",
}
"""The filters of lines: the name of each in the page's address, and its heading."""


def described(summary: Summary, lines: pd.DataFrame) -> pd.DataFrame:
    """Return the labels by which lines of a summary are chosen, on their index.

    Returns
    -------
    DataFrame with the columns of ``FILTERS``, empty where a line has no such thing, and `series` and `setting`:
    ``EAD (L1)`` and ``EAD (L1), β = 1e-3, κ = 0``. Two different attacks, or victims, never have the same label.
    """
    labels = summary.labels
    texts = {
        "dataset": _labelled(lines, ["dataset"], lambda line: dataset_label(line["dataset"])),
        "victim": lines["model"].map(labels.victim),
        "defence": _labelled(lines, ["defense", "defense_parameters"], family_label),
        "T": lines["temperature"].map(lambda value: "" if pd.isna(value) else f"{value:g}"),
        "targets": lines["targets"],
        "attack": _labelled(lines, ["attack", "norm"], lambda line: attack_label(line["attack"], line["norm"])),
        "rule": lines["decision_rule"].map(lambda rule: "" if pd.isna(rule) else str(rule).upper()),
        "beta": lines["beta"].map(parameter_text),
        "kappa": lines["kappa"].map(parameter_text),
        "tested": _labelled(lines, ["model", "evaluated_on"], lambda line: _tested(labels, line)),
        "series": lines["series"].map(labels.series),
        "setting": _labelled(lines, ["series", "beta", "kappa"], labels.setting),
    }
    return pd.DataFrame(texts, index=lines.index, dtype=object)


def _labelled(lines: pd.DataFrame, columns: list[str], label: Callable[[Line], str]) -> "pd.Series[str]":
    """Return the label of each line; lines with equal values in these columns have one label, which is made once."""
    groups = lines.groupby(columns, dropna=False, sort=False).ngroup()
    first = ~groups.duplicated()
    texts = map(label, lines[first].to_dict("records"))
    return groups.map(dict(zip(groups[first], texts, strict=True)))


def _tested(labels: Labels, line: Line) -> str:
    tested = line["evaluated_on"]
    return OWN if tested == line["model"] else labels.victim.get(tested, tested)


def filter_options(texts: pd.DataFrame) -> dict[str, list[str]]:
    """Return the options of each filter in which lines differ, in the order of the lines."""
    options = {name: [text for text in dict.fromkeys(texts[name]) if text] for name in FILTERS}
    for name in ("T", "beta", "kappa"):
        options[name].sort(key=float)
    return {name: values for name, values in options.items() if len(values) > 1}


def matching(texts: pd.DataFrame, chosen: Mapping[str, Sequence[str]]) -> pd.Series:
    """Return which lines have a chosen option of every filter; a filter without a chosen option takes all lines."""
    mask = pd.Series(True, index=texts.index)
    for name, options in chosen.items():
        if options:
            mask &= texts[name].isin(options)
    return mask
