"""The evidence for a claim: which rows are compared, and how it is told."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.paper.claims import CLAIMS, Checked, check
from eadbench.harness.paper.evidence import LEAST_IMAGES
from tests.harness.paper.paper_rows import (
    IFGM_L1,
    IMAGES,
    MNIST,
    RESAMPLES,
    TRANSFER,
    judged,
    paper,
    rows_of,
    scaled,
    two_attacks,
    victim,
    victims_of,
)


def evidence_of(rows: pd.DataFrame, *, words: str = "On MNIST") -> Checked:
    [checked] = [one for one in check(rows, [], seed=0, resamples=RESAMPLES) if words in one.claim]
    return checked


def test_a_reduction_is_told_with_its_figures() -> None:
    line = judged("On MNIST", two_attacks()).evidence[0]
    start = "MNIST, no defence, victim mnist/no: EAD (EN) against I-FGM-L1: "
    assert line == f"{start}L1 32.94 → 17.4, -47.2 % [-47.2, -47.2] ({IMAGES} images): holds"


def test_comparisons_are_paired() -> None:
    """EAD 2 % above C&W on every image, whose own distortions differ 19-fold."""
    lines = paper().query(f"{MNIST} and defense == 'none' and attack in ['cw', 'ead'] and beta != 0")
    lines = lines[lines["decision_rule"] != "en"]
    trained = lines.assign(model="trained", evaluated_on="trained", defense="adversarial_training", learnt_from="cw")
    trained = trained.assign(cell="trained " + trained["cell"], l1=trained["l1"] * 1.02, l2=trained["l2"] * 1.02)
    rows = rows_of(pd.concat([lines, trained]), spread=0.9)
    holds = evidence_of(rows, words="Adversarial training raises")
    assert holds.verdict == "holds", holds
    # As other images' figures, the same numbers tell nothing.
    other = rows["model"] == "trained"
    shifted = rows.assign(image=rows["image"].where(~other, (rows["image"] + 1) % IMAGES))
    assert evidence_of(shifted, words="Adversarial training raises").verdict == "not enough data"


def test_only_shared_examples_are_compared() -> None:
    lines = two_attacks()
    rows = rows_of(lines, images=60)
    ead = rows["attack"] == "ead"
    wrong = (rows["image"] >= 30) | (rows["target"] == 9)
    rows.loc[wrong, "l1"] *= 50
    rows = rows[~(ead & (rows["image"] >= 30)) & ~(~ead & (rows["target"] == 9))]
    assert ", -47.2 % [-47.2, -47.2] (30 images)" in evidence_of(rows).evidence[0]


@pytest.mark.parametrize(("images", "verdict"), [(LEAST_IMAGES - 1, "not enough data"), (LEAST_IMAGES, "holds")])
def test_few_images_are_not_enough(images: int, verdict: str) -> None:
    checked = judged("On MNIST", two_attacks(), images=images)
    assert checked.verdict == verdict
    assert (f"{LEAST_IMAGES - 1} shared images, at least {LEAST_IMAGES} are needed" in checked.evidence[0]) == (
        images < LEAST_IMAGES
    )


def test_rows_there_twice_count_once_in_any_order() -> None:
    lines = paper().query(f"{MNIST} and beta != 5e-4")
    rows, victims = rows_of(lines), victims_of(lines)
    once = check(rows, victims, seed=3, resamples=50)
    again = pd.concat([rows, rows.sample(frac=0.3, random_state=1)]).sample(frac=1, random_state=2)
    assert check(again, [*victims, *victims][::-1], seed=3, resamples=50) == once


def test_attacks_of_different_hyperparameters_are_not_mixed() -> None:
    rows = rows_of(two_attacks())
    more = rows[rows["attack"] == "ead"].assign(image=rows["image"] + IMAGES)
    more["cell"] = "other " + more["cell"]
    checked = evidence_of(pd.concat([rows, more]))
    assert checked.verdict == "not enough data"
    assert re.search(
        r"EAD \(EN\) is there with different hyperparameters \(cells cell \d+, other cell \d+\)", checked.evidence[0]
    )


def test_untargeted_rows_do_not_count() -> None:
    rows = rows_of(two_attacks())
    checked = check(rows[rows["target"] == 0].assign(target=None), [], seed=0, resamples=RESAMPLES)
    assert {one.verdict for one in checked} == {"not enough data"}


def test_nullable_columns_are_understood() -> None:
    lines = paper().query(f"{TRANSFER} or {MNIST}")
    rows, victims = rows_of(lines), victims_of(lines)
    assert check(rows.convert_dtypes(), victims, seed=0, resamples=20) == check(rows, victims, seed=0, resamples=20)


def test_no_rows_are_not_enough_data() -> None:
    empty = rows_of(two_attacks()).iloc[:0]
    checked = check(empty, [], seed=0)
    assert [one.verdict for one in checked] == ["not enough data"] * len(CLAIMS)
    assert all(one.evidence for one in checked)


def test_a_claim_that_fails_on_one_of_two_victims_fails() -> None:
    lines = two_attacks()
    other = lines.assign(model="other", evaluated_on="other", cell="other " + lines["cell"])
    other.loc[other["attack"] == "ead", "l1"] = 30.0
    checked = judged("On MNIST", pd.concat([lines, other]), victims=[victim("other", "none")])
    assert checked.verdict == "fails"
    assert [line.rpartition(": ")[2] for line in checked.evidence] == ["holds", "fails"]


def test_transfers_to_a_victim_that_is_not_known_are_left_out() -> None:
    lines = paper().query(TRANSFER)
    assert judged("its best ASR over κ", lines, victims=[victim("another", "none")]).verdict == "not enough data"


@pytest.mark.parametrize(
    ("temperature", "defense", "verdict"),
    [
        (100.0, "distillation", "holds"),
        (10.0, "distillation", "not enough data"),
        (np.nan, "none", "not enough data"),
    ],
)
def test_transfers_are_to_networks_distilled_at_100(temperature: float, defense: str, verdict: str) -> None:
    lines = paper().query(TRANSFER)
    tested = victim(str(lines["evaluated_on"].iloc[0]), defense, temperature=temperature)
    assert judged("its best ASR over κ", lines, victims=[tested]).verdict == verdict


@pytest.mark.parametrize(
    ("most", "factor", "verdict"),
    [
        (60, 1.0, "holds"),
        (45, 1.0, "holds"),  # C&W is best at 40
        (40, 1.0, "not enough data"),
        (40, 0.7, "not enough data"),  # EAD is best at 40, and might be better at 45
        (60, 0.7, "fails"),
    ],
)
def test_the_best_kappa_must_not_be_the_last_that_was_tried(most: int, factor: float, verdict: str) -> None:
    lines = scaled("attack == 'ead'", asr=factor)(paper().query(f"{TRANSFER} and kappa <= {most}"))
    checked = judged("its best ASR over κ", lines)
    assert checked.verdict == verdict, checked
    assert {"a greater κ" in line for line in checked.evidence} == {verdict == "not enough data"}


def test_too_few_successes_are_not_enough() -> None:
    lines = scaled(IFGM_L1, asr=0.004)(two_attacks())
    checked = judged("On MNIST", lines)
    assert (checked.verdict, "unknown: too few successes" in checked.evidence[0]) == ("not enough data", True)
