"""Lines of the summary: what they are called, and which of them are shown."""

from collections.abc import Mapping, Sequence

import pandas as pd

from eadbench.harness.labels import OWN, defense_text, parameter_text, series_name, setting_text, victim_names
from eadbench.harness.plan.grid import Victim

FILTERS = {
    "dataset": "Data set",
    "victim": "Victim",
    "defence": "Defence",
    "T": "T",
    "attack": "Attack",
    "rule": "Decision rule",
    "beta": "β",
    "kappa": "κ",
    "tested": "Tested on",
}
"""What lines are filtered by: the name of a choice in an address, and its heading."""


def described(summary: pd.DataFrame, victims: Sequence[Victim]) -> pd.DataFrame:
    """The texts by which lines of the summary are chosen, on its index.

    Returns
    -------
    DataFrame with the columns of ``FILTERS``, empty where a line has no such thing, and `series` and `setting`:
    ``EAD (L1)`` and ``EAD (L1), β = 1e-3, κ = 0``.
    """
    names = victim_names(victims)
    beta, kappa = (list(map(parameter_text, summary[name])) for name in ("beta", "kappa"))
    series = list(map(series_name, summary["attack"], summary["decision_rule"]))
    texts = {
        "dataset": summary["dataset"],
        "victim": summary["model"].map(lambda digest: names.get(digest, digest)),
        "defence": list(map(defense_text, summary["defense"], [None] * len(summary))),
        "T": ["" if pd.isna(value) else f"{value:g}" for value in summary["temperature"]],
        "attack": summary["attack"],
        "rule": summary["decision_rule"],
        "beta": beta,
        "kappa": kappa,
        "tested": [
            OWN if tested == model else names.get(tested, tested)
            for model, tested in zip(summary["model"], summary["evaluated_on"], strict=True)
        ],
        "series": series,
        "setting": [setting_text(*given) for given in zip(series, beta, kappa, strict=True)],
    }
    return pd.DataFrame(texts, index=summary.index)


def options(texts: pd.DataFrame) -> dict[str, list[str]]:
    """What there is to choose from, by filter: those on which lines differ, in the order of the lines."""
    found = {name: [text for text in dict.fromkeys(texts[name]) if text] for name in FILTERS}
    for name in ("T", "beta", "kappa"):
        found[name].sort(key=float)
    return {name: values for name, values in found.items() if len(values) > 1}


def matching(texts: pd.DataFrame, chosen: Mapping[str, Sequence[str]]) -> pd.Series:
    """Which lines have one of the texts chosen of every filter; a filter of which nothing is chosen takes all."""
    mask = pd.Series(True, index=texts.index)
    for name, values in chosen.items():
        if values:
            mask &= texts[name].isin(values)
    return mask
