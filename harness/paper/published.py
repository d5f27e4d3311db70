"""The figures that the paper prints, with their settings named as our summaries name them."""

from importlib import resources

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import FIGURES

SETTING = ("dataset", "defense", "temperature", "attack", "decision_rule", "beta", "kappa", "case")
"""The columns that say what a line of the paper's tables was measured on."""

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
"""The paper's tables of results in full. 2 and 3 are the average cases of 8 to 10 and of 14; 4 has no results."""

NUMBERS = ("temperature", "beta", "kappa")


def published() -> pd.DataFrame:
    """The figures of the paper's tables 1 to 14.

    Returns
    -------
    DataFrame
        `table` ("6, 8": every table that prints the line), the columns :data:`SETTING`, and `FIGURES` of
        `harness.aggregate`, NaN where the paper has "N.A.". One line per setting, but for EAD (L1) at β = 1e-3 on
        CIFAR10: table 7 and tables 2 and 9 differ, so that there are two. In the order of the tables, 2 and 3 last.
    """
    with resources.files(__package__).joinpath("tables.csv").open(encoding="utf-8") as file:
        lines = pd.read_csv(file, keep_default_na=False, na_values=dict.fromkeys((*NUMBERS, *FIGURES), ""))
    lines["kappa"] = lines["kappa"].fillna(0.0)  # left out for I-FGM in table 13: it has none
    lines["defense"] = lines["defense"].str.replace("adversarial training:", "adversarial_training:")
    in_full_first = lines.sort_values("table", key=lambda table: ~table.isin(TITLES), kind="stable")
    tables = in_full_first.groupby([*SETTING, *FIGURES], sort=False, dropna=False)["table"]
    return tables.agg(lambda found: ", ".join(map(str, sorted(found)))).reset_index()


def same_setting(lines: pd.DataFrame) -> pd.Series:
    """A text of each line's :data:`SETTING` that is equal where two settings are the same.

    Numbers are told apart by six digits, and a defence's attacks in any order are the same.
    """
    texts = lines[list(SETTING)].astype(dict.fromkeys(NUMBERS, "float64"))
    for name in NUMBERS:
        texts[name] = ["" if np.isnan(value) else f"{value:.6g}" for value in texts[name]]
    texts["defense"] = [" + ".join(sorted(training_parts(label))) or label for label in texts["defense"]]
    return texts.agg("|".join, axis=1) if len(texts) else pd.Series(dtype=str)


def training_parts(label: str) -> frozenset[str]:
    """The attacks of an adversarial training's label, {"EAD-L1", "C&W"}; empty for any other defence."""
    name, _, attacks = label.partition(": ")
    return frozenset(attacks.split(" + ")) if name == "adversarial_training" and attacks else frozenset()
