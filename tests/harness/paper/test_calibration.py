"""Every claim on samples of worlds whose truth is known: a false one holds by chance on at most 5 % of samples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from eadbench.harness.paper.claims import CLAIMS, judged
from eadbench.harness.paper.evidence import Evidence
from eadbench.harness.paper.findings import FGM
from eadbench.harness.paper.verdicts import combine
from tests.harness.paper.worlds import ONE, WORLDS, Draw, World, place

ERROR = 0.05
IMAGES = (10, 20, 50, 200)
RATES = ("networks", "distilled", "FGM's", "do not", "over κ", "accuracy")
DISTANCES = [words for words in WORLDS if not any(part in words for part in RATES)]


def verdicts(words: str, world: World, *, images: int, samples: int, **changes: Any) -> Counter[str]:
    """Return how often the claim holds, fails, and lacks data."""
    [claim] = [claim for claim in CLAIMS if words in claim.sentence]
    counts: Counter[str] = Counter()
    for seed in range(samples):
        generator = np.random.default_rng([seed, images])
        _, answers = judged(claim, world(Draw(generator=generator, images=images, **changes)))
        assert answers, "the world has no place for the claim"
        counts[combine([answer.verdict for answer in answers])] += 1
    return counts


def most_errors(samples: int) -> int:
    """Return the number of errors that a test of 5 % exceeds once in 10,000 times."""
    return int(stats.binom.ppf(0.9999, samples, ERROR))


def test_every_claim_has_worlds() -> None:
    assert [[words in claim.sentence for words in WORLDS].count(True) for claim in CLAIMS] == [1] * len(CLAIMS)
    assert len(DISTANCES) == 9, DISTANCES


@pytest.mark.parametrize("words", WORLDS)
def test_false_claims_rarely_hold(words: str) -> None:
    for world in WORLDS[words][1]:
        holds = [verdicts(words, world, images=images, samples=40)["holds"] for images in IMAGES]
        assert max(holds) <= most_errors(40), holds
        assert sum(holds) <= most_errors(40 * len(IMAGES)), holds


@pytest.mark.parametrize("words", WORLDS)
def test_true_claims_come_to_hold_and_rarely_fail(words: str) -> None:
    held = []
    for images, samples in ((10, 40), (400, 10)):
        counts = verdicts(words, WORLDS[words][0], images=images, samples=samples)
        assert counts["fails"] <= most_errors(samples), counts
        held.append(counts["holds"] / samples)
    assert held[0] <= held[1] >= 0.8, held


@pytest.mark.parametrize("words", DISTANCES)
@pytest.mark.parametrize(
    ("images", "changes"),
    [(10, {"asr": 0.3}), (20, {"asr": 0.6}), (20, {"apart": 1})],
)
def test_false_claims_rarely_hold_with_few_successes_or_other_images(
    words: str, images: int, changes: dict[str, Any]
) -> None:
    for world in WORLDS[words][1]:
        counts = verdicts(words, world, images=images, samples=30, **changes)
        assert counts["holds"] <= most_errors(30), counts
        if changes == {"asr": 0.3}:  # three of ten images
            assert counts["holds"] == counts["fails"] == 0


def many_networks(draw: Draw, asr: float, last: float) -> Evidence:
    """FGM on 20 networks; `last` is its ASR on the last of them."""
    places = []
    for index in range(20):
        fates = draw.some(last if index == 19 else asr)
        places.append(place([draw.cell((FGM["l1"], None), fates, ONE, 1.0)], model=f"model {index}"))
    return Evidence(places, {})


def test_a_claim_at_many_places_errs_as_rarely_as_one() -> None:
    """Without allowance for the 20 places, a claim true by a hair would fail in 40 % of samples."""
    false = verdicts("FGM's ASR", lambda draw: many_networks(draw, 0.3, 0.75), images=50, samples=100)
    assert false["holds"] <= most_errors(100), false
    true = verdicts("FGM's ASR", lambda draw: many_networks(draw, 0.7499, 0.7499), images=50, samples=100)
    assert true["fails"] <= most_errors(100), true


@pytest.mark.parametrize("words", DISTANCES)
@pytest.mark.parametrize("images", [10, 50, 200])
def test_claims_about_distances_are_not_judged_at_unequal_asr(words: str, images: int) -> None:
    true, false = WORLDS[words]
    for world in (true, false[0]):
        counts = verdicts(words, world, images=images, samples=5, unequal=0.5)
        assert counts["fails"] == 0
        assert counts["holds"] <= (images == 10), counts


@pytest.mark.cluster
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("words", WORLDS)
def test_false_claims_rarely_hold_in_many_samples(words: str, images: int) -> None:
    for world in WORLDS[words][1]:
        counts = verdicts(words, world, images=images, samples=2000)
        assert counts["holds"] <= most_errors(2000), counts
