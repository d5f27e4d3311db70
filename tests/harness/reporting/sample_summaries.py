"""Rows of cells over β, κ and T, and their summaries."""

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from eadbench.harness.analysis.aggregate import summarise
from eadbench.harness.plan.grid import Victim
from eadbench.models import canonical_json

UNDEFENDED = {"model": "a" * 16, "defense": "none", "defense_parameters": "{}", "temperature": None}
EAD = [{"attack": "ead", "norm": None, "decision_rule": rule} for rule in ("en", "l1")]
CW = {"attack": "cw", "norm": None, "decision_rule": None}
NAMES = {
    ("cw", None, None): "C&W",
    ("ead", None, "en"): "EAD (EN)",
    ("ead", None, "l1"): "EAD (L1)",
    ("fgm", "l1", None): "FGM-L1",
    ("fgm", "linf", None): "FGM-Linf",
}
"""What legends call an attack, its norm and its decision rule."""
FGM = [{"attack": "fgm", "norm": norm, "decision_rule": None, "beta": None, "kappa": 0.0} for norm in ("l1", "linf")]


def distilled(temperature: float) -> dict[str, Any]:
    parameters = canonical_json({"temperature": temperature})
    defense = {"defense": "distillation", "defense_parameters": parameters, "temperature": temperature}
    return {"model": f"{int(temperature):016d}"} | defense


def cell(*settings: Mapping[str, Any], images: int = 5, **more: Any) -> list[dict[str, Any]]:
    """The rows of a cell: two targets of each image, distances and successes drawn from its name."""
    shared = {"dataset": "mnist", "split": "test", "arch": "cw", "trained_on": "x", "beta": None, "kappa": 0.0}
    shared["parameters"] = "{}"
    for setting in (*settings, more):
        shared |= setting
    shared["cell"] = "/".join(str(shared[name]) for name in sorted(shared))
    shared.setdefault("evaluated_on", shared["model"])
    generator = np.random.default_rng(sum(map(ord, shared["cell"])))
    rows = []
    for image, target in product(range(images), (1, 2)):
        l1, l2, linf = generator.uniform(1, 5, size=3).tolist()
        figures = {"success": bool(generator.random() < 0.8), "l1": l1, "l2": l2, "linf": linf}
        rows.append(shared | {"image": image, "label": 0, "target": target} | figures)
    return rows


def summary(*cells: list[dict[str, Any]]) -> pd.DataFrame:
    rows = pd.DataFrame([row for one in cells for row in one])
    return summarise(rows.astype({"beta": "float64", "temperature": "float64"}), seed=0)


def victim(model: str, defense: str = "none", **parameters: Any) -> Victim:
    return Victim(
        digest=model,
        name=None,
        arch="cw",
        defense=defense,
        defense_parameters=parameters,
        trained_on="x",
        accuracy=None,
        images=[],
        labels=[],
    )


def over_beta(*betas: float, **more: Any) -> list[list[dict[str, Any]]]:
    return [cell(UNDEFENDED, rule, {"beta": beta}, **more) for rule, beta in product(EAD, betas)]


def over_kappa(*kappas: float, **more: Any) -> list[list[dict[str, Any]]]:
    attacks = [CW, *(rule | {"beta": 1e-3} for rule in EAD)]
    return [cell(UNDEFENDED, attack, {"kappa": kappa}, **more) for attack, kappa in product(attacks, kappas)]


def over_temperature(*temperatures: float, **more: Any) -> list[list[dict[str, Any]]]:
    attacks = [CW, *FGM, *(rule | {"beta": 1e-3} for rule in EAD)]
    return [cell(distilled(t), attack, **more) for t, attack in product(temperatures, attacks)]


TESTED = [{"evaluated_on": distilled(100)["model"]}, {"evaluated_on": "b" * 16}]
KINDS = ("asr", "distortion")
TRAINED = {
    "model": "b" * 16,
    "defense": "adversarial_training",
    "defense_parameters": '{"attacks":[{"decision_rules":["l1"],"name":"ead"},{"name":"cw"}]}',
}
