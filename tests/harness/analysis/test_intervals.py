"""The intervals against scipy, closed forms and plain transcriptions, and how often they cover."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from eadbench.harness.analysis.aggregate import CASES, FIGURES, summarise
from eadbench.harness.analysis.intervals import difference_interval, mean_interval, rate_interval, ratio_interval
from tests.harness.analysis.sample_rows import HAND, lines_by_case, random_rows, rows_of

Floats = NDArray[np.float64]


@pytest.mark.parametrize(("won", "images"), [(0, 1), (1, 1), (0, 10), (10, 10), (1, 10), (7, 20), (45, 50), (200, 200)])
@pytest.mark.parametrize("targets", [1, 9])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_images_of_one_fate_have_the_exact_binomial_interval(won: int, images: int, targets: int, level: float) -> None:
    successes, trials = targets * (np.arange(images) < won), np.full(images, float(targets))
    exact = stats.binomtest(won, images).proportion_ci(confidence_level=level, method="exact")
    assert rate_interval(successes, trials, level=level).tolist() == pytest.approx(list(exact), abs=1e-9)


def test_full_success_is_not_certainty() -> None:
    """At 100 % of N images, the lower end is 0.025 ** (1 / N)."""
    for images in (10, 50, 1000):
        low, high = rate_interval(np.full(images, 9.0), np.full(images, 9.0))
        assert (low, high) == (pytest.approx(0.025 ** (1 / images)), 1.0)
    assert rate_interval(np.full(10, 9.0), np.full(10, 9.0), times=100) == pytest.approx([0.025**0.001, 1.0])


def test_independent_targets_count_up_to_each() -> None:
    """With many images, nine independent targets tell as much as nine images."""
    successes = np.random.default_rng(0).binomial(9, 0.3, 5000).astype(float)
    ends = rate_interval(successes, np.full(5000, 9.0))
    exact = stats.binomtest(int(successes.sum()), 45_000).proportion_ci(method="exact")
    assert np.diff(ends)[0] == pytest.approx(exact.high - exact.low, rel=0.03)


def test_images_with_more_targets_weigh_more() -> None:
    """One image with 90 of the 99 trials leaves little more than one image's worth of certainty."""
    trials = np.array([90.0, *[1.0] * 9])
    low, _ = rate_interval(trials, trials)
    assert low < 0.1


def test_a_paired_difference_is_newcombes() -> None:
    """Newcombe (1998), method 10, with Clopper-Pearson ends and the correlation of a multinomial sample."""
    gained, lost, images = 12, 5, 40
    before = (np.arange(images) >= gained).astype(float)
    after = np.where(np.arange(images) < gained, 1.0, np.arange(images) < images - lost)
    gain, loss = gained / images, lost / images
    ends = [stats.binomtest(count, images).proportion_ci(method="exact") for count in (gained, lost)]
    correlation = -math.sqrt(gain / (1 - gain) * loss / (1 - loss))
    down, up = gain - ends[0].low, ends[1].high - loss
    low = gain - loss - math.sqrt(down**2 + up**2 - 2 * correlation * down * up)
    down, up = ends[0].high - gain, loss - ends[1].low
    high = gain - loss + math.sqrt(down**2 + up**2 - 2 * correlation * down * up)
    assert difference_interval(before, after, np.ones(images)).tolist() == pytest.approx([low, high])
    swapped = difference_interval(after, before, np.ones(images))
    assert swapped.tolist() == pytest.approx([-high, -low])


@pytest.mark.parametrize("images", [10, 299, 368])
def test_equal_successes_leave_the_doubt_of_a_rate_of_zero(images: int) -> None:
    ones = np.ones(images)
    most = 1 - 0.025 ** (1 / images)
    assert difference_interval(ones, ones, ones).tolist() == pytest.approx([-most, most])


def test_a_symmetric_mean_has_students_interval() -> None:
    values = np.array([-3.0, -1.0, 0.0, 1.0, 3.0]) + 7.0
    student = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert mean_interval(values, np.ones(5)).tolist() == pytest.approx(list(student))


def test_a_skewed_mean_has_halls_interval_where_that_is_wider() -> None:
    """Solve t + a t²/3 + a² t³/27 + a/6 = ±quantile by its roots, with a = skewness / √N."""
    values = np.random.default_rng(1).exponential(size=12)
    slant = stats.skew(values) / math.sqrt(12)
    quantile = stats.t.ppf(0.975, 11)

    def root(value: float) -> float:
        [real] = [r.real for r in np.roots([slant**2 / 27, slant / 3, 1, slant / 6 - value]) if abs(r.imag) < 1e-9]
        return float(real)

    error, mean = values.std(ddof=1) / math.sqrt(12), values.mean()
    expected = [mean - error * max(quantile, root(quantile)), mean - error * min(-quantile, root(-quantile))]
    assert mean_interval(values, np.ones(12)).tolist() == pytest.approx(expected)


def test_a_ratio_is_on_a_logarithmic_scale() -> None:
    """Swapping the sums turns the ends round; a symmetric sample has Student's interval of log ratios' influences."""
    generator = np.random.default_rng(2)
    above, below = generator.gamma(4, 2, 30), generator.gamma(4, 1, 30)
    low, high = ratio_interval(above, below)
    assert ratio_interval(below, above).tolist() == pytest.approx([1 / high, 1 / low])
    influence = above / above.sum() - below / below.sum()
    error = math.sqrt(30 / 29 * (influence**2).sum())
    least = math.log(above.sum() / below.sum()) - stats.t.ppf(0.975, 29) * error
    assert math.log(low) <= least + 1e-12


def test_one_image_has_no_interval_of_distances() -> None:
    """Images without a success do not count: one with nine successes is one image."""
    sums, counts = np.array([18.0, 0.0, 0.0]), np.array([9.0, 0.0, 0.0])
    for ends in (ratio_interval(sums, counts), mean_interval(sums, counts), ratio_interval(0 * sums, 0 * counts)):
        assert np.isnan(ends).all()
    assert np.isnan(rate_interval(np.zeros(2), np.zeros(2))).all()


Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
RATES: dict[str, tuple[Draw, float]] = {
    "one fate": (lambda generator, size: 9.0 * (generator.random(size) < 0.05), 0.05),
    "independent": (lambda generator, size: generator.binomial(9, 0.5, size) + 0.0, 0.5),
    "a rare kind of image": (
        lambda generator, size: np.where(generator.random(size) < 0.05, 9.0, generator.random(size) < 0.5),
        0.05 + 0.95 * 0.5 / 9,
    ),
    "half alike": (lambda generator, size: generator.binomial(9, generator.beta(0.9, 0.1, size)) + 0.0, 0.9),
}


@pytest.mark.parametrize("images", [10, 20, 50, 200])
@pytest.mark.parametrize("kind", RATES)
def test_rates_are_covered(kind: str, images: int) -> None:
    """Each end errs in at most 2.5 % of samples; 2,000 samples leave a deviation of 0.35 %, the design effect some."""
    draw, rate = RATES[kind]
    successes = draw(np.random.default_rng(3), (images, 2000))
    low, high = rate_interval(successes, np.full(successes.shape, 9.0))
    assert (low > rate).mean() < 0.05
    assert (high < rate).mean() < 0.05


@pytest.mark.parametrize("images", [10, 20, 50, 200])
@pytest.mark.parametrize(("gain", "loss"), [(0.0, 0.01), (0.05, 0.06), (0.4, 0.4), (0.3, 0.5)])
def test_differences_are_covered(images: int, gain: float, loss: float) -> None:
    luck = np.random.default_rng(4).random((images, 2000))
    before, after = luck >= gain, luck < 1 - loss
    low, high = difference_interval(before.astype(float), after.astype(float), np.ones(luck.shape))
    assert (low > gain - loss).mean() < 0.035
    assert (high < gain - loss).mean() < 0.035


@pytest.mark.parametrize("images", [5, 10, 20, 50, 200])
@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_mean_distances_are_covered(images: int, shape: float) -> None:
    """Gamma distances: those of shape 1 are exponential, as skewed as distances are."""
    distances = np.random.default_rng(5).gamma(shape, 1.0, (images, 2000))
    for interval in (ratio_interval, mean_interval):
        low, high = interval(distances, np.ones(distances.shape))
        assert 0.91 <= ((low <= shape) & (shape <= high)).mean() <= 0.99


def test_a_summary_has_these_intervals() -> None:
    rows = random_rows(11, images=40)
    lines = lines_by_case(summarise(rows, seed=4))
    images = [part for _, part in rows.groupby("image")]
    for case, fate in (("best", any), ("worst", all)):
        won = sum(fate(part["success"]) for part in images)
        exact = stats.binomtest(won, 40).proportion_ci(method="exact")
        assert [lines[case]["asr_lo"], lines[case]["asr_hi"]] == pytest.approx([100 * exact.low, 100 * exact.high])
    counts = np.array([part["success"].sum() for part in images], dtype=float)
    trials = np.array([len(part) for part in images], dtype=float)
    for metric in ("l1", "l2"):
        sums = np.array([part[metric].sum() for part in images])
        ends = [lines["best"][f"all_targets_{metric}_{end}"] for end in ("lo", "hi")]
        assert ends == pytest.approx(ratio_interval(sums, counts).tolist())
        best = np.array([part[metric].min() for part in images if part["success"].any()])
        ends = [lines["best"][f"{metric}_{end}"] for end in ("lo", "hi")]
        assert ends == pytest.approx(ratio_interval(best, np.ones(len(best))).tolist())
    ends = [lines["best"][f"all_targets_asr_{end}"] for end in ("lo", "hi")]
    assert ends == pytest.approx((100 * rate_interval(counts, trials)).tolist())
    for case in CASES:
        for figure in FIGURES:
            assert lines[case][f"{figure}_lo"] <= lines[case][figure] <= lines[case][f"{figure}_hi"]
    assert lines["worst"]["linf_hi"] <= 1.0


def test_ten_images_of_full_success_are_69_to_100() -> None:
    """Every target of every image succeeds, and still the lower end is 100 · 0.025 ** 0.1."""
    line = summarise(rows_of([(image, target, 2.0) for image in range(10) for target in range(9)]), seed=0).iloc[0]
    for figure in ("asr", "all_targets_asr"):
        assert (line[f"{figure}_lo"], line[f"{figure}_hi"]) == (pytest.approx(69.15, abs=0.01), 100)


def test_a_distance_of_one_image_has_no_interval() -> None:
    line = lines_by_case(summarise(rows_of(HAND), seed=0))["worst"]
    assert line["l1"] == 4.0 and pd.isna(line["l1_lo"]) and pd.isna(line["l1_hi"])


def test_intervals_do_not_depend_on_the_order_of_rows() -> None:
    rows = random_rows(12)
    shuffled = rows.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(summarise(rows, seed=0), summarise(shuffled, seed=0), rtol=1e-12)
