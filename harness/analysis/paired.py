"""Paired statistics of two attacks on the same examples.

An image's target classes are not independent of each other, so the images are what is drawn, and what tests count.

Shape letters:
    R  examples that both have, in any order
    N  their images
    B  bootstrap resamples
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

__all__ = ["Change", "holm", "mcnemar", "rates", "signed_rank", "values"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

_RESAMPLES = 1000
# Image draws held at once while resampling: some 30 MB.
_DRAWS = 2**20


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure of two attacks on shared examples; NaN where there are none.

    Attributes
    ----------
    before, after
        Means over the examples that count.
    low, high
        Ends of the 95 % percentile interval of after − before, by a bootstrap over images.
    p
        That images differ by chance alone, two-sided.
    count
        Examples that count.
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
    """McNemar's exact test, two-sided: what the discordant pairs say under p = 1/2; 1 where there are none."""
    return 1.0 if gained + lost == 0 else float(stats.binomtest(gained, gained + lost).pvalue)


def signed_rank(differences: Floats) -> float:
    """Wilcoxon's signed-rank test, two-sided, zeros left out; exact for up to 50 without ties, 1 where all are zero."""
    left = differences[differences != 0]
    return 1.0 if len(left) == 0 else float(stats.wilcoxon(left).pvalue)


def rates(images: Ints, before: Bools, after: Bools) -> Change:
    """How the share of successes, in percent, differs.

    The test is McNemar's over images: of those with more successes after, and of those with more before. Of one target
    an image, it is McNemar's over examples.

    Parameters
    ----------
    images
        (R,): the image of each example.
    before, after
        (R,): whether it succeeded.
    """
    everywhere = np.ones(len(images), dtype=np.bool_)
    mean, low, high, net = _means(images, everywhere, before * np.float64(100), after * np.float64(100))
    gained, lost = int((net > 0).sum()), int((net < 0).sum())
    p = mcnemar(gained, lost) if len(images) else np.nan
    return Change(before=mean[0], after=mean[1], low=low, high=high, p=p, count=len(images))


def values(images: Ints, both: Bools, before: Floats, after: Floats) -> Change:
    """How a distortion differs on the examples on which both succeeded.

    The test is Wilcoxon's over the mean differences of images.

    Parameters
    ----------
    images
        (R,): the image of each example.
    both
        (R,): whether both succeeded on it.
    before, after
        (R,): distortions, of any value where not `both`.
    """
    mean, low, high, net = _means(images, both, before, after)
    p = signed_rank(net) if both.any() else np.nan
    return Change(before=mean[0], after=mean[1], low=low, high=high, p=p, count=int(both.sum()))


def holm(p: Sequence[float]) -> Floats:
    """Holm's adjustment of p values for their number; NaN stays, and is not counted."""
    given = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    adjusted = given.copy()
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(given[order] * factors))
    return adjusted


def _means(
    images: Ints, counted: Bools, before: Floats, after: Floats
) -> tuple[tuple[float, float], float, float, Floats]:
    """Means before and after over what is counted, the interval of their difference, and each image's mean difference.

    Images without an example that counts have no difference, and are not drawn.
    """
    if not counted.any():
        return (np.nan, np.nan), np.nan, np.nan, np.empty(0)
    _, image = np.unique(images[counted], return_inverse=True)
    number = np.bincount(image).astype(np.float64)
    first, second = (np.bincount(image, weights=of[counted]) for of in (before, after))
    differences = np.bincount(image, weights=after[counted] - before[counted])
    low, high = _interval(np.stack([number, differences], axis=1))
    total = number.sum()
    return (float(first.sum() / total), float(second.sum() / total)), low, high, differences / number


def _interval(totals: Floats) -> tuple[float, float]:
    """Ends of the interval of a ratio of sums, of (N, 2) counts and sums, images drawn with replacement."""
    images, generator = len(totals), np.random.default_rng(0)
    found = np.empty(_RESAMPLES)
    step = max(1, _DRAWS // images)
    for start in range(0, _RESAMPLES, step):
        number = min(step, _RESAMPLES - start)
        drawn = generator.integers(0, images, size=(number, images))
        sums = totals[drawn].sum(axis=1)
        found[start : start + number] = sums[:, 1] / sums[:, 0]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
