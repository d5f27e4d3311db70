"""Optimality of attacks: how near each comes to the best known one, over every perturbation size at once.

An attack's security curve is ρ(ε) = 1 − ASR(ε), the share of examples that it does not break within ε. The area below
it, AUREC(ε₀) = ∫₀^ε₀ ρ(ε) dε, is small for a strong attack. The lower envelope is the best known attack: the least
distance of each example over all attacks. With ε₀ its greatest finite distance, an attack's local optimality is

    LO = (ρ(0)·ε₀ − AUREC of the attack) / (ρ(0)·ε₀ − AUREC of the envelope), clipped to [0, 1],

and its global optimality, GO, the mean over victims (Cinà et al. 2025, "AttackBench", equations 4 and 5; ρ(0) is the
share of examples that need a change). An attack that keeps pace with the envelope on every example has 1; one that
breaks nothing within ε₀ has 0.

Shape letters:
    A  attacks
    E  examples of a victim: (image, target class)
    N  images
    V  victims
    B  replicates of a bootstrap
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]

from eadbench.harness.analysis.intervals import LEVEL

__all__ = ["Optimality", "VictimDistances", "aurec", "envelope", "local_optimality", "optimality", "security_curve"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REPLICATES = 1000
"""Replicates of the bootstrap."""
_LEAST_IMAGES = 6
"""With fewer images, an attack that wins on each may do so by chance: 2 · 0.5⁵ is above 0.05."""
_AT_ONCE = 2**22
"""Weights of examples in memory at once."""


def security_curve(distances: Floats) -> tuple[Floats, Floats]:
    """Return the steps of ρ(ε): ascending ε (S,), from 0 on, and ρ from each of them to the next (S,).

    Parameters
    ----------
    distances
        (E,); infinite where the attack failed.
    """
    sizes, counts = np.unique(distances[np.isfinite(distances)], return_counts=True)
    if not sizes.size or sizes[0] > 0:
        sizes, counts = np.append(0.0, sizes), np.append(0, counts)
    return sizes, 1.0 - counts.cumsum() / len(distances)


def aurec(distances: Floats, limit: float) -> Floats:
    """Return the area below the security curve from 0 to `limit`, exactly.

    An example at distance d adds a rectangle of height 1/E up to d, or up to the limit.

    Parameters
    ----------
    distances
        (..., E); infinite where the attack failed.
    """
    return np.asarray(np.minimum(distances, limit).mean(axis=-1))


def envelope(distances: Floats) -> Floats:
    """Return the least distance of each example (E,) over the attacks (A, E); an attack's NaN does not count."""
    return np.asarray(np.fmin.reduce(distances, axis=0))


def local_optimality(distances: Floats, best: Floats) -> Floats:
    """Return the local optimality of attacks against a lower envelope.

    Parameters
    ----------
    distances
        (..., E); infinite where the attack failed.
    best
        The envelope (E,).

    Returns
    -------
    (...) in [0, 1]; NaN if the envelope breaks nothing, or nothing needs a change.
    """
    finite = best[np.isfinite(best)]
    limit = finite.max() if finite.size else 0.0
    return _ratio(*(_gain(each, best, limit).mean(axis=-1) for each in (distances, best)))


@dataclass(frozen=True, kw_only=True, eq=False)
class VictimDistances:
    """The distances of every attack on one victim, on the same examples."""

    distances: Floats
    """(A, E): infinite where an attack failed; a row of NaN for an attack that was not run on the victim."""
    best: Floats
    """(E,): the lower envelope."""
    images: Ints
    """(E,): the image of each example, by numbers that all victims share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimality:
    """The optimality of attacks, with the ends of 95 % intervals."""

    local: Floats
    """(A, V): NaN where an attack was not run."""
    local_interval: Floats
    """(2, A, V)"""
    overall: Floats
    """(A,): global optimality, the mean over victims; NaN for an attack that was not run on all of them."""
    overall_interval: Floats
    """(2, A)"""
    rank: Ints
    """(A,): 1 + the number of attacks that are better beyond chance, and no less than that of an attack with a higher
    global optimality; 0 for an attack without one."""


def optimality(victims: Sequence[VictimDistances], *, replicates: int = REPLICATES, seed: int = 0) -> Optimality:
    """Score attacks on victims.

    The intervals are those of a bootstrap over images, drawn for all victims together, which takes the envelope of each
    example as known, and ε₀ from the images drawn. Its percentiles are widened by Student's t, since percentiles of few
    images are too narrow (Hesterberg 2015, "expanded" percentiles). One attack is better than another beyond chance if
    such an interval of the difference of their global optimalities is above 0, on 6 images or more. Equal seeds give
    equal intervals.
    """
    local = np.stack([local_optimality(victim.distances, victim.best) for victim in victims], axis=-1)
    names = np.unique(np.concatenate([victim.images for victim in victims]))
    positions = [np.searchsorted(names, victim.images) for victim in victims]
    drawn = np.concatenate(
        [
            np.stack([_replicated(v, counts[:, at]) for v, at in zip(victims, positions, strict=True)], axis=-1)
            for counts in _draws(len(names), max(len(at) for at in positions), replicates, seed)
        ]
    )  # (B, A, V)
    overall, drawn_overall = local.mean(axis=-1), drawn.mean(axis=-1)
    differences = drawn_overall[:, :, None] - drawn_overall[:, None, :]
    better = (_ends(differences, len(names))[0] > 0) & (len(names) >= _LEAST_IMAGES)
    return Optimality(
        local=local,
        local_interval=_ends(drawn, len(names)),
        overall=overall,
        overall_interval=_ends(drawn_overall, len(names)),
        rank=np.where(np.isnan(overall), 0, _in_order(1 + better.sum(axis=0), overall)),
    )


def _in_order(ranks: Ints, overall: Floats) -> Ints:
    """Return ranks that do not fall as the global optimality does; an attack of few successes has a wide interval."""
    order = np.argsort(-overall, kind="stable")
    ranks = ranks.copy()
    ranks[order] = np.maximum.accumulate(ranks[order])
    return ranks


def _replicated(victim: VictimDistances, weights: Floats) -> Floats:
    """Return the local optimality (B, A) of every replicate, whose examples have weights (B, E)."""
    best = victim.best
    limits = np.where((weights > 0) & np.isfinite(best), best, 0.0).max(axis=1)
    local = np.full((len(weights), len(victim.distances)), np.nan)
    for limit in np.unique(limits):  # few: ε₀ is the distance of one of the most robust examples
        same = limits == limit
        gains = weights[same] @ _gain(victim.distances, best, limit).T
        local[same] = _ratio(gains, (weights[same] @ _gain(best, best, limit))[:, None])
    return local


def _gain(distances: Floats, best: Floats, limit: float) -> Floats:
    """Return what each example adds to ρ(0)·ε₀ − AUREC, times E: exactly 0 at distances of the limit or more."""
    return np.where(best > 0, limit, 0.0) - np.minimum(distances, limit)


def _ratio(gain: Floats, most: Floats) -> Floats:
    """Return gain / most in [0, 1]; NaN where the envelope gains nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(most > 0, np.clip(gain / most, 0.0, 1.0), np.nan)


def _draws(images: int, examples: int, replicates: int, seed: int) -> Iterator[Floats]:
    """Yield how often each replicate draws each image, (B, N) at a time."""
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // max(examples, images))
    for begin in range(0, replicates, step):
        count = min(step, replicates - begin)
        chosen = generator.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(chosen.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def _ends(drawn: Floats, images: int) -> Floats:
    """Return the expanded percentiles (2, ...) of replicates (B, ...); NaN with fewer than two images."""
    if images < 2:
        return np.full((2, *drawn.shape[1:]), np.nan)
    quantile = special.stdtrit(images - 1, (1.0 + LEVEL) / 2.0) * np.sqrt(images / (images - 1))
    tail = special.ndtr(-quantile)
    missing = np.isnan(drawn).mean(axis=0) > tail  # a replicate of images that nothing breaks has no optimality
    ends = np.nanquantile(np.where(missing, 0.0, drawn), [tail, 1.0 - tail], axis=0)
    return np.asarray(np.where(missing, np.nan, ends))
