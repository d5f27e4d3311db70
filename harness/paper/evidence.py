"""The evidence for claims: cells at their places, compared on shared examples.

A comparison uses the examples (image and target) that all its cells have. Every figure is over all targets: its
expectation is that of the paper's average case, without the noise of drawing one target per image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd

from eadbench.harness.paper.criteria import Criterion
from eadbench.harness.paper.places import Cell, Place, places_of
from eadbench.harness.paper.rows import unique_rows
from eadbench.harness.paper.sample import Ints, Sample
from eadbench.harness.paper.verdicts import Question
from eadbench.harness.plan.grid import Victim


class Evidence:
    """Cells at their places, with the victims.

    Parameters
    ----------
    places
        The places that claims are checked at.
    victims
        The victims by digest.
    tested
        The number of images behind each victim's accuracy, by digest.
    """

    def __init__(
        self, places: Sequence[Place], victims: Mapping[str, Victim], *, tested: Mapping[str, int] | None = None
    ) -> None:
        self._places = places
        self.victims = victims
        self.tested = tested or {}

    @classmethod
    def of_rows(
        cls, rows: pd.DataFrame, victims: Sequence[Victim], *, tested: Mapping[str, int] | None = None
    ) -> Evidence:
        """Return the targeted examples of one or more sweeps, without duplicates.

        Parameters
        ----------
        rows
            Result rows, in any order, with the column `folder` if they come from several folders.
        victims
            The victims of the rows.
        tested
            As for the class.

        Raises
        ------
        UserError
            Two folders contradict each other.
        """
        # If several sweeps have the same victim, one whose accuracy is known comes last and is kept.
        by_knowledge = sorted(victims, key=lambda victim: victim.accuracy is not None)
        by_digest = {victim.digest: victim for victim in by_knowledge}
        return cls(places_of(unique_rows(rows[rows["target"].notna()]), by_digest), by_digest, tested=tested)

    def on(self, datasets: Collection[str]) -> Evidence:
        """Return the evidence of some data sets."""
        places = [place for place in self._places if place.dataset in datasets]
        return Evidence(places, self.victims, tested=self.tested)

    def attacked(self, defense: str) -> list[Place]:
        """Return the attacked victims of a defence, without transfers."""
        return [place for place in self._places if place.tested_on is None and place.defense == defense]

    def transfers(self, temperature: float) -> list[Place]:
        """Return the transfers from undefended victims to victims distilled at `temperature`."""
        return [
            place
            for place in self._places
            if (target := place.tested_on) is not None
            and (place.defense, target.defense, target.temperature) == ("none", "distillation", temperature)
        ]

    def source(self, transfer: Place) -> Place | None:
        """Return the victim that the examples of a transfer were crafted on, if it has rows of its own."""
        own = (place for place in self._places if place.tested_on is None and place.model == transfer.model)
        return next(own, None)


def compare(place: Place, subject: str, cells: Sequence[Cell | None], *criteria: Criterion) -> Iterator[Question]:
    """Yield one question on the distances of cells; nothing if a cell is missing (None)."""
    present = [cell for cell in cells if cell is not None]
    if len(present) == len(cells):
        sample = shared_sample(present)
        subject = f"{place}: {subject}"
        if isinstance(sample, str):
            yield Question(dataset=place.dataset, subject=subject, problem=sample)
        else:
            support = sample.joint_support()
            yield Question(dataset=place.dataset, subject=subject, sample=sample, criteria=criteria, support=support)


def shared_sample(cells: Sequence[Cell], among: Ints | None = None) -> Sample | str:
    """Return cells on their shared examples, or why they cannot be compared.

    Parameters
    ----------
    among
        Count these examples only.
    """
    for cell in cells:
        if len(cell.digests) > 1:
            return f"{cell} is there with different hyperparameters (cells {', '.join(cell.digests)}), give one"
    limits = [] if among is None else [among]
    shared = reduce(np.intersect1d, [*(cell.examples for cell in cells), *limits])
    if not len(shared):
        return "no shared examples"
    indices = [np.searchsorted(cell.examples, shared) for cell in cells]
    return Sample.of(
        cells[0].images[indices[0]],
        np.stack([cell.success[index] for cell, index in zip(cells, indices, strict=True)], axis=1),
        np.stack([cell.distances[index] for cell, index in zip(cells, indices, strict=True)], axis=1),
    )
