"""Samples of cells, the quantities estimated from them, and the ranges of criteria."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eadbench.harness.analysis.intervals import difference_interval, rate_interval, ratio_interval
from eadbench.harness.paper import criteria
from eadbench.harness.paper.criteria import Estimate, Range, about, above, at_least, below
from eadbench.harness.paper.sample import Sample

LEVEL = 0.9


@pytest.mark.parametrize(
    ("range_", "text", "verdicts"),
    [
        (above(0.0), "above 0", {(0.1, 1): "in", (-1, 1): "", (-1, 0): "out", (0, 0): "out"}),
        (below(2.0), "below 2", {(0, 1.9): "in", (1, 2): "", (2, 3): "out"}),
        (at_least(-1.0), "at least -1", {(-1, 0): "in", (-1.1, 0): "", (-3, -1.1): "out"}),
        (
            about(-47.0, within=10.0),
            "from -57 to -37",
            {(-57, -37): "in", (-58, -56): "", (-36, -30): "out", (-60, -58): "out", (-60, -30): ""},
        ),
    ],
)
def test_ranges(range_: Range, text: str, verdicts: dict[tuple[float, float], str]) -> None:
    assert str(range_) == text
    estimates = {ends: Estimate(0.0, *ends) for ends in verdicts}
    assert {ends: range_.contains(estimate) for ends, estimate in estimates.items()} == {
        ends: verdict == "in" for ends, verdict in verdicts.items()
    }
    assert {ends: range_.excludes(estimate) for ends, estimate in estimates.items()} == {
        ends: verdict == "out" for ends, verdict in verdicts.items()
    }


def examples(seed: int, *, images: int = 25, cells: int = 4) -> tuple[Any, Any, Any]:
    """Images, successes and distances of 1 to 9 examples an image, in any order."""
    generator = np.random.default_rng(seed)
    image = generator.permutation(np.repeat(np.arange(images), generator.integers(1, 10, images)))
    success = generator.random((len(image), cells)) < 0.8
    distances = generator.gamma(4.0, 5.0, (len(image), cells, 3))
    return image, success, np.where(success[..., None], distances, np.nan)


def test_sums_are_those_of_a_loop_over_images() -> None:
    image, success, distances = examples(5)
    sample = Sample.of(image, success, distances)
    for index, number in enumerate(np.unique(image)):
        rows = np.flatnonzero(image == number)
        joint = [row for row in rows if success[row].all()]
        assert sample.trials[index] == len(rows)
        assert sample.successes[index].tolist() == [sum(success[row, cell] for row in rows) for cell in range(4)]
        assert sample.joint[index] == len(joint)
        np.testing.assert_allclose(sample.distances[index], distances[joint].sum(axis=0))
    both = success.all(axis=1)
    np.testing.assert_allclose(sample.means, distances[both].mean(axis=0))
    np.testing.assert_allclose(sample.rates, 100 * success.mean(axis=0))


def test_quantities_are_those_of_their_cells() -> None:
    sample = Sample.of(*examples(6))
    first, last = sample.successes[:, 0], sample.successes[:, -1]
    assert criteria.rate(sample, LEVEL, 1.0) == pytest.approx(
        (sample.rates[0], *100 * rate_interval(first, sample.trials, level=LEVEL))
    )
    assert criteria.points(sample, LEVEL, 1.0) == pytest.approx(
        (sample.rates[-1] - sample.rates[0], *100 * difference_interval(first, last, sample.trials, level=LEVEL))
    )

    def change(before: int, after: int) -> list[float]:
        base, other = sample.distances[:, before, 1], sample.distances[:, after, 1]
        ratios = [other.sum() / base.sum(), *ratio_interval(other, base, level=LEVEL)]
        return [100 * (ratio - 1) for ratio in ratios]

    assert criteria.change("l2")(sample, LEVEL, 1.0) == pytest.approx(change(0, 3))
    others = np.array([change(1, other) for other in (0, 2, 3)])
    assert criteria.gap_to_next("l2", 1)(sample, LEVEL, 1.0) == pytest.approx(others.min(axis=0))


def test_the_best_of_two_halves_allows_for_its_choice() -> None:
    sample = Sample.of(*examples(7))
    level = 1 - (1 - LEVEL) / 2
    ends = {
        (before, after): 100
        * difference_interval(sample.successes[:, before], sample.successes[:, after], sample.trials, level=level)
        for before in (0, 1)
        for after in (2, 3)
    }
    value, low, high = criteria.best_lead(sample, LEVEL, 1.0)
    assert value == pytest.approx(max(sample.rates[2:]) - max(sample.rates[:2]))
    assert low == pytest.approx(min(max(ends[before, after][0] for after in (2, 3)) for before in (0, 1)))
    assert high == pytest.approx(max(min(ends[before, after][1] for before in (0, 1)) for after in (2, 3)))


def test_a_share_of_a_change_agrees_with_the_jackknife() -> None:
    """The delta method's interval has the width of the jackknife's standard error, for large samples."""
    image, success, distances = examples(8, images=2000)
    distances *= np.array([1.0, 1.1, 1.0, 0.5])[:, None]

    def share(sample: Sample) -> float:
        a, b, c, d = sample.distances[:, :, 0].sum(axis=0)
        return float((b / a - 1) / (d / c - 1))

    sample = Sample.of(image, success, distances)
    leave_one_out = [
        share(Sample(trials=sample.trials, successes=sample.successes, joint=sample.joint, distances=part))
        for part in (np.delete(sample.distances, index, axis=0) for index in range(sample.images))
    ]
    error = np.sqrt((sample.images - 1) ** 2 / sample.images * np.var(leave_one_out, ddof=1))
    value, low, high = criteria.share_of_change("l1")(sample, 0.95, 1.0)
    assert value == pytest.approx(share(sample))
    assert (high - low) / (2 * 1.96) == pytest.approx(error, rel=0.02)
