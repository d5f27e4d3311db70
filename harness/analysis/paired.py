"""Paired statistics of two attacks on the same examples.

An image's target classes are not independent, so the bootstrap draws images, and the tests count images.

Shape letters:
    R  shared examples, in any order
    N  their images
    B  bootstrap resamples
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from eadbench.harness.analysis.bootstrap import percentile_interval, resampled_sums

__all__ = ["Change", "holm", "mcnemar", "rates", "signed_rank", "values"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure of two attacks on shared examples; NaN without examples.

    Attributes
    ----------
    before, after
        Means over the counted examples.
    low, high
        Ends of the 95 % percentile interval of after − before, from a bootstrap over images.
    p
        Two-sided p value of the null hypothesis that images differ by chance alone.
    count
        The number of counted examples.
    """

    before: float
    after: float
    low: float
    high: float
    p: float
    count: int

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
    everything = np.ones(len(images), dtype=np.bool_)
    means, low, high, differences = _means(images, everything, before * np.float64(100), after * np.float64(100))
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    p = mcnemar(gained, lost) if len(images) else np.nan
    return Change(before=means[0], after=means[1], low=low, high=high, p=p, count=len(images))


def values(images: Ints, both: Bools, before: Floats, after: Floats) -> Change:
    """Compare a distortion on the examples on which both attacks succeeded.

    The test is Wilcoxon's over the images' mean differences.

    Parameters
    ----------
    images
        (R,): the image of each example.
    both
        (R,): whether both attacks succeeded on it.
    before, after
        (R,): distortions; ignored where `both` is false.
    """
    means, low, high, differences = _means(images, both, before, after)
    p = signed_rank(differences) if both.any() else np.nan
    return Change(before=means[0], after=means[1], low=low, high=high, p=p, count=int(both.sum()))


def holm(p: Sequence[float]) -> Floats:
    """Adjust p values for multiple tests by Holm's method; NaN stays NaN and does not count as a test."""
    p_values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    adjusted = p_values.copy()
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _means(
    images: Ints, counted: Bools, before: Floats, after: Floats
) -> tuple[tuple[float, float], float, float, Floats]:
    """Return the means before and after, the ends of the interval of their difference, and the images' differences.

    Images without a counted example have no difference, and the bootstrap does not draw them.

    Parameters
    ----------
    counted
        (R,): whether to count the example.
    """
    if not counted.any():
        return (np.nan, np.nan), np.nan, np.nan, np.empty(0)
    _, image = np.unique(images[counted], return_inverse=True)
    counts = np.bincount(image).astype(np.float64)
    sum_before, sum_after = (np.bincount(image, weights=side[counted]).sum() for side in (before, after))
    differences = np.bincount(image, weights=after[counted] - before[counted])
    low, high = _interval(np.stack([counts, differences], axis=1))
    total = counts.sum()
    return (float(sum_before / total), float(sum_after / total)), low, high, differences / counts


def _interval(totals: Floats) -> tuple[float, float]:
    """Resample the images' counts and sums (N, 2); return the ends of the 95 % interval of sum per count."""
    sums = resampled_sums(totals, generator=np.random.default_rng(0), resamples=_RESAMPLES)
    low, high = percentile_interval(sums[:, 1] / sums[:, 0])
    return float(low), float(high)
