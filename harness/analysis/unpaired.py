"""Statistics of two attacks on different examples: both means, and what they differ by.

The images of the two are independent. The squares of the distances to the ends of both intervals are added (MOVER:
Newcombe 1998, method 10; Zou & Donner 2008). There is no test: it would need an assumption about the distribution.

Shape letters:
    R  examples of one attack, in any order
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eadbench.harness.analysis.intervals import rate_interval, ratio_interval
from eadbench.harness.analysis.paired import Bools, Change, Floats, Ints, sums_by_image

__all__ = ["Mean", "change", "mean_distance", "rate"]


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean with its 95 % interval over `count` examples; NaN without examples."""

    value: float
    low: float
    high: float
    count: int


def rate(images: Ints, success: Bools) -> Mean:
    """Return the success rate in percent of examples (R,), given the image of each."""
    if not len(images):
        return _NOTHING
    trials, won = sums_by_image(images, np.ones(len(images)), success)
    return _mean(100.0 * float(success.mean()), 100.0 * rate_interval(won, trials), len(images))


def mean_distance(images: Ints, success: Bools, distances: Floats) -> Mean:
    """Return the mean distance of the examples (R,) that succeeded; the interval needs two images."""
    if not success.any():
        return _NOTHING
    counts, sums = sums_by_image(images[success], np.ones(int(success.sum())), distances[success])
    return _mean(float(distances[success].mean()), ratio_interval(sums, counts), int(success.sum()))


def change(before: Mean, after: Mean) -> Change:
    """Return the change from one mean to an independent one."""
    difference = after.value - before.value
    return Change(
        before=before.value,
        after=after.value,
        low=difference - float(np.hypot(after.value - after.low, before.high - before.value)),
        high=difference + float(np.hypot(after.high - after.value, before.value - before.low)),
        p=np.nan,
        count=before.count + after.count,
        same=False,
        interval_before=(before.low, before.high),
        interval_after=(after.low, after.high),
    )


def _mean(value: float, interval: NDArray[np.float64], count: int) -> Mean:
    low, high = interval.tolist()
    return Mean(value=value, low=low, high=high, count=count)


_NOTHING = Mean(value=np.nan, low=np.nan, high=np.nan, count=0)
