"""The figures of a line from what each of its images adds to them: rates, mean distances, and their intervals.

Shape letters used below:
    R  rows of one line (examples), sorted by image, then by target class
    N  images of one line
    G  groups: the three cases and all targets
    F  figures of a group: ASR and the distortions of ``METRICS``
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.intervals import rate_interval, ratio_interval

__all__ = ["CASES", "FIGURES", "GROUPS", "METRICS", "ImagesOfLine", "figures_of", "image_totals", "means_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CASES = ("best", "average", "worst")
METRICS = ("l1", "l2", "linf")
FIGURES = ("asr", *METRICS)
GROUPS = (*CASES, "all_targets")


class ImagesOfLine(NamedTuple):
    """The images of a line, in the order of its sorted rows."""

    split: Ints
    """(N,): the index of each image's split."""
    image: Ints
    """(N,): its index in the split."""
    starts: Ints
    """(N,): its first row."""
    counts: Ints
    """(N,): its number of rows."""


def image_totals(images: ImagesOfLine, rows: pd.DataFrame, drawn: Ints) -> Floats:
    """Return what every image adds to every figure.

    The array (N, G, 1 + F) holds per image and group the number of trials, the number of successes, and the sum of
    each distortion over the successes. ``_figures`` needs only a sum of these over images, with any weights.
    """
    success, starts = rows["success"].to_numpy(dtype=np.bool_), images.starts
    # (R, F - 1): zero where failed, so that sums and maxima are over successes.
    distances = np.where(success[:, None], rows[list(METRICS)].to_numpy(), 0.0)
    least = np.minimum.reduceat(np.where(success[:, None], distances, np.inf), starts, axis=0)
    any_success = np.logical_or.reduceat(success, starts)
    all_success = np.logical_and.reduceat(success, starts)

    totals = np.empty((len(starts), len(GROUPS), 1 + len(FIGURES)))
    totals[:, :, 0] = 1.0
    totals[:, 0, 1], totals[:, 0, 2:] = any_success, np.where(any_success[:, None], least, 0.0)
    totals[:, 1, 1], totals[:, 1, 2:] = success[drawn], distances[drawn]
    greatest = np.maximum.reduceat(distances, starts, axis=0)
    totals[:, 2, 1], totals[:, 2, 2:] = all_success, np.where(all_success[:, None], greatest, 0.0)
    totals[:, 3, 0], totals[:, 3, 1] = images.counts, np.add.reduceat(success.astype(np.float64), starts)
    totals[:, 3, 2:] = np.add.reduceat(distances, starts, axis=0)
    return totals


def figures_of(totals: Floats) -> Floats:
    """Return the figures, and the lower and the upper ends of their intervals (3, G, F), of totals (N, G, 1 + F)."""
    return np.stack([means_of(totals), *_intervals(totals)])


def means_of(totals: Floats) -> Floats:
    """Return the figures (G, F) of totals (N, G, 1 + F).

    A distortion without a success is NaN, and so is an ASR without a trial.
    """
    summed = totals.sum(axis=0)
    trials, successes, sums = summed[:, :1], summed[:, 1:2], summed[:, 2:]
    # A weighted sum of zeros is exactly zero, so these are 0 / 0.
    with np.errstate(invalid="ignore"):
        return np.concatenate([100.0 * successes / trials, sums / successes], axis=-1)


def _intervals(totals: Floats) -> Floats:
    """Return the ends (2, G, F) of the figures' 95 % intervals from the images' totals (N, G, 1 + F)."""
    trials, successes = totals[..., 0], totals[..., 1]
    rates = 100.0 * rate_interval(successes, trials)
    distances = ratio_interval(totals[..., 2:], successes[..., None])
    distances[..., METRICS.index("linf")] = np.minimum(distances[..., METRICS.index("linf")], 1.0)
    return np.concatenate([rates[..., None], distances], axis=-1)
