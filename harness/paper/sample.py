"""Figures of cells over their shared examples, bootstrap intervals, and verdicts from these intervals.

Shape letters used below:
    N  images that the compared cells share
    S  compared cells
    B  bootstrap resamples
    F  figures of a cell: ASR in percent and the distortions, in the order of ``FIGURES``
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.bootstrap import resampled_sums
from eadbench.harness.numbers import figure_text, rate_text

Floats = NDArray[np.float64]
Verdict = Literal["holds", "fails", "not enough data"]
Rule = Callable[[float, float], Verdict]


class Criterion(NamedTuple):
    """A quantity, and the rule that turns its interval into a verdict."""

    name: str
    quantity: Callable[[Floats], Floats]
    """Computes the quantity (…) from figures (…, S, F)."""
    rule: Rule
    """Returns the verdict for the two ends of the interval."""
    style: str
    """The format of a value, such as ``+.1f``."""
    unit: str = ""
    shown_figure: str | None = None
    """A figure to print beside the quantity, for the first and the last cell."""


class Sample:
    """Compared cells on their shared images.

    The bootstrap draws the same images for every cell, so a comparison of cells is paired.

    Parameters
    ----------
    totals
        (N, S, 1 + F): per image and cell, the number of examples, of successes, and the sum of each distortion over
        the successes.
    """

    def __init__(self, totals: Floats, *, seed: int, resamples: int) -> None:
        self._totals = totals
        self._seed = seed
        self._resamples = resamples

    @property
    def images(self) -> int:
        """The number of images, N."""
        return len(self._totals)

    @cached_property
    def figures(self) -> Floats:
        """The figures (S, F); a distortion without a success is NaN."""
        return _figures(self._totals.sum(axis=0))

    @cached_property
    def resampled(self) -> Floats:
        """The figures of the resamples (B, S, F)."""
        generator = np.random.default_rng(self._seed)
        return _figures(resampled_sums(self._totals, generator=generator, resamples=self._resamples))

    def judge(self, criterion: Criterion) -> tuple[Verdict, str]:
        """Return a criterion's verdict, and a text with the quantity and its 95 % percentile interval.

        The data is not enough if more than a twentieth of the resamples lack a success.
        """
        text, quantity, rule, style, unit, shown_figure = criterion
        if shown_figure is not None:
            first, last = self.figures[[0, -1], FIGURES.index(shown_figure)]
            number_text = rate_text if shown_figure == "asr" else figure_text
            text += f" {number_text(first)} → {number_text(last)},"
        value, resampled = float(quantity(self.figures)), quantity(self.resampled)
        known = resampled[~np.isnan(resampled)]
        if np.isnan(value) or len(known) < 0.95 * len(resampled):
            return "not enough data", f"{text} unknown: too few successes"
        low, high = map(float, np.percentile(known, [2.5, 97.5]))
        return rule(low, high), f"{text} {value:{style}}{unit} [{low:{style}}, {high:{style}}]"


def above(bound: float) -> Rule:
    """Return a rule that holds if the interval lies above `bound`, and fails if no part of it does."""
    return lambda low, high: "holds" if low > bound else "fails" if high <= bound else "not enough data"


def at_least(bound: float) -> Rule:
    """Return a rule that holds if the interval lies at or above `bound`, and fails if it lies below."""
    return lambda low, high: "holds" if low >= bound else "fails" if high < bound else "not enough data"


def below(bound: float) -> Rule:
    """Return a rule that holds if the interval lies below `bound`, and fails if no part of it does."""
    return lambda low, high: "holds" if high < bound else "fails" if low >= bound else "not enough data"


def about(claimed: float, within: float) -> Rule:
    """Return a rule that holds if the interval, widened by `within` on both sides, contains `claimed`; else it fails.

    An interval wider than `2 * within` is not enough data.
    """

    def rule(low: float, high: float) -> Verdict:
        if high - low > 2 * within:
            return "not enough data"
        return "holds" if low - within <= claimed <= high + within else "fails"

    return rule


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Combine verdicts: one failure fails; all must hold to hold; otherwise, or without verdicts, not enough data."""
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "not enough data"


def _figures(totals: Floats) -> Floats:
    """Return the figures (…, S, F) of summed totals (…, S, 1 + F)."""
    trials, successes, sums = totals[..., :1], totals[..., 1:2], totals[..., 2:]
    with np.errstate(invalid="ignore"):  # 0 / 0 without a success
        return np.concatenate([100.0 * successes / trials, sums / successes], axis=-1)


def percent_change(figure: str) -> Callable[[Floats], Floats]:
    """Return the quantity "change of a figure from the first cell to the last, in percent of the first"."""
    index = FIGURES.index(figure)
    return lambda figures: 100.0 * (figures[..., -1, index] / figures[..., 0, index] - 1.0)


def points(figures: Floats) -> Floats:
    """Return the last cell's ASR minus the first's, in percentage points."""
    return figures[..., -1, 0] - figures[..., 0, 0]


def rate(figures: Floats) -> Floats:
    """Return the first cell's ASR in percent."""
    return figures[..., 0, 0]
