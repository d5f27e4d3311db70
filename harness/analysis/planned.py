"""The examples that a sweep plans, against which rows are counted.

Shape letters:
    N  images drawn for a victim, in ascending order
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eadbench.harness.plan.grid import targets_per_image
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["Planned", "PlannedImages", "planned"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedImages:
    """The images that a sweep attacks on one victim."""

    images: Ints
    """(N,)"""
    targets: Ints
    """(N,): the number of target classes of each; 1 if untargeted."""

    def targets_of(self, images: Ints) -> Ints:
        """Return the number of target classes of some images; 0 for an image that is not planned."""
        positions = np.minimum(np.searchsorted(self.images, images), len(self.images) - 1)
        return np.where(self.images[positions] == images, self.targets[positions], 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Planned:
    """The examples that a sweep plans."""

    images: Mapping[tuple[str, str], PlannedImages]
    """By the digest of the attacked victim, and how target classes are chosen, in words."""
    wrong: Mapping[str, Ints]
    """Images of the split that a victim gets wrong without an attack, by its digest; where that is known."""
    both_correct: bool
    """Whether an image counts in a transfer only if the victim tested on gets it right too."""

    def wrong_of(self, victim: str, images: Ints) -> NDArray[np.bool_]:
        """Return which images a victim gets wrong; none if that is not known."""
        return np.isin(images, self.wrong.get(victim, ()))

    def clean_error(self, images: Ints, tested: str) -> float:
        """Return the share in percent of images that a victim gets wrong; NaN if that is not known."""
        return 100.0 * float(self.wrong_of(tested, images).mean()) if tested in self.wrong else math.nan


def planned(snapshot: Snapshot) -> Planned | None:
    """Return the examples that a sweep plans; None while the number of its classes is not known."""
    classes = snapshot.classes
    if classes is None:
        return None
    spec, images = snapshot.spec, {}
    for victim in snapshot.victims:
        if victim.attacked:
            drawn = np.array(victim.images, dtype=np.int64)
            order = drawn.argsort()
            for each in spec.by_targets():
                if each.target_file:
                    targets = np.array([len(given) for given in victim.targets], dtype=np.int64)
                else:
                    targets = np.full(len(drawn), targets_per_image(each, classes), dtype=np.int64)
                images[victim.digest, each.target_text] = PlannedImages(images=drawn[order], targets=targets[order])
    evaluations = {
        victim.digest: snapshot.folder.evaluation(victim.digest, snapshot.dataset, spec.images.split)
        for victim in snapshot.victims
    }
    wrong = {
        digest: np.array(evaluation.wrong, dtype=np.int64) for digest, evaluation in evaluations.items() if evaluation
    }
    return Planned(images=images, wrong=wrong, both_correct=spec.evaluated == "both_correct")
