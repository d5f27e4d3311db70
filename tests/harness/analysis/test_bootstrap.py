"""The bootstrap against ``scipy.stats.bootstrap``, the binomial distribution, and itself in smaller blocks."""

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from eadbench.harness.analysis import bootstrap
from eadbench.harness.analysis.bootstrap import percentile_interval, resampled_sums

Floats = NDArray[np.float64]

RESAMPLES = 20_000


def sums_of(totals: Any, *, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    return resampled_sums(np.asarray(totals, dtype=float), generator=np.random.default_rng(seed), resamples=resamples)


def ratio_interval(totals: Any, seed: int = 0) -> Floats:
    sums = sums_of(totals, seed=seed)
    return percentile_interval(sums[:, 1] / sums[:, 0])


@pytest.mark.parametrize("seed", range(4))
def test_ratio_agrees_with_scipy(seed: int) -> None:
    """Mean distance per success, a ratio of two sums over the same images.

    Each end is an empirical quantile of B resamples. For a normal statistic of deviation s its standard error is
    sqrt(0.025 * 0.975 / B) * s / phi(1.96) = 0.019 s at B = 20,000; that of the difference of two independent ends
    is 0.027 s. The bound is five of these, 0.13 s: 3.4 % of the interval's width of 3.92 s.
    """
    generator = np.random.default_rng(seed)
    successes = generator.integers(1, 10, size=60).astype(float)
    distances = successes * generator.gamma(4.0, 5.0, size=60)

    def ratio(counts: Floats, sums: Floats, axis: int = -1) -> Floats:
        return np.asarray(sums.sum(axis=axis) / counts.sum(axis=axis))

    reference = stats.bootstrap(
        (successes, distances),
        ratio,
        n_resamples=RESAMPLES,
        batch=1000,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(100 + seed),
    )
    error = math.sqrt(0.025 * 0.975 / RESAMPLES) / stats.norm.pdf(1.96) * reference.standard_error
    bound = 5 * math.sqrt(2) * error
    interval = ratio_interval(np.stack([successes, distances], axis=1), seed)
    assert bound < 0.04 * np.diff(interval)
    np.testing.assert_allclose(interval, list(reference.confidence_interval), rtol=0, atol=bound)


@pytest.mark.parametrize(("images", "won"), [(10, 5), (50, 25), (200, 191)])
def test_share_of_successes_has_binomial_quantiles(images: int, won: int) -> None:
    """Resampled successes are binomial (N, won / N), so the ends of the interval are that distribution's quantiles."""
    success = np.arange(images) < won
    interval = ratio_interval(np.stack([np.ones(images), success], axis=1))
    share = stats.binom(images, won / images)
    expected = share.ppf([0.025, 0.975])
    # No step of the distribution is within five standard errors of 2.5 % or 97.5 %, so chance cannot move the ends.
    error = math.sqrt(0.025 * 0.975 / RESAMPLES)
    for value, probability in zip(expected, (0.025, 0.975), strict=True):
        assert share.cdf(value - 1) < probability - 5 * error and share.cdf(value) > probability + 5 * error
    assert (interval * images).tolist() == pytest.approx(expected.tolist())


@pytest.mark.parametrize("images", [1, 2, 33])
def test_equal_images_leave_no_doubt(images: int) -> None:
    low, high = ratio_interval(np.tile([2.0, 5.0], (images, 1)))
    assert low == high == 2.5


def test_each_image_is_drawn_equally_often() -> None:
    """With one-hot totals, the sums are the numbers of draws: N in each resample, B for each image on average."""
    draws = sums_of(np.eye(30))
    assert (draws.sum(axis=1) == 30).all()
    assert draws.min() == 0 and draws.max() > 2
    # Each count is binomial (N, 1 / N): the mean of B has the standard error sqrt((1 - 1 / N) / B).
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=5 * math.sqrt((1 - 1 / 30) / RESAMPLES))


def test_sums_keep_the_shape_of_the_totals_and_draw_them_together() -> None:
    totals = np.random.default_rng(1).integers(0, 9, size=(20, 3, 2)).astype(float)
    sums = sums_of(totals, resamples=50)
    assert sums.shape == (50, 3, 2)
    np.testing.assert_array_equal(sums[:, 1, 0], sums_of(totals[:, 1, 0], resamples=50))


def test_resamples_without_a_figure_are_left_out() -> None:
    figures = np.arange(101.0)
    with_gaps = np.insert(figures, [0, 7, 50, 101], np.nan)
    assert percentile_interval(figures).tolist() == [2.5, 97.5]
    assert percentile_interval(with_gaps).tolist() == [2.5, 97.5]
    columns = np.stack([with_gaps, np.full_like(with_gaps, np.nan), with_gaps + 1], axis=1)
    np.testing.assert_array_equal(percentile_interval(columns), [[2.5, np.nan, 3.5], [97.5, np.nan, 98.5]])


def test_no_resamples_give_no_interval() -> None:
    sums = sums_of(np.ones((5, 4, 2)), resamples=0)
    assert sums.shape == (0, 4, 2)
    assert np.isnan(percentile_interval(sums)).all()


@pytest.mark.parametrize("draws", [1, 64, 1000, 2**20])
def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch, draws: int) -> None:
    """Sums of whole numbers are exact, so that they show the draws; a block may hold less than one resample."""
    totals = np.random.default_rng(2).integers(0, 1000, size=(300, 2)).astype(float)
    chosen = np.random.default_rng(0).integers(0, 300, size=(40, 300), dtype=np.uint32)
    monkeypatch.setattr(bootstrap, "_DRAWS", draws)
    np.testing.assert_array_equal(sums_of(totals, resamples=40), totals[chosen].sum(axis=1))


def test_memory_is_bounded() -> None:
    """All draws at once would take 2^18 images × 64 resamples × 8 bytes = 134 MB, several times over."""
    totals = np.ones((2**18, 1))
    tracemalloc.start()
    sums = sums_of(totals, resamples=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sums == 2**18).all()
    assert peak < 50e6
