"""Figures of cells over the examples that they share, with bootstrap intervals, and the verdicts drawn from these.

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
from eadbench.harness.labels import figure_text, rate_text

Floats = NDArray[np.float64]
Verdict = Literal["holds", "fails", "not enough data"]
Rule = Callable[[float, float], Verdict]

_DRAWS = 2**20  # image draws held at once while resampling: some 30 MB


class Criterion(NamedTuple):
    """A quantity (…) of figures (…, S, F), what to call it, when it bears out the claim, and how it is printed.

    `shows` is a figure that is printed beside it, of the first cell and the last.
    """

    words: str
    quantity: Callable[[Floats], Floats]
    rule: Rule
    style: str
    unit: str = ""
    shows: str | None = None


class Sample:
    """Cells' figures, from totals (N, S, 1 + F) per image: examples, successes, sums of each distortion over them.

    The bootstrap resamples the images, the same for every cell, so that a comparison of cells is paired.
    """

    def __init__(self, totals: Floats, *, seed: int, resamples: int) -> None:
        self._totals = totals
        self._seed = seed
        self._resamples = resamples

    @property
    def images(self) -> int:
        """N."""
        return len(self._totals)

    @cached_property
    def figures(self) -> Floats:
        """(S, F); a distortion without a success is NaN."""
        return _figures(self._totals.sum(axis=0))

    @cached_property
    def resampled(self) -> Floats:
        """(B, S, F)."""
        generator = np.random.default_rng(self._seed)
        flat = self._totals.reshape(self.images, -1)
        summed = np.empty((self._resamples, flat.shape[1]))
        step = max(1, _DRAWS // self.images)
        for start in range(0, self._resamples, step):
            number = min(step, self._resamples - start)
            drawn = generator.integers(0, self.images, size=(number, self.images))
            drawn += self.images * np.arange(number)[:, None]
            weights = np.bincount(drawn.ravel(), minlength=number * self.images).reshape(number, self.images)
            summed[start : start + number] = weights.astype(np.float64) @ flat
        return _figures(summed.reshape(self._resamples, *self._totals.shape[1:]))

    def judge(self, criterion: Criterion) -> tuple[Verdict, str]:
        """A criterion's verdict, and the quantity with its 95 % percentile interval, in words.

        There is not enough data where a resample in twenty has no success to take a distortion of.
        """
        words, quantity, rule, style, unit, shows = criterion
        if shows is not None:
            first, last = self.figures[[0, -1], FIGURES.index(shows)]
            of = rate_text if shows == "asr" else figure_text
            words += f" {of(first)} → {of(last)},"
        value, values = float(quantity(self.figures)), quantity(self.resampled)
        known = values[~np.isnan(values)]
        if np.isnan(value) or len(known) < 0.95 * len(values):
            return "not enough data", f"{words} unknown: too few successes"
        low, high = map(float, np.percentile(known, [2.5, 97.5]))
        return rule(low, high), f"{words} {value:{style}}{unit} [{low:{style}}, {high:{style}}]"


def above(bound: float) -> Rule:
    """Holds for an interval above `bound`, fails for one that nowhere is."""
    return lambda low, high: "holds" if low > bound else "fails" if high <= bound else "not enough data"


def at_least(bound: float) -> Rule:
    """Holds for an interval at or above `bound`, fails for one below it."""
    return lambda low, high: "holds" if low >= bound else "fails" if high < bound else "not enough data"


def below(bound: float) -> Rule:
    """Holds for an interval below `bound`, fails for one that nowhere is."""
    return lambda low, high: "holds" if high < bound else "fails" if low >= bound else "not enough data"


def about(claimed: float, within: float) -> Rule:
    """Holds for an interval that has `claimed` in it once widened by `within` on both sides; else fails.

    An interval wider than `2 * within` says too little either way.
    """

    def rule(low: float, high: float) -> Verdict:
        if high - low > 2 * within:
            return "not enough data"
        return "holds" if low - within <= claimed <= high + within else "fails"

    return rule


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Fails if one fails, holds if all hold and there is one; else there is not enough data."""
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts and set(verdicts) == {"holds"} else "not enough data"


def _figures(totals: Floats) -> Floats:
    """Figures (…, S, F) of summed totals (…, S, 1 + F)."""
    trials, successes, sums = totals[..., :1], totals[..., 1:2], totals[..., 2:]
    with np.errstate(invalid="ignore"):  # no success: 0 / 0
        return np.concatenate([100.0 * successes / trials, sums / successes], axis=-1)


def percent_change(figure: str) -> Callable[[Floats], Floats]:
    """The change of a figure from the first cell to the last, in percent of the first's."""
    index = FIGURES.index(figure)
    return lambda figures: 100.0 * (figures[..., -1, index] / figures[..., 0, index] - 1.0)


def points(figures: Floats) -> Floats:
    """The last cell's ASR less the first's, in percentage points."""
    return figures[..., -1, 0] - figures[..., 0, 0]


def rate(figures: Floats) -> Floats:
    """The first cell's ASR in percent."""
    return figures[..., 0, 0]
