"""Summaries that have lines of the paper's tables, and the paper's own."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from eadbench.harness.analysis.aggregate import COLUMNS as SUMMARY_COLUMNS
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.labels import series_of
from eadbench.harness.paper.published import published, same_setting
from eadbench.harness.plan.grid import Victim
from eadbench.models import canonical_json

NAN = math.nan
UNDEFENDED, DISTILLED, TRAINED = "0" * 16, "d" * 16, "a" * 16
NUMBERS = ("temperature", "beta", "kappa", *FIGURES, *(f"{figure}_{end}" for figure in FIGURES for end in ("lo", "hi")))


def victim(digest: str, defense: str = "none", **parameters: Any) -> Victim:
    return Victim(
        digest=digest,
        name=None,
        arch="cw_mnist",
        defense=defense,
        defense_parameters=parameters,
        trained_on="mnist",
        accuracy=None,
        images=(),
        labels=(),
    )


def learning(*names: str) -> list[dict[str, Any]]:
    """Return the entries of attacks to learn from: "cw", "ead-l1"."""
    parts = [name.split("-") for name in names]
    return [{"name": name, **({"decision_rules": rules} if rules else {})} for name, *rules in parts]


VICTIMS = [victim(UNDEFENDED), victim(DISTILLED, "distillation", temperature=100.0)]


def line(**columns: Any) -> dict[str, Any]:
    """C&W's average case on an undefended MNIST network, unless said otherwise."""
    setting: dict[str, Any] = {"dataset": "mnist", "defense": "none", "temperature": NAN, "attack": "cw"}
    setting |= {"norm": None, "decision_rule": None, "parameters": "{}", "beta": NAN, "kappa": 0.0, "case": "average"}
    setting |= {"model": UNDEFENDED, "arch": "cw_mnist", "images": 100}
    setting |= {"targets": "all", "targets_per_image": 9, "missing": 0}
    figures = {"asr": 99.0, "l1": 24.706, "l2": 1.5776, "linf": 0.6168}
    ends = {f"{name}_lo": value * 0.9 for name, value in figures.items()}
    ends |= {f"{name}_hi": value * 1.1 for name, value in figures.items()}
    found = setting | figures | ends | columns
    temperature = found["temperature"]
    defense = canonical_json({} if math.isnan(temperature) else {"temperature": temperature})
    return {"evaluated_on": found["model"], "cell": "c" * 16, "table": "", "defense_parameters": defense} | found


def summary_of(*lines: dict[str, Any]) -> pd.DataFrame:
    summary = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS)).astype(dict.fromkeys(NUMBERS, "float64"))
    return summary.assign(series=series_of(summary))


def papers_own() -> tuple[pd.DataFrame, list[Victim]]:
    """The paper's figures as a summary of ours, each cell once; its victims."""
    victims: dict[str, Victim] = {}
    lines = []
    paper = published()
    # Of the two figures for EAD (L1) on CIFAR10, those of tables 2 and 9.
    once = paper.assign(key=same_setting(paper), last=paper["table"] == "7").sort_values("last", kind="stable")
    once = once.drop_duplicates("key").drop(columns=["key", "last"])
    for index, row in enumerate(once.to_dict("records")):
        parameters: dict[str, Any] = {} if math.isnan(row["temperature"]) else {"temperature": row["temperature"]}
        if row["learnt_from"]:
            parameters["attacks"] = learning(*row["learnt_from"].split(" + "))
        tested = (row["defense"], parameters)
        crafted: tuple[str, dict[str, Any]] = (row["crafted_on"], {}) if row["crafted_on"] else tested
        digests = []
        for defense, of_defense in (crafted, tested):
            digest = f"{row['dataset']}/{defense}/{canonical_json(of_defense)}"
            victims[digest] = victim(digest, defense, **of_defense)
            digests.append(digest)
        ours = {str(name): value for name, value in row.items() if name in (*NUMBERS, "dataset", "attack", "case")}
        ours |= {name: row[name] or None for name in ("norm", "decision_rule")}
        ours |= {"defense": crafted[0], "defense_parameters": canonical_json(crafted[1]), "cell": str(index)}
        ours |= {"temperature": crafted[1].get("temperature", NAN)}
        ours |= {f"{figure}_{end}": NAN for figure in FIGURES for end in ("lo", "hi")}
        lines.append(line(**ours, model=digests[0], evaluated_on=digests[1]))
    return summary_of(*lines), list(victims.values())


TRANSFER = {"evaluated_on": DISTILLED}
JOINT = {"model": TRAINED, "defense": "adversarial_training"}
JOINT["defense_parameters"] = canonical_json({"attacks": learning("ead-l1", "cw"), "images": 1000})
DISTILLATION = {"model": DISTILLED, "defense": "distillation", "temperature": 100.0}
EAD = {"attack": "ead", "decision_rule": "en", "beta": 1e-3}
