"""Rows that have the figures of the paper's own tables, with changes, and the claims judged on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.paper import claims
from eadbench.harness.paper.claims import CLAIMS, Checked
from eadbench.harness.paper.evidence import Evidence
from eadbench.harness.paper.published import published
from eadbench.harness.plan.grid import Victim
from eadbench.models import canonical_json

IMAGES = 30
TESTED = 10_000


def parameters_of(learnt_from: str, temperature: float) -> dict[str, Any]:
    """Return the parameters of a defence that learns from attacks ("cw + ead-l1"), or that has a temperature."""
    names = [part.split("-") for part in learnt_from.split(" + ") if part]
    attacks = [{"name": name, **({"decision_rules": rules} if rules else {})} for name, *rules in names]
    return {"attacks": attacks} if attacks else {} if np.isnan(temperature) else {"temperature": temperature}


def name_of(dataset: str, defense: str, learnt_from: str, temperature: float) -> str:
    return f"{dataset}/{defense}/{learnt_from}/{temperature:g}"


def victim(
    digest: str, defense: str, learnt_from: str = "", temperature: float = np.nan, *, accuracy: float | None = 0.992
) -> Victim:
    return Victim(
        digest=digest,
        name=None,
        arch="cw",
        defense=defense,
        defense_parameters=parameters_of(learnt_from, temperature),
        trained_on="",
        accuracy=accuracy,
        images=(),
        labels=(),
    )


def paper() -> pd.DataFrame:
    """The paper's average case, one line per cell, with `model` and `evaluated_on` for its victims."""
    lines = published()
    # Of the two figures for EAD (L1) on CIFAR10 at β = 1e-3, those of tables 2 and 9.
    lines = lines[(lines["table"] != "7") | (lines["decision_rule"] != "l1") | (lines["beta"] != 1e-3)]
    lines = lines[lines["case"] == "average"].copy()
    named = ["dataset", "defense", "learnt_from", "temperature"]
    lines["evaluated_on"] = list(map(name_of, *(lines[name] for name in named)))
    transfer = lines["crafted_on"] != ""
    lines.loc[transfer, "defense"] = lines["crafted_on"]
    lines.loc[transfer, "temperature"] = np.nan
    lines["model"] = list(map(name_of, *(lines[name] for name in named)))
    setting = lines.groupby(["model", "attack", "norm", "decision_rule", "beta", "kappa"], dropna=False, sort=False)
    return lines.assign(cell=[f"cell {index}" for index in setting.ngroup()])


def rows_of(lines: pd.DataFrame, *, images: int = IMAGES, spread: float = 0.3) -> pd.DataFrame:
    """Rows with a line's figures: every image's distortions vary by `spread`, in every cell alike.

    Each image has ten targets, so that an ASR is right to 100 / (10 · images) percent; what is won by image and
    target is the same at the same ASR.
    """
    image, target = (axis.ravel() for axis in np.mgrid[:images, :10])
    factor = np.random.default_rng(0).uniform(1 - spread, 1 + spread, images)
    factor = (factor / factor.mean())[image]
    luck = (np.random.default_rng(1).permutation(10 * images) + 0.5) / (10 * images)
    parts = []
    for line in lines.to_dict("records"):
        won = luck < line["asr"] / 100
        part = {"image": image, "target": target, "success": won, "split": "test", "arch": "cw"}
        part |= {metric: np.where(won, line[metric] * factor, np.nan) for metric in METRICS}
        part |= {name: line[name] or None for name in ("norm", "decision_rule")}
        part |= {name: line[name] for name in ("dataset", "attack", "cell", "model", "evaluated_on", "defense")}
        of_defense = canonical_json(parameters_of(line["learnt_from"], line["temperature"]))
        part |= {"defense_parameters": of_defense, "temperature": line["temperature"], "parameters": "{}"}
        part["precision"] = "float32"
        parts.append(pd.DataFrame(part | {"beta": line["beta"], "kappa": line["kappa"]}))
    return pd.concat(parts, ignore_index=True).astype({"temperature": "float64", "beta": "float64"})


def victims_of(lines: pd.DataFrame) -> list[Victim]:
    """The victims of the lines, by their names."""
    names = sorted({*lines["model"], *lines["evaluated_on"]})
    parts = [name.split("/") for name in names]
    return [
        victim(name, defense, learnt_from, float(temperature))
        for name, (_, defense, learnt_from, temperature) in zip(names, parts, strict=True)
    ]


Change = Callable[[pd.DataFrame], pd.DataFrame]
MNIST = "dataset == 'mnist' and evaluated_on == model"
TRANSFER = "evaluated_on != model"
IFGM_L1 = "attack == 'ifgm' and norm == 'l1'"


def scaled(query: str, **factors: float) -> Change:
    """The lines with some figures of those that answer the query multiplied; there is such a line."""

    def change(lines: pd.DataFrame) -> pd.DataFrame:
        index = lines.query(query).index
        assert len(index)
        return lines.assign(
            **{name: lines[name].where(~lines.index.isin(index), lines[name] * f) for name, f in factors.items()}
        )

    return change


def without(query: str) -> Change:
    """The lines but those that answer the query."""
    return lambda lines: lines.drop(lines.query(query).index)


def judged(words: str, lines: pd.DataFrame, victims: list[Victim] | None = None, **size: Any) -> Checked:
    """The one claim that has the words, of rows with the lines' figures."""
    [claim] = [claim for claim in CLAIMS if words in claim.sentence]
    known = victims or victims_of(lines)
    tested = {one.digest: TESTED for one in known}
    return claims.check_claim(claim, Evidence.of_rows(rows_of(lines, **size), known, tested=tested))


def two_attacks() -> pd.DataFrame:
    """I-FGM-L1 and EAD (EN) on an undefended MNIST network."""
    attacks = f"(attack == 'ead' and decision_rule == 'en' or {IFGM_L1})"
    return paper().query(f"{MNIST} and defense == 'none' and {attacks}")
