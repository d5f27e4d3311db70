"""The examples that a sweep plans, against which rows are counted.

Shape letters:
    N  images drawn for a victim, in ascending order
"""

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

    choice: str
    """How target classes are chosen: all, random or untargeted."""
    images: Mapping[str, PlannedImages]
    """By the digest of the attacked victim."""


def planned(snapshot: Snapshot) -> Planned | None:
    """Return the examples that a sweep plans; None while the number of its classes is not known."""
    classes = snapshot.classes
    if classes is None:
        return None
    spec, images = snapshot.spec, {}
    for victim in snapshot.victims:
        if victim.attacked:
            drawn = sorted(victim.images)
            targets = np.full(len(drawn), targets_per_image(spec, classes), dtype=np.int64)
            images[victim.digest] = PlannedImages(images=np.array(drawn, dtype=np.int64), targets=targets)
    return Planned(choice=spec.target_kind, images=images)
