"""The cells of sweeps by place, found by setting.

A place is a victim, or a pair of victims for transfer.

Shape letters used below:
    R  rows of a cell
    M  distances, in the order of ``METRICS``
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.labels import attack_label, crafting_label, dataset_label, defense_label
from eadbench.harness.paper.published import learnt_from
from eadbench.harness.paper.sample import Floats, Ints
from eadbench.harness.plan.grid import Victim

_SETTING = ["model", "evaluated_on", "attack", "norm", "decision_rule", "beta", "kappa"]
_HYPERPARAMETERS = ["parameters", "precision"]


Attack = tuple[str, str | None, str | None]
"""An attack, its norm and its decision rule."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The examples of one attack, rule, β and κ at one place: R, sorted, without duplicates."""

    attack: str
    norm: str | None
    rule: str | None
    beta: float | None
    kappa: float
    examples: Ints = field(repr=False)
    """(R,): a number for each image and target, the same in all cells."""
    images: Ints = field(repr=False)
    """(R,): a number for each image, the same in all cells."""
    success: NDArray[np.bool_] = field(repr=False)
    """(R,)"""
    distances: Floats = field(repr=False)
    """(R, M): in the order of ``METRICS``; ignored for a failure."""
    digests: tuple[str, ...]
    """The cells' digests, one of those that differ in the choice of targets alone. Several differ in other
    hyperparameters; no claim is checked on them."""

    @property
    def setting(self) -> tuple[Attack, float | None, float]:
        """The attack with its β and κ."""
        return (self.attack, self.norm, self.rule), self.beta, self.kappa

    def __str__(self) -> str:
        return attack_label(self.attack, self.norm, self.rule)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A victim that examples were crafted on and, for a transfer, the victim that they were tested on."""

    dataset: str
    arch: str
    model: str
    defense: str
    defense_parameters: Mapping[str, Any]
    tested_on: Victim | None
    """The other victim of a transfer; None without transfer."""
    all_cells: list[Cell] = field(default_factory=list, repr=False)

    @property
    def learnt_from(self) -> str:
        """The attacks of adversarial training, such as ``cw + ead-l1``."""
        return learnt_from(self.defense_parameters)

    def cells(self, attack: Attack, *, kappa: float | None = 0.0) -> list[Cell]:
        """Return the cells of an attack at one κ (None: at every κ), sorted by β and κ."""
        cells = [cell for cell in self.all_cells if (cell.attack, cell.norm, cell.rule) == attack]
        return sorted(
            (cell for cell in cells if kappa is None or cell.kappa == kappa),
            key=lambda cell: (cell.beta or 0.0, cell.kappa),
        )

    def cell(self, attack: Attack, beta: float | None = None) -> Cell | None:
        """Return the cell of an attack and β at κ = 0, if there is one."""
        for cell in self.cells(attack):
            if cell.beta == beta or (cell.beta is not None and beta is not None and np.isclose(cell.beta, beta)):
                return cell
        return None

    @property
    def defense_text(self) -> str:
        """The defence in a sentence: ``trained on EAD-L1 + C&W``."""
        return _defense_text(self.defense, self.defense_parameters)

    def __str__(self) -> str:
        parts = [dataset_label(self.dataset), self.defense_text, f"victim {self.model[:8]}"]
        if self.tested_on is not None:
            defense = _defense_text(self.tested_on.defense, self.tested_on.defense_parameters)
            parts.append(f"tested on {self.tested_on.digest[:8]} ({defense})")
        return ", ".join(parts)


def places_of(rows: pd.DataFrame, victims: Mapping[str, Victim]) -> list[Place]:
    """Return every place of the rows with its cells, sorted; drop transfers to unknown victims.

    Of the rows of one example in cells that differ in the choice of targets alone, one counts.
    """
    if rows.empty:
        return []
    alike = [*_SETTING, *_HYPERPARAMETERS]
    rows = rows.assign(cell=rows.groupby(alike, dropna=False)["cell"].transform("min"))
    rows = rows.drop_duplicates([*alike, "dataset", "split", "image", "target"])
    image = rows.groupby(["dataset", "split", "image"]).ngroup().to_numpy(dtype=np.int64)
    example = rows.groupby(["dataset", "split", "image", "target"]).ngroup().to_numpy(dtype=np.int64)
    success = rows["success"].to_numpy(dtype=np.bool_)
    distances = rows[list(METRICS)].to_numpy(dtype=np.float64, na_value=np.nan)

    # dropna=False keeps groups with a null: attacks without a norm, rule or β.
    group = rows.groupby(_SETTING, dropna=False, sort=False).ngroup().to_numpy(dtype=np.int64)
    order = np.lexsort((example, group))
    places: dict[tuple[str, str], Place] = {}
    for indices in np.split(order, np.cumsum(np.bincount(group))[:-1]):
        row = rows.iloc[int(indices[0])]
        pair = (str(row["model"]), str(row["evaluated_on"]))
        if pair[0] != pair[1] and pair[1] not in victims:
            continue
        cell = Cell(
            attack=str(row["attack"]),
            norm=None if pd.isna(row["norm"]) else str(row["norm"]),
            rule=None if pd.isna(row["decision_rule"]) else str(row["decision_rule"]),
            beta=None if pd.isna(row["beta"]) else float(row["beta"]),
            kappa=float(row["kappa"]),
            examples=example[indices],
            images=image[indices],
            success=success[indices],
            distances=distances[indices],
            digests=tuple(sorted(set(rows["cell"].iloc[indices]))),
        )
        places.setdefault(pair, _place(row, victims)).all_cells.append(cell)
    return sorted(places.values(), key=_sort_key)


def _sort_key(place: Place) -> tuple[Any, ...]:
    target = "" if place.tested_on is None else place.tested_on.digest
    temperature = place.defense_parameters.get("temperature") or 0.0
    return (place.dataset, place.defense, temperature, place.model, target)


def _place(row: pd.Series[Any], victims: Mapping[str, Victim]) -> Place:
    """Return the place of a row, without cells."""
    return Place(
        dataset=str(row["dataset"]),
        arch=str(row["arch"]),
        model=str(row["model"]),
        defense=str(row["defense"]),
        defense_parameters=json.loads(row["defense_parameters"]),
        tested_on=None if row["evaluated_on"] == row["model"] else victims[str(row["evaluated_on"])],
    )


def _defense_text(defense: str, parameters: Mapping[str, Any]) -> str:
    """Return a defence in a sentence: ``trained on EAD-L1 + C&W``, ``distilled at T = 100``, ``no defence``."""
    if parameters.get("attacks"):
        return f"trained on {crafting_label(parameters['attacks'])}"
    if "temperature" in parameters:
        return f"distilled at T = {parameters['temperature']:g}"
    return defense_label(defense, parameters)
