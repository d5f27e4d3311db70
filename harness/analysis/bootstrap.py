"""Bootstrap over images: resampled sums and percentile intervals (Efron & Tibshirani 1993, chapter 13).

An image's target classes are not independent, so the bootstrap resamples images, never rows.

Shape letters:
    N    images
    B    resamples
    ...  the shape of an image's totals, or of a figure
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["percentile_interval", "resampled_sums"]

Floats = NDArray[np.float64]

_PERCENTILES = (2.5, 97.5)
# Image draws in memory at once, in several arrays of 8 bytes each: about 30 MB.
_DRAWS = 2**20


def resampled_sums(totals: Floats, *, generator: np.random.Generator, resamples: int) -> Floats:
    """Draw N images with replacement, `resamples` times, and sum their totals.

    The ratio of two such sums is a figure of a resample: successes per trial, distance per success. The draws depend
    on the generator only, not on how many are in memory at once.

    Parameters
    ----------
    totals
        What each image adds to each sum: (N, ...), with N at least 1.
    generator
        The source of the draws.
    resamples
        B, 0 or more.

    Returns
    -------
    The sums (B, ...).
    """
    images = len(totals)
    flat = totals.reshape(images, -1)
    sums = np.empty((resamples, flat.shape[1]))
    block = max(1, _DRAWS // images)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        draws = generator.integers(0, images, size=(rows, images), dtype=np.uint32).astype(np.int64)
        # Counting the draws gives multinomial weights, several times faster than Generator.multinomial.
        draws += images * np.arange(rows)[:, None]
        weights = np.bincount(draws.ravel(), minlength=rows * images).reshape(rows, images)
        sums[start : start + rows] = weights.astype(np.float64) @ flat
    return sums.reshape(resamples, *totals.shape[1:])


def percentile_interval(figures: Floats) -> Floats:
    """Return the ends of the 95 % percentile interval.

    Parameters
    ----------
    figures
        Figures of the resamples: (B, ...). NaN, the distortion of a resample without a success, is ignored.

    Returns
    -------
    The lower and the upper end (2, ...); NaN if every resample is NaN.
    """
    ends = np.full((2, *figures.shape[1:]), np.nan)
    for index in np.ndindex(figures.shape[1:]):
        values = figures[(slice(None), *index)]
        known = values[~np.isnan(values)]
        if known.size:
            ends[(slice(None), *index)] = np.percentile(known, _PERCENTILES)
    return ends
