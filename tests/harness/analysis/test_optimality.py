"""Optimality against attackbenchlib's figures, a plain transcription of its equations, and step functions by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from eadbench.harness.analysis.optimality import (
    VictimDistances,
    aurec,
    envelope,
    local_optimality,
    optimality,
    security_curve,
)

Floats = NDArray[np.float64]
INF = math.inf

# Figures that `eval_optimality` of attackbenchlib 2.0.2 gives for each attack against the least of both.
MEASURED = {
    "every image broken": ([[1, 2, 3], [1, 1.5, 4]], [0.8571428571428572, 1.0]),
    "failures": ([[1, INF, 3], [2, 2, INF]], [0.6666666666666665, 0.6666666666666665]),
    "an image that is wrong without an attack": ([[0, 2, 3], [0, 1, 5]], [0.49999999999999967, 1.0]),
    "equal distances": ([[3, 3, 7, 9], [4, 2, 7, 8]], [0.9166666666666666, 0.9166666666666666]),
}


@pytest.mark.parametrize(("distances", "measured"), MEASURED.values(), ids=MEASURED)
def test_local_optimality_is_attackbenchlibs(distances: list[list[float]], measured: list[float]) -> None:
    attacks = np.array(distances)
    assert local_optimality(attacks, envelope(attacks)).tolist() == pytest.approx(measured, abs=1e-12)


@pytest.mark.parametrize(
    ("distances", "limit", "area"),
    [
        ([1, 2], 2, 1.5),  # 1 up to 1, one half up to 2
        ([1, 2], 4, 1.5),  # 0 beyond 2
        ([1, 2], 1.5, 1.25),
        ([0, 2], 2, 1.0),  # an image that needs no change
        ([2, INF], 4, 3.0),  # a failure stays above every ε
        ([INF, INF], 4, 4.0),
    ],
)
def test_the_area_below_a_step_function_is_exact(distances: list[float], limit: float, area: float) -> None:
    assert aurec(np.array(distances, dtype=float), limit) == area


def test_a_security_curve_begins_at_zero_and_falls_at_each_distance() -> None:
    sizes, rates = security_curve(np.array([3.0, 1.0, INF, 3.0]))
    assert (sizes.tolist(), rates.tolist()) == ([0, 1, 3], [1, 0.75, 0.25])
    sizes, rates = security_curve(np.array([0.0, 2.0]))
    assert (sizes.tolist(), rates.tolist()) == ([0, 2], [0.5, 0])


@pytest.mark.parametrize("seed", range(20))
def test_areas_are_integrals_of_security_curves(seed: int) -> None:
    """Integrate ρ rectangle by rectangle, as attackbenchlib does, and put the areas into equation 5."""
    attacks = _random(seed)
    best = envelope(attacks)
    limit = best[np.isfinite(best)].max()
    clean = np.count_nonzero(best) / len(best)
    least = _integral(best, limit)
    slow = [(clean * limit - _integral(distances, limit)) / (clean * limit - least) for distances in attacks]
    assert local_optimality(attacks, best).tolist() == pytest.approx(np.clip(slow, 0, 1).tolist(), abs=1e-9)


def _integral(distances: Floats, limit: float) -> float:
    sizes, rates = security_curve(distances)
    ends = np.append(sizes[1:], np.inf)
    return sum(
        rate * (min(end, limit) - begin) for begin, end, rate in zip(sizes, ends, rates, strict=True) if begin < limit
    )


def _random(seed: int, attacks: int = 4, examples: int = 25) -> Floats:
    generator = np.random.default_rng(seed)
    distances = generator.gamma(2.0, 3.0, (attacks, examples)).round(1)
    distances[generator.random((attacks, examples)) < 0.2] = INF
    distances[:, generator.random(examples) < 0.1] = 0.0
    return distances


def test_extremes() -> None:
    best = np.array([1.0, 2.0, 4.0])
    assert local_optimality(best, best) == 1
    assert local_optimality(np.full(3, INF), best) == 0
    assert local_optimality(np.full(3, 5.0), best) == 0
    assert local_optimality(best / 2, best) == 1, "clipped: an attack better than the envelope that it is held to"
    for nothing_gained in ([INF, INF], [0.0, 0.0], [2.0, 2.0], [2.0, INF]):
        assert np.isnan(local_optimality(np.array(nothing_gained), np.array(nothing_gained)))


def test_an_attack_that_was_not_run_leaves_the_envelope_alone() -> None:
    assert envelope(np.array([[2.0, INF], [np.nan, np.nan], [3.0, 1.0]])).tolist() == [2, 1]


def _victim(distances: Floats, images: NDArray[np.int64] | None = None) -> VictimDistances:
    return VictimDistances(
        distances=distances,
        best=envelope(distances),
        images=np.arange(distances.shape[1]) if images is None else images,
    )


def test_global_optimality_is_the_mean_over_victims() -> None:
    victims = [_victim(_random(1)), _victim(_random(2, examples=40))]
    scores = optimality(victims)
    assert scores.local.T.tolist() == [local_optimality(each.distances, each.best).tolist() for each in victims]
    assert scores.overall.tolist() == pytest.approx(scores.local.mean(axis=1).tolist())
    assert (scores.overall_interval[0] <= scores.overall).all()
    assert (scores.overall <= scores.overall_interval[1]).all()


def test_an_attack_without_one_victim_has_no_rank() -> None:
    part = _random(3)
    part[2] = np.nan
    scores = optimality([_victim(_random(4)), _victim(part)])
    assert np.isnan(scores.overall[2])
    assert scores.rank[2] == 0
    assert not np.isnan(scores.local[2, 0])
    assert (scores.rank[[0, 1, 3]] > 0).all()


def test_ranks_differ_only_beyond_chance() -> None:
    """A better attack on every image outranks; two that win on half of the images each do not."""
    generator = np.random.default_rng(0)
    base = generator.gamma(4.0, 2.0, 60)
    noise = np.exp(generator.normal(0.0, 0.05, (2, 60)))
    scores = optimality([_victim(np.stack([base * noise[0], base * noise[1], base * 1.5]))])
    assert scores.rank.tolist() == [1, 1, 3]


def test_ranks_do_not_fall_with_the_global_optimality() -> None:
    """A wide interval gives no attack a higher rank than the attacks above it have."""
    generator = np.random.default_rng(1)
    base = generator.gamma(4.0, 2.0, 40)
    uneven = np.where(generator.random(40) < 0.55, base, np.inf)
    scores = optimality([_victim(np.stack([base * factor for factor in (1.0, 1.1, 1.25)] + [uneven]))])
    order = np.argsort(-scores.overall)
    assert (np.diff(scores.rank[order]) >= 0).all()
    assert scores.rank[3] > 1


@pytest.mark.parametrize(("images", "ranks"), [(5, [1, 1]), (6, [1, 2])])
def test_a_few_images_tell_no_attacks_apart(images: int, ranks: list[int]) -> None:
    best = np.arange(1.0, images + 1)
    assert optimality([_victim(np.stack([best, 1.5 * best]))]).rank.tolist() == ranks


def test_targets_of_an_image_are_no_further_images() -> None:
    """Nine equal targets of each image give the interval of the images alone."""
    distances = _random(5)
    alone, repeated = (
        optimality([_victim(distances)]),
        optimality([_victim(distances.repeat(9, axis=1), np.arange(25).repeat(9))]),
    )
    assert repeated.overall_interval == pytest.approx(alone.overall_interval)


@pytest.mark.parametrize("images", [15, 60])
def test_intervals_cover(images: int) -> None:
    """The mean optimality of samples lies in the 95 % intervals of about as many; at least 85 % of 120."""
    generator = np.random.default_rng(images)

    def sample() -> Floats:
        base = generator.gamma(4.0, 2.0, images)
        return np.asarray(base * np.exp(generator.exponential([[0.05], [0.2]], (2, images))))

    truth = np.mean([local_optimality(each, envelope(each)) for each in (sample() for _ in range(2000))], axis=0)
    covered = 0
    for _ in range(120):
        low, high = optimality([_victim(sample())], replicates=200).overall_interval
        covered += int(low[1] <= truth[1] <= high[1])
    assert covered >= 102


def test_one_image_has_no_interval() -> None:
    scores = optimality([_victim(np.array([[1.0, 2.0], [2.0, 1.5]]), np.zeros(2, dtype=np.int64))])
    assert np.isnan(scores.overall_interval).all()
    assert scores.rank.tolist() == [1, 1]
