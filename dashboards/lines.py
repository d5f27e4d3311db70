"""Lines of the summary: what they are called, and which of them are shown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import compress

import pandas as pd

from harness.grid import Victim
from harness.words import defense_text, parameter_text

OWN = "the attacked victim"
"""What `tested` says of examples that were not tested on another victim."""

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


def victim_names(victims: Sequence[Victim]) -> dict[str, str]:
    """By digest, a name that no other of the victims has: ``cw_mnist, distillation T = 100``."""
    names = {victim.digest: f"{victim.arch}, {defense_text(victim.defense, victim.temperature)}" for victim in victims}
    count = Counter(names.values())
    return {digest: name if count[name] == 1 else f"{name} ({digest[:6]})" for digest, name in names.items()}


def told_apart(victims: Sequence[str]) -> list[str]:
    """Victims' names without the parts that all of them share; a single kind of victim keeps its name."""
    parts = [victim.split(", ") for victim in victims]
    if len(set(victims)) < 2 or len({len(part) for part in parts}) != 1:
        return list(victims)
    differing = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    return [", ".join(compress(part, differing)) for part in parts]


def series_name(attack: str, rule: str) -> str:
    """An attack with its decision rule: ``EAD (L1)``."""
    return f"{attack} ({rule})" if rule else attack


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


def setting_text(series: str, beta: str, kappa: str) -> str:
    """An attack with its parameters, those that it has: ``C&W, κ = 0``."""
    parameters = [f"{symbol} = {text}" for symbol, text in (("β", beta), ("κ", kappa)) if text]
    return ", ".join([series, *parameters])


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
