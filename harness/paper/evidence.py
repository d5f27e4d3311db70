"""The rows of sweeps, ready to check claims on: cells found by their setting, and compared where they can be.

Cells are compared on the examples (image and target) that all of them have. Every figure is over all targets, which
has the expectation of the paper's average case without the noise of drawing one target per image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.aggregate import FIGURES, METRICS, attack_name, dataset_name, rule_name
from eadbench.harness.errors import UserError
from eadbench.harness.paper.published import training_parts
from eadbench.harness.paper.sample import Criterion, Floats, Sample, Verdict, together
from eadbench.harness.plan.grid import Victim

Ints = NDArray[np.integer[Any]]

LEAST_IMAGES = 10
"""Fewer are not enough data: a bootstrap of so few says little."""

_SETTING = ["model", "evaluated_on", "attack", "norm", "decision_rule", "beta", "kappa"]


class Finding(NamedTuple):
    """What one place says of a claim."""

    dataset: str
    verdict: Verdict
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The examples of one attack, rule, β and κ at one place: R of them, sorted, none twice."""

    attack: str
    rule: str
    beta: float | None
    kappa: float
    examples: Ints = field(repr=False)
    """(R,), equal in two cells where image and target are."""
    images: Ints = field(repr=False)
    """(R,)."""
    outcomes: Floats = field(repr=False)
    """(R, 1 + F): 1, success, and the distortions, 0 where it failed."""
    digests: tuple[str, ...]
    """More than one where attacks of different hyperparameters share the setting: no claim is checked on these."""

    def __str__(self) -> str:
        return f"{self.attack} ({self.rule})" if self.rule else self.attack


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A victim that examples were crafted on, and the one they were tested on: the same but for transfers."""

    dataset: str
    arch: str
    model: str
    defense: str
    temperature: float | None
    tested_on: Victim | None
    """None unless it is another."""
    found: list[Cell] = field(default_factory=list, repr=False)

    def cells(self, attack: str, rule: str = "", *, kappa: float | None = 0.0) -> list[Cell]:
        """The cells of an attack and rule at one κ, or (None) at every, by β and κ."""
        cells = [cell for cell in self.found if (cell.attack, cell.rule) == (attack, rule)]
        return sorted(
            (cell for cell in cells if kappa is None or cell.kappa == kappa),
            key=lambda cell: (cell.beta or 0.0, cell.kappa),
        )

    def cell(self, attack: str, rule: str = "", beta: float | None = None) -> Cell | None:
        """The cell of that setting at κ = 0, if it is there."""
        for cell in self.cells(attack, rule):
            if cell.beta == beta or (cell.beta is not None and beta is not None and np.isclose(cell.beta, beta)):
                return cell
        return None

    def __str__(self) -> str:
        parts = [self.dataset, _defense_text(self.defense, self.temperature), f"victim {self.model[:8]}"]
        if self.tested_on is not None:
            to = _defense_text(self.tested_on.defense, self.tested_on.temperature)
            parts.append(f"tested on {self.tested_on.digest[:8]} ({to})")
        return ", ".join(parts)


class Evidence:
    """The targeted examples of one or more sweeps; those that are there twice count once.

    Raises
    ------
    UserError
        `resamples` is less than 1.
    """

    def __init__(self, rows: pd.DataFrame, victims: Sequence[Victim], *, seed: int, resamples: int) -> None:
        if resamples < 1:
            raise UserError(f"resamples: must be at least 1, not {resamples}")
        self.seed = seed
        self.resamples = resamples
        self.victims = {victim.digest: victim for victim in sorted(victims, key=lambda one: one.accuracy is not None)}
        targeted = rows[rows["target"].notna()]
        unique = targeted.drop_duplicates(["cell", "evaluated_on", "split", "image", "target"])
        self._places = _places(unique.reset_index(drop=True), self.victims)

    def attacked(self, defense: str) -> list[Place]:
        """The victims of a defence ("adversarial_training": of any attacks) that were attacked themselves."""
        return [p for p in self._places if p.tested_on is None and p.defense.partition(": ")[0] == defense]

    def transfers(self, temperature: float) -> list[Place]:
        """From undefended victims to those distilled at `temperature`."""
        return [
            place
            for place in self._places
            if (to := place.tested_on) is not None
            and (place.defense, to.defense, to.temperature) == ("none", "distillation", temperature)
        ]

    def judge(self, place: Place, words: str, cells: Sequence[Cell | None], *criteria: Criterion) -> Iterator[Finding]:
        """What `cells` say by all the criteria together, in one finding; nothing if one of them is not there."""
        there = [cell for cell in cells if cell is not None]
        if len(there) < len(cells):
            return
        sample = self.sample(there)
        if isinstance(sample, str):
            yield Finding(place.dataset, "not enough data", f"{place}: {words}: {sample}")
            return
        judged = [sample.judge(criterion) for criterion in criteria]
        text = f"{place}: {words}: {', '.join(text for _, text in judged)} ({sample.images} images)"
        yield Finding(place.dataset, together([verdict for verdict, _ in judged]), text)

    def sample(self, cells: Sequence[Cell]) -> Sample | str:
        """The cells' figures over the examples that they share, or why there are none."""
        for cell in cells:
            if len(cell.digests) > 1:
                return f"{cell} is there with different hyperparameters (cells {', '.join(cell.digests)}), give one"
        shared = reduce(np.intersect1d, [cell.examples for cell in cells])
        named = cells[0].images[np.isin(cells[0].examples, shared)]
        images, row = np.unique(named, return_inverse=True)
        if len(images) < LEAST_IMAGES:
            return f"{len(images)} shared images, at least {LEAST_IMAGES} are needed"
        totals = np.zeros((len(images), len(cells), 1 + len(FIGURES)))
        for index, cell in enumerate(cells):
            np.add.at(totals[:, index], row, cell.outcomes[np.isin(cell.examples, shared)])
        return Sample(totals, seed=self.seed, resamples=self.resamples)


def _places(rows: pd.DataFrame, victims: dict[str, Victim]) -> list[Place]:
    """Every place of the rows with its cells, in order; without transfers to a victim that is not known."""
    if rows.empty:
        return []
    image = rows.groupby(["dataset", "split", "image"]).ngroup().to_numpy(dtype=np.int64)
    example = rows.groupby(["dataset", "split", "image", "target"]).ngroup().to_numpy(dtype=np.int64)
    success = rows["success"].to_numpy(dtype=np.bool_)
    distances = rows[list(METRICS)].to_numpy(dtype=np.float64, na_value=np.nan)
    outcomes = np.column_stack([np.ones(len(rows)), success, np.where(success[:, None], distances, 0.0)])

    # Most groups have a null: the attacks that have no norm, rule or β.
    group = rows.groupby(_SETTING, dropna=False, sort=False).ngroup().to_numpy(dtype=np.int64)
    order = np.lexsort((example, group))
    places: dict[tuple[str, str], Place] = {}
    for take in np.split(order, np.cumsum(np.bincount(group))[:-1]):
        head = rows.iloc[int(take[0])]
        pair = (str(head["model"]), str(head["evaluated_on"]))
        if pair[0] != pair[1] and pair[1] not in victims:
            continue
        cell = Cell(
            attack=attack_name(head["attack"], head["norm"]),
            rule=rule_name(head["attack"], head["decision_rule"]),
            beta=None if pd.isna(head["beta"]) else float(head["beta"]),
            kappa=float(head["kappa"]),
            examples=example[take],
            images=image[take],
            outcomes=outcomes[take],
            digests=tuple(sorted(set(rows["cell"].iloc[take]))),
        )
        places.setdefault(pair, _place(head, victims)).found.append(cell)
    return sorted(places.values(), key=_order)


def _order(place: Place) -> tuple[Any, ...]:
    tested = "" if place.tested_on is None else place.tested_on.digest
    return (place.dataset, place.defense, place.temperature or 0.0, place.model, tested)


def _place(head: pd.Series[Any], victims: dict[str, Victim]) -> Place:
    """Where a row's example stands."""
    return Place(
        dataset=dataset_name(head["dataset"]),
        arch=str(head["arch"]),
        model=str(head["model"]),
        defense=str(head["defense"]),
        temperature=None if pd.isna(head["temperature"]) else float(head["temperature"]),
        tested_on=None if head["evaluated_on"] == head["model"] else victims[str(head["evaluated_on"])],
    )


def _defense_text(label: str, temperature: float | None) -> str:
    if training_parts(label):
        return f"trained on {label.partition(': ')[2]}"
    if temperature is not None:
        return f"distilled at T = {temperature:g}"
    return label.replace("none", "no defence")
