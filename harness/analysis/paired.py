"""Paired statistics of two attacks on the same examples.

An image's target classes are not independent, so intervals and tests count images. Distances are compared on the
examples on which both attacks succeed: means over different successes would favour the attack that fails on hard ones.

Shape letters:
    R  shared examples, in any order
    N  their images
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from eadbench.harness.analysis.intervals import difference_interval, mean_interval

__all__ = ["Change", "holm", "mcnemar", "rates", "signed_rank", "sums_by_image", "values"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure of two attacks on shared examples; NaN without examples.

    Attributes
    ----------
    before, after
        Means over the counted examples.
    low, high
        Ends of the 95 % interval of after − before; see ``harness.analysis.intervals``. NaN for distances on one image.
    p
        Two-sided p value of the null hypothesis that images differ by chance alone.
    count
        The number of counted examples.
    same
        Whether both attacks have the same value on every shared example: the same successes, or the same distances of
        the same successes.
    interval_before, interval_after
        The 95 % intervals of both means; only for attacks on different examples, which have no p.
    """

    before: float
    after: float
    low: float
    high: float
    p: float
    count: int
    same: bool
    interval_before: tuple[float, float] = (np.nan, np.nan)
    interval_after: tuple[float, float] = (np.nan, np.nan)

    @property
    def difference(self) -> float:
        """After − before."""
        return self.after - self.before


def mcnemar(gained: int, lost: int) -> float:
    """Return the p value of McNemar's exact two-sided test on discordant pairs; 1 if both counts are 0."""
    return 1.0 if gained + lost == 0 else float(stats.binomtest(gained, gained + lost).pvalue)


def signed_rank(differences: Floats) -> float:
    """Return the p value of Wilcoxon's two-sided signed-rank test, without zero differences; 1 if all are zero.

    It is exact for up to 50 differences without ties.
    """
    nonzero = differences[differences != 0]
    return 1.0 if len(nonzero) == 0 else float(stats.wilcoxon(nonzero).pvalue)


def rates(images: Ints, before: Bools, after: Bools) -> Change:
    """Compare success rates, in percent.

    The test is McNemar's over images: images with more successes after against images with more before. With one
    target per image, it is McNemar's over examples.

    Parameters
    ----------
    images
        (R,): the image of each example.
    before, after
        (R,): whether the example succeeded.
    """
    if not len(images):
        return _unknown(same=True)
    trials, won_before, won_after = sums_by_image(images, np.ones(len(images)), before, after)
    low, high = 100.0 * difference_interval(won_before, won_after, trials)
    return Change(
        before=100.0 * float(before.mean()),
        after=100.0 * float(after.mean()),
        low=float(low),
        high=float(high),
        p=mcnemar(int((won_after > won_before).sum()), int((won_after < won_before).sum())),
        count=len(images),
        same=bool((before == after).all()),
    )


def values(images: Ints, succeeds_before: Bools, succeeds_after: Bools, before: Floats, after: Floats) -> Change:
    """Compare a distortion on the examples on which both attacks succeeded.

    The test is Wilcoxon's over the images' mean differences.

    Parameters
    ----------
    images
        (R,): the image of each example.
    succeeds_before, succeeds_after
        (R,): whether the example succeeded.
    before, after
        (R,): distortions; ignored where either attack failed.
    """
    both = succeeds_before & succeeds_after
    same = bool((succeeds_before == succeeds_after).all() and (before[both] == after[both]).all())
    if not both.any():
        return _unknown(same=same)
    counts, sums = sums_by_image(images[both], np.ones(int(both.sum())), after[both] - before[both])
    low, high = mean_interval(sums, counts)
    return Change(
        before=float(before[both].mean()),
        after=float(after[both].mean()),
        low=float(low),
        high=float(high),
        p=signed_rank(sums / counts),
        count=int(both.sum()),
        same=same,
    )


def holm(p: Sequence[float]) -> Floats:
    """Adjust p values for multiple tests by Holm's method; NaN stays NaN and does not count as a test."""
    p_values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    adjusted = p_values.copy()
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def sums_by_image(images: Ints, *values: Floats | Bools) -> list[Floats]:
    """Sum values of examples by image."""
    _, image = np.unique(images, return_inverse=True)
    return [np.bincount(image, weights=value).astype(np.float64) for value in values]


def _unknown(*, same: bool) -> Change:
    """Return the change of a figure without a counted example."""
    return Change(before=np.nan, after=np.nan, low=np.nan, high=np.nan, p=np.nan, count=0, same=same)
