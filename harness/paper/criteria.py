"""Criteria of claims: a quantity with its confidence interval, and the range in which the claim puts it.

A criterion holds if the 95 % interval lies within the range. Then a claim that is false errs on at most 2.5 % of
samples, and a claim with several criteria, which holds only if all of them do, on no more (the intersection-union test;
Berger 1982). It fails if an interval lies outside the range. Any one of several criteria makes a claim fail, so that
these intervals are wider: 1 − 5 % / (number of criteria) (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np

from eadbench.harness.analysis.aggregate import METRICS
from eadbench.harness.analysis.intervals import difference_interval, rate_interval, ratio_interval, t_interval
from eadbench.harness.paper.sample import Floats, Sample


class Estimate(NamedTuple):
    """A value and the ends of its interval; NaN if unknown."""

    value: float
    low: float
    high: float


Quantity = Callable[[Sample, float, float], Estimate]
"""Estimates a quantity from a sample, at a confidence level, as if there were so many times the images."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The values for which a criterion is true: from `least` to `most`, without the ends if `strict`."""

    least: float = -inf
    most: float = inf
    strict: bool = True

    def contains(self, estimate: Estimate) -> bool:
        """Return whether the whole interval lies within the range."""
        if self.strict:
            return estimate.low > self.least and estimate.high < self.most
        return estimate.low >= self.least and estimate.high <= self.most

    def excludes(self, estimate: Estimate) -> bool:
        """Return whether the whole interval lies outside the range, on one side."""
        if self.strict:
            return estimate.high <= self.least or estimate.low >= self.most
        return estimate.high < self.least or estimate.low > self.most

    def __str__(self) -> str:
        if self.most == inf:
            return f"{'above' if self.strict else 'at least'} {self.least:g}"
        if self.least == -inf:
            return f"{'below' if self.strict else 'at most'} {self.most:g}"
        return f"from {self.least:g} to {self.most:g}"


def above(bound: float) -> Range:
    """Return the range above a bound."""
    return Range(least=bound)


def below(bound: float) -> Range:
    """Return the range below a bound."""
    return Range(most=bound)


def at_least(bound: float) -> Range:
    """Return the range from a bound upwards."""
    return Range(least=bound, strict=False)


def about(claimed: float, within: float) -> Range:
    """Return the range around a claimed value."""
    return Range(least=claimed - within, most=claimed + within, strict=False)


class Criterion(NamedTuple):
    """A quantity, and the range in which the claim puts it."""

    name: str
    quantity: Quantity
    range: Range
    style: str
    """The format of a value, such as ``+.1f``; empty for a rate in percent, which :func:`rate_text` prints."""
    unit: str = ""
    shown: str = ""
    """A figure, ``asr`` or one of ``METRICS``, to print beside the quantity for the first and the last cell."""
    tests: int = 1
    """The number of intervals that it takes the least or the greatest end of."""


def rate(sample: Sample, level: float, times: float) -> Estimate:
    """Estimate the first cell's ASR in percent."""
    ends = 100.0 * rate_interval(sample.successes[:, 0], sample.trials, level=level, times=times)
    return Estimate(float(sample.rates[0]), float(ends[0]), float(ends[1]))


def points(sample: Sample, level: float, times: float) -> Estimate:
    """Estimate the last cell's ASR minus the first's, in percentage points."""
    first, last = sample.successes[:, 0], sample.successes[:, -1]
    ends = 100.0 * difference_interval(first, last, sample.trials, level=level, times=times)
    return Estimate(float(sample.rates[-1] - sample.rates[0]), float(ends[0]), float(ends[1]))


def change(metric: str) -> Quantity:
    """Return the quantity "change of a distance from the first cell to the last, in percent of the first"."""
    index = METRICS.index(metric)

    def quantity(sample: Sample, level: float, times: float) -> Estimate:
        return Estimate(*(float(ends[0]) for ends in _changes(sample, index, 0, [-1], level, times)))

    return quantity


def gap_to_next(metric: str, cell: int) -> Quantity:
    """Return the quantity "least distance of the other cells, in percent above that of `cell`".

    Each end is the least of the ends of the intervals of all other cells.
    """
    index = METRICS.index(metric)

    def quantity(sample: Sample, level: float, times: float) -> Estimate:
        others = [other for other in range(sample.distances.shape[1]) if other != cell]
        return Estimate(*(float(ends.min()) for ends in _changes(sample, index, cell, others, level, times)))

    return quantity


def share_of_change(metric: str) -> Quantity:
    """Return the quantity "change between the first two cells as a share of the change between the last two"."""
    index = METRICS.index(metric)

    def quantity(sample: Sample, level: float, times: float) -> Estimate:
        sums = sample.distances[:, :, index]
        totals = sums.sum(axis=0)
        relative = sums / totals
        ratios = totals[[1, 3]] / totals[[0, 2]]
        # (N, 2): what each image adds to the deviation of the two ratios, by the delta method.
        influence = ratios * (relative[:, [1, 3]] - relative[:, [0, 2]])
        numerator, denominator = ratios - 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            share = numerator / denominator
            influence_of_share = (influence[:, 0] - share * influence[:, 1]) / denominator
        images = np.asarray((sample.joint > 0).sum())
        low, high = t_interval(np.asarray(share), influence_of_share, images, level, times)
        return Estimate(float(share), float(low), float(high))

    return quantity


def best_lead(sample: Sample, level: float, times: float) -> Estimate:
    """Estimate the best ASR of the second half of the cells minus that of the first half, in points.

    The best cell is chosen by the same sample. So each end compares every cell with the best of the other half, at a
    level that allows for this choice (Bonferroni), and takes the least favourable.
    """
    count = sample.successes.shape[1] // 2
    first, second = sample.successes[:, :count, None], sample.successes[:, None, count:]
    wider = 1.0 - (1.0 - level) / count
    trials = np.broadcast_to(sample.trials[:, None, None], (sample.images, count, count))
    low, high = 100.0 * difference_interval(first, second, trials, level=wider, times=times)
    best = sample.rates.reshape(2, count).max(axis=1)
    return Estimate(float(best[1] - best[0]), float(low.max(axis=1).min()), float(high.min(axis=0).max()))


def _changes(
    sample: Sample, metric: int, before: int, after: list[int], level: float, times: float
) -> tuple[Floats, Floats, Floats]:
    """Return the changes from one cell to others, in percent, and the ends of their intervals (each (len(after),))."""
    sums = sample.distances[:, :, metric]
    base, others = sums[:, [before]], sums[:, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = others.sum(axis=0) / base.sum(axis=0)
    low, high = ratio_interval(others, np.broadcast_to(base, others.shape), level=level, times=times)
    return 100.0 * (values - 1.0), 100.0 * (low - 1.0), 100.0 * (high - 1.0)
