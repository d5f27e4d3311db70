"""Compared cells on the examples that all of them have, image by image.

Rates are over all shared examples. Distances are over the examples on which every compared cell succeeds: means over
different successes would favour the attack that fails on the hard examples.

Shape letters used below:
    E  shared examples
    N  their images
    S  compared cells
    M  distances, in the order of ``METRICS``
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]


class Support(NamedTuple):
    """What a comparison rests on."""

    images: int
    """Images with a counted example."""
    successes: int
    """Counted successes."""
    baseline: float
    """The ASR in percent of what the others are compared with."""
    gap: float
    """The difference in points between the greatest and the least ASR; 0 if the claim is about the rates themselves."""
    counted: str = "images"
    """What `images` counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """Compared cells on their shared examples, summed by image."""

    trials: Floats
    """(N,): examples."""
    successes: Floats
    """(N, S): successes of each cell."""
    joint: Floats
    """(N,): examples on which every cell succeeds."""
    distances: Floats
    """(N, S, M): sums of each distance over the examples on which every cell succeeds."""

    @classmethod
    def of(cls, image: Ints, success: NDArray[np.bool_], distances: Floats) -> Sample:
        """Sum examples by image.

        Parameters
        ----------
        image
            (E,): the number of each example's image; E is at least 1.
        success
            (E, S).
        distances
            (E, S, M): ignored where a cell fails.
        """
        order = np.argsort(image, kind="stable")
        starts = np.flatnonzero(np.diff(image[order], prepend=image[order[0]] - 1))
        joint = np.logical_and.reduce(success, axis=1)
        shared = np.where(joint[:, None, None], distances, 0.0)
        return cls(
            trials=np.diff(np.append(starts, len(image))).astype(np.float64),
            successes=np.add.reduceat(success[order].astype(np.float64), starts, axis=0),
            joint=np.add.reduceat(joint[order].astype(np.float64), starts),
            distances=np.add.reduceat(shared[order], starts, axis=0),
        )

    @property
    def images(self) -> int:
        """The number of images, N."""
        return len(self.trials)

    @property
    def rates(self) -> Floats:
        """The ASRs (S,) in percent."""
        return np.asarray(100.0 * self.successes.sum(axis=0) / self.trials.sum())

    @property
    def means(self) -> Floats:
        """The mean distances (S, M) over the examples on which every cell succeeds; there is one."""
        return np.asarray(self.distances.sum(axis=0) / self.joint.sum())

    def joint_support(self) -> Support:
        """Return what a comparison of distances rests on; its baseline is the first cell."""
        return Support(
            images=int((self.joint > 0).sum()),
            successes=int(self.joint.sum()),
            baseline=float(self.rates[0]),
            gap=float(np.ptp(self.rates)),
            counted="images with an example on which every compared attack succeeds",
        )

    def rate_support(self, baseline: float | None = None) -> Support:
        """Return what a comparison of rates rests on: the first cell's successes, or a baseline of another cell."""
        rate = float(self.rates[0]) if baseline is None else baseline
        return Support(images=self.images, successes=int(self.successes[:, 0].sum()), baseline=rate, gap=0.0)
