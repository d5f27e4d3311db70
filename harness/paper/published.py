"""The figures that the paper prints, with settings named as in our rows."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import variants_of

__all__ = ["NUMBERS", "SETTING", "TITLES", "learnt_from", "published", "same_setting"]

SETTING = (
    *("dataset", "crafted_on", "defense", "learnt_from", "temperature"),
    *("attack", "norm", "decision_rule", "beta", "kappa", "case"),
)
"""The columns that identify a line of the paper's tables.

For a transfer, `crafted_on` is the defence of the source victim. For adversarial training, `learnt_from` is the result
of :func:`learnt_from`. Both are empty otherwise.
"""

TITLES = {
    1: "COV and EAD over β",
    5: "COV and EAD over β",
    6: "decision rules over β",
    7: "decision rules over β",
    8: "attacks on an undefended network",
    9: "attacks on an undefended network",
    10: "attacks on an undefended network",
    11: "defensive distillation",
    12: "defensive distillation",
    13: "transfer from an undefended to a distilled network",
    14: "adversarial training",
}
"""The paper's full tables of results. Tables 2 and 3 are the average cases of 8 to 10 and of 14; 4 has no results."""

NUMBERS = ("temperature", "beta", "kappa")

_DATASETS = {"MNIST": "mnist", "CIFAR10": "cifar10", "ImageNet": "imagenet"}
_ATTACKS = {
    "C&W": ("cw", ""),
    "FGM-L1": ("fgm", "l1"),
    "FGM-L2": ("fgm", "l2"),
    "FGM-Linf": ("fgm", "linf"),
    "I-FGM-L1": ("ifgm", "l1"),
    "I-FGM-L2": ("ifgm", "l2"),
    "I-FGM-Linf": ("ifgm", "linf"),
    "COV": ("cov", ""),
    "EAD": ("ead", ""),
}
"""Our attack and norm for each of the paper's."""
_DEFENSES = {
    "none": ("", "none", ""),
    "distillation": ("", "distillation", ""),
    "transfer: none -> distillation": ("none", "distillation", ""),
    "adversarial training: C&W": ("", "adversarial_training", "cw"),
    "adversarial training: EAD-EN": ("", "adversarial_training", "ead-en"),
    "adversarial training: EAD-L1": ("", "adversarial_training", "ead-l1"),
    "adversarial training: EAD-EN + C&W": ("", "adversarial_training", "cw + ead-en"),
    "adversarial training: EAD-L1 + C&W": ("", "adversarial_training", "cw + ead-l1"),
}
"""Our `crafted_on`, `defense` and `learnt_from` for each of the paper's defences."""


def published() -> pd.DataFrame:
    """Return the figures of the paper's tables 1 to 14.

    Returns
    -------
    DataFrame
        `table` ("6, 8": every table that prints the line), the columns :data:`SETTING`, and `FIGURES` of
        `harness.analysis.aggregate`, NaN for the paper's "N.A.". One line per setting, except EAD (L1) at β = 1e-3 on
        CIFAR10, which has two, because table 7 differs from tables 2 and 9. In the order of the tables, 2 and 3 last.
    """
    with resources.files(__package__).joinpath("tables.csv").open(encoding="utf-8") as file:
        lines = pd.read_csv(file, keep_default_na=False, na_values=dict.fromkeys((*NUMBERS, *FIGURES), ""))
    lines["kappa"] = lines["kappa"].fillna(0.0)  # empty for I-FGM in table 13, which has no κ
    lines["dataset"] = lines["dataset"].map(_DATASETS)
    lines["decision_rule"] = lines["decision_rule"].str.lower()
    for index, name in enumerate(("crafted_on", "learnt_from")):
        lines[name] = [_DEFENSES[defense][2 * index] for defense in lines["defense"]]
    lines["defense"] = [_DEFENSES[defense][1] for defense in lines["defense"]]
    lines["norm"] = [_ATTACKS[attack][1] for attack in lines["attack"]]
    lines["attack"] = [_ATTACKS[attack][0] for attack in lines["attack"]]
    full_tables_first = lines.sort_values("table", key=lambda table: ~table.isin(TITLES), kind="stable")
    tables = full_tables_first.groupby([*SETTING, *FIGURES], sort=False, dropna=False)["table"]
    return tables.agg(lambda numbers: ", ".join(map(str, sorted(numbers)))).reset_index()


def same_setting(lines: pd.DataFrame) -> pd.Series:
    """Return each line's :data:`SETTING` as a text, equal for equal settings; numbers count to six digits."""
    texts = lines[list(SETTING)].astype(dict.fromkeys(NUMBERS, "float64"))
    for name in NUMBERS:
        texts[name] = ["" if np.isnan(value) else f"{value:.6g}" for value in texts[name]]
    return texts.astype(str).agg("|".join, axis=1) if len(texts) else pd.Series(dtype=str)


def learnt_from(defense_parameters: Mapping[str, Any]) -> str:
    """Return the attacks that a defence learns from, in alphabetical order: ``cw + ead-l1``; empty without attacks."""
    attacks = {
        "-".join(part for part in (entry["name"], norm, rule) if part)
        for entry in defense_parameters.get("attacks", ())
        for norm, rule in variants_of(entry)
    }
    return " + ".join(sorted(attacks))
