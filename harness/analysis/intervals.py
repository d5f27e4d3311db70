"""Confidence intervals of rates, distances and their paired changes, with images as clusters.

The target classes of an image share its fate, so images, never rows, are the units that count: ten images with nine
targets each may tell no more than ten coins. The design effect (Kish 1965) is the factor by which an image's targets
repeat each other.

- **Rates**: Clopper & Pearson's exact interval (1934) on an effective number of images, as Korn & Graubard (1998) use
  it for clustered samples. One image counts as at least one trial, and as more if its targets disagree as independent
  ones would. One image that always succeeds and one that never does are added when the agreement is measured, so that
  few images cannot hide a rare kind of image. At 0 and 100 % every image counts as one trial: 10 of 10 is [69, 100].
- **Differences of paired rates**: the squares of the distances to the ends of two such intervals, of gains and of
  losses, are added (MOVER: Newcombe 1998, method 10; Zou & Donner 2008).
- **Distances and their ratios**: Student's t on the images' influences (the delta method, on a logarithmic scale), and
  Hall's cubic correction for skewness (1992, J. R. Statist. Soc. B 54); each end is the more cautious of the two.

Shape letters:
    N    images
    ...  any further axes, such as the cases and figures of a line
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

__all__ = ["LEVEL", "difference_interval", "mean_interval", "rate_interval", "ratio_interval", "t_interval"]

Floats = NDArray[np.float64]

LEVEL = 0.95
"""The confidence of intervals."""

_LEAST_SKEWNESS = 1e-6
"""Below this value of γ / √N, Hall's correction is its limit, none."""


def rate_interval(successes: Floats, trials: Floats, *, level: float = LEVEL, times: float = 1.0) -> Floats:
    """Return the interval of a rate.

    Parameters
    ----------
    successes, trials
        Per image (N, ...); an image without a trial does not count.
    level
        The confidence; each end errs in half of the rest.
    times
        Give the interval for so many times the images, with the same figures.

    Returns
    -------
    The lower and the upper end (2, ...), in [0, 1]; NaN without trials.
    """
    tail = (1.0 - level) / 2.0
    rate, images = _effective_images(successes, trials, tail=tail, times=times)
    won, lost = rate * images, (1.0 - rate) * images
    # betaincinv is the quantile of the beta distribution; it has none if one of its parameters is 0.
    low = np.where(won > 0, special.betaincinv(np.where(won > 0, won, 1.0), lost + 1.0, tail), 0.0)
    high = np.where(lost > 0, special.betaincinv(won + 1.0, np.where(lost > 0, lost, 1.0), 1.0 - tail), 1.0)
    return np.where(np.isnan(rate), np.nan, np.stack([low, high]))


def difference_interval(
    before: Floats, after: Floats, trials: Floats, *, level: float = LEVEL, times: float = 1.0
) -> Floats:
    """Return the interval of the change of a rate on the same examples.

    Parameters
    ----------
    before, after, trials
        Successes before and after, and trials, per image (N, ...).
    level, times
        As in :func:`rate_interval`.

    Returns
    -------
    The ends (2, ...) of after − before, in [-1, 1].
    """
    total = trials.sum(axis=0)
    gained, lost = np.maximum(after - before, 0.0), np.maximum(before - after, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        gain, loss = gained.sum(axis=0) / total, lost.sum(axis=0) / total
        # Gains exclude losses: their correlation is -sqrt(odds of a gain × odds of a loss).
        correlation = np.where(gain * loss > 0, -np.sqrt(gain / (1.0 - gain) * loss / (1.0 - loss)), 0.0)
    gain_low, gain_high = rate_interval(gained, trials, level=level, times=times)
    loss_low, loss_high = rate_interval(lost, trials, level=level, times=times)
    down = _sum_in_quadrature(gain - gain_low, loss_high - loss, correlation)
    up = _sum_in_quadrature(gain_high - gain, loss - loss_low, correlation)
    return np.asarray(np.clip(np.stack([gain - loss - down, gain - loss + up]), -1.0, 1.0))


def ratio_interval(numerators: Floats, denominators: Floats, *, level: float = LEVEL, times: float = 1.0) -> Floats:
    """Return the interval of a ratio of two sums over images: distance per success, or distance after per before.

    Parameters
    ----------
    numerators, denominators
        What each image adds to the two sums (N, ...), none negative; an image that adds 0 below does not count.
    level, times
        As in :func:`rate_interval`.

    Returns
    -------
    The ends (2, ...), positive; NaN with fewer than two images, or without a positive sum.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        above, below = numerators.sum(axis=0), denominators.sum(axis=0)
        logarithm = np.log(above / below)
        influence = numerators / above - denominators / below
        return np.asarray(np.exp(t_interval(logarithm, influence, (denominators > 0).sum(axis=0), level, times)))


def mean_interval(sums: Floats, counts: Floats, *, level: float = LEVEL) -> Floats:
    """Return the interval of a mean that may be negative, such as that of a difference.

    Parameters
    ----------
    sums, counts
        What each image adds to the sum, and its number of values (N, ...); an image with none does not count.
    level
        As in :func:`rate_interval`.

    Returns
    -------
    The ends (2, ...); NaN with fewer than two images.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(axis=0) / counts.sum(axis=0)
        influence = (sums - mean * counts) / counts.sum(axis=0)
    return t_interval(mean, influence, (counts > 0).sum(axis=0), level)


def t_interval(
    estimate: Floats, influence: Floats, images: NDArray[np.int64], level: float = LEVEL, times: float = 1.0
) -> Floats:
    """Return the interval of a smooth function of sums over images, by Student's t and Hall's correction.

    Parameters
    ----------
    estimate
        The value (...).
    influence
        What each image adds to the deviation of the estimate from the truth, to first order (N, ...).
    images
        How many images count (...); the others have no influence.
    level, times
        As in :func:`rate_interval`.

    Returns
    -------
    The ends (2, ...); NaN with fewer than two images.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        count = np.where(images < 2, np.nan, images * times)
        squares = (influence**2).sum(axis=0)
        error = np.sqrt(squares / times * count / (count - 1.0))
        skewness = np.where(squares > 0, np.sqrt(images) * (influence**3).sum(axis=0) / squares**1.5, 0.0)
        quantile = special.stdtrit(count - 1.0, (1.0 + level) / 2.0)
        slant = skewness / np.sqrt(count)
        below = np.maximum(quantile, _unskewed(quantile, slant))
        above = np.maximum(quantile, -_unskewed(-quantile, slant))
        return np.stack([estimate - error * below, estimate + error * above])


def _unskewed(quantile: Floats, slant: Floats) -> Floats:
    """Return the t at which Hall's cubic, t + slant t²/3 + slant² t³/27 + slant/6, is `quantile`."""
    straight = np.abs(slant) < _LEAST_SKEWNESS
    safe = np.where(straight, 1.0, slant)
    return np.where(straight, quantile, 3.0 / safe * (np.cbrt(1.0 + safe * (quantile - safe / 6.0)) - 1.0))


def _effective_images(successes: Floats, trials: Floats, *, tail: float, times: float) -> tuple[Floats, Floats]:
    """Return a rate and the number of independent trials that tell as much as the images (each (...))."""
    total = trials.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = successes.sum(axis=0) / total
        weights = trials / total
        # Kish's number of images: fewer than there are if some have more trials than others.
        inverse = (weights**2).sum(axis=0)
        images = times / inverse
        spread = (((successes - rate * trials) / total) ** 2).sum(axis=0) / inverse
        # With two more images, one that always succeeds and one that never does:
        centre = (images * rate + 1.0) / (images + 2.0)
        squares = images * (spread + (rate - centre) ** 2) + (1.0 - centre) ** 2 + centre**2
        agreement = squares / (images + 2.0) / (centre * (1.0 - centre))
        # Korn & Graubard's correction for a spread that is known from few images.
        degrees = np.maximum(images - 1.0, 1.0)
        known = (special.ndtri(1.0 - tail) / special.stdtrit(degrees, 1.0 - tail)) ** 2
        effective = images * np.maximum(1.0, known / agreement)
    return rate, np.minimum(effective, total * times)


def _sum_in_quadrature(first: Floats, second: Floats, correlation: Floats) -> Floats:
    """Return the length of the difference of two deviations with this correlation."""
    return np.asarray(np.sqrt(first**2 + second**2 - 2.0 * correlation * first * second))
