"""The evidence for a claim: which rows are compared, and how it is told."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.errors import UserError
from eadbench.harness.paper.claims import CLAIMS, Checked, check
from eadbench.harness.paper.verdicts import Least
from tests.harness.paper.paper_rows import (
    IFGM_L1,
    IMAGES,
    MNIST,
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
    [checked] = [one for one in check(rows, []) if words in one.claim]
    return checked


def test_a_reduction_is_told_with_its_figures() -> None:
    line = judged("On MNIST", two_attacks()).evidence[0]
    start = "MNIST, no defence, victim mnist/no: EAD (EN) against I-FGM-L1: "
    assert line == f"{start}L1 32.94 → 17.4, -47.2 % [-47.2, -47.2] ({IMAGES} images, ASR 100 %): holds"


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
    rows.loc[wrong, "l1"] *= 50.0
    rows = rows[~(ead & (rows["image"] >= 30)) & ~(~ead & (rows["target"] == 9))]
    assert ", -47.2 % [-47.2, -47.2] (30 images, ASR 100 %)" in evidence_of(rows).evidence[0]


@pytest.mark.parametrize(("images", "verdict"), [(Least().images - 1, "not enough data"), (Least().images, "holds")])
def test_few_images_are_not_enough(images: int, verdict: str) -> None:
    checked = judged("On MNIST", two_attacks(), images=images)
    assert checked.verdict == verdict
    assert (", at least 10 are needed" in checked.evidence[0]) == (images < Least().images)


def test_rows_there_twice_count_once_in_any_order() -> None:
    lines = paper().query(f"{MNIST} and beta != 5e-4")
    rows, victims = rows_of(lines), victims_of(lines)
    once = check(rows, victims)
    again = pd.concat([rows, rows.sample(frac=0.3, random_state=1)]).sample(frac=1, random_state=2)
    assert check(again, [*victims, *victims][::-1]) == once


def test_attacks_of_different_hyperparameters_are_not_mixed() -> None:
    rows = rows_of(two_attacks())
    more = rows[rows["attack"] == "ead"].assign(image=rows["image"] + IMAGES)
    more["cell"], more["parameters"] = "other " + more["cell"], '{"max_iterations":10}'
    checked = evidence_of(pd.concat([rows, more]))
    assert checked.verdict == "not enough data"
    assert re.search(
        r"EAD \(EN\) is there with different hyperparameters \(cells cell \d+, other cell \d+\)", checked.evidence[0]
    )


def test_untargeted_rows_do_not_count() -> None:
    rows = rows_of(two_attacks())
    checked = check(rows[rows["target"] == 0].assign(target=None), [])
    assert {one.verdict for one in checked} == {"not enough data"}


def test_nullable_columns_are_understood() -> None:
    lines = paper().query(f"{TRANSFER} or {MNIST}")
    rows, victims = rows_of(lines), victims_of(lines)
    assert check(rows.convert_dtypes(), victims) == check(rows, victims)


def test_no_rows_are_not_enough_data() -> None:
    empty = rows_of(two_attacks()).iloc[:0]
    checked = check(empty, [])
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
    assert judged("its best ASR over κ", lines, victims=[tested], images=400).verdict == verdict


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
    checked = judged("its best ASR over κ", lines, images=400)
    assert checked.verdict == verdict, checked
    assert {"a greater κ" in line for line in checked.evidence} == {verdict == "not enough data"}


LEAST_L1 = f"{MNIST} and defense == 'none' and kappa == 0 and table.str.contains('8') and attack != 'fgm'"
TRAINED = f"{MNIST} and table.str.contains('14') or {MNIST} and defense == 'none' and table.str.contains('8')"
HARD = "image % 2 == 1"


def failing(rows: pd.DataFrame, query: str) -> pd.DataFrame:
    """The rows with failures where they answer the query."""
    index = rows.query(query).index
    assert len(index)
    rows = rows.copy()
    rows.loc[index, "success"] = False
    rows.loc[index, ["l1", "l2", "linf"]] = np.nan
    return rows


@pytest.mark.parametrize(
    ("words", "lines", "changed", "factor", "fails"),
    [
        # EAD needs 20 % more than C&W on every example on which both succeed, but fails on the hard half.
        ("C&W the least L2", LEAST_L1, "attack == 'ead'", 1.2 * 22.46 / 14.11, "attack == 'ead'"),
        # EAD needs 20 % less than I-FGM-L1 on every example, and fails on the hard half.
        ("On MNIST", LEAST_L1, "attack == 'ead' and decision_rule == 'en'", 0.8 * 32.94 / 17.4, "attack == 'ead'"),
        # A trained network needs 15 % more on every example, and the attacks fail there on the hard half.
        ("Adversarial training raises", TRAINED, "defense != 'none'", 1.15, "defense != 'none'"),
        # EAD is better on every example, but I-FGM-L1 succeeds on the easy half only.
        ("C&W the least L2", LEAST_L1, "attack == 'ead'", 1.0, IFGM_L1),
    ],
)
def test_distances_of_unequal_asr_are_not_compared(
    words: str, lines: str, changed: str, factor: float, fails: str
) -> None:
    """Hard images need ten times as much: a mean over fewer of them is smaller for that reason alone."""
    rows = rows_of(paper().query(lines))
    rows.loc[rows.query(changed).index, "l1"] *= factor
    rows.loc[rows.query(HARD).index, ["l1", "l2", "linf"]] *= 10.0
    checked = evidence_of(failing(rows, f"({fails}) and {HARD}"), words=words)
    assert checked.verdict == "not enough data", checked
    assert "ASRs differ by 50.0 points, at most 5 are allowed" in checked.evidence[0]


def test_distances_are_compared_where_every_cell_succeeds() -> None:
    """With I-FGM failing on one image of 25 that needs ten times as much, the change is that of the others."""
    rows = rows_of(two_attacks(), images=25)
    rows.loc[rows["image"] == 0, "l1"] *= 10.0
    checked = evidence_of(failing(rows, f"{IFGM_L1} and image == 0"))
    assert ", -47.2 % [-47.2, -47.2] (24 images, ASR 96 to 100 %): holds" in checked.evidence[0]


@pytest.mark.parametrize(
    ("words", "lines", "reason"),
    [
        ("on undefended networks", LEAST_L1, "0 successes, at least 10 are needed"),
        ("C&W the least L2", LEAST_L1, "0 images with an example on which every compared attack succeeds"),
        ("FGM's ASR", f"{MNIST} and attack == 'fgm'", "0 successes, at least 10 are needed"),
        ("its best ASR over κ", TRANSFER, "0 successes, at least 10 are needed"),
        ("examples of C&W and EAD do not", f"({TRANSFER} or {LEAST_L1}) and kappa == 0", "no example succeeds"),
    ],
)
def test_no_success_is_evidence_of_nothing(words: str, lines: str, reason: str) -> None:
    lines_without = paper().query(lines).assign(asr=0.0)
    checked = judged(words, lines_without, images=400)
    assert checked.verdict == "not enough data"
    assert reason in checked.evidence[0], checked.evidence


def test_a_baseline_that_rarely_succeeds_is_no_baseline() -> None:
    checked = judged("on undefended networks", paper().query(LEAST_L1).assign(asr=40.0), images=400)
    assert checked.verdict == "not enough data"
    assert "the baseline's ASR is 40 %, at least 50 % is needed" in checked.evidence[0]


def test_other_data_sets_do_not_decide() -> None:
    lines = paper().query(f"{TRANSFER} or {MNIST} and (defense == 'adversarial_training' or table.str.contains('8'))")
    for words in ("Adversarial training raises", "its best ASR", "do not transfer to", "accuracy"):
        for claim in (claim for claim in CLAIMS if words in claim.sentence):
            checked = judged(claim.sentence, lines.assign(dataset="digits"), images=12)
            assert checked.verdict == "not enough data"
            assert checked.evidence == (f"MNIST: no rows of {claim.needs}",)


def test_every_attack_that_a_claim_names_must_be_there() -> None:
    lines = paper().query(f"({TRANSFER} or {LEAST_L1}) and kappa == 0 and (beta.isna() or beta == 1e-3)")
    for words in ("examples of C&W and EAD do not", "its best ASR"):
        for attack in ("cw", "ead"):
            assert "no rows" in judged(words, lines.query(f"attack == '{attack}'")).evidence[0]
    trained = paper().query(TRAINED)
    for attack in ("cw", "ead"):
        assert "no rows" in judged("Adversarial training raises", trained.query(f"attack == '{attack}'")).evidence[0]


def test_folders_that_contradict_each_other_are_named() -> None:
    rows = rows_of(two_attacks()).assign(folder="results/a")
    other = rows.assign(folder="results/b")
    rounded = other.assign(l1=other["l1"] * (1 + 1e-6))
    assert evidence_of(pd.concat([rows, rounded])) == evidence_of(pd.concat([rounded, rows]))
    for contradiction in (other.assign(l1=other["l1"] * 1.5), failing(other, "image == 3 and target == 4")):
        for order in ([rows, contradiction], [contradiction, rows]):
            with pytest.raises(UserError, match="contradictory rows in results/a and results/b; give one of them"):
                check(pd.concat(order, ignore_index=True), [])


def test_what_would_decide_is_said() -> None:
    """At 100 % each, EAD is within a point of C&W if 1 - 0.025 ** (1 / N) < 0.01: from 368 images on."""
    line = judged("on undefended networks", paper().query(f"{LEAST_L1} and attack != 'ifgm'")).evidence[0]
    assert "ASR 100 → 100, +0.00 points [-11.57, +11.57] (must be at least -1; about 370 would decide)" in line
    for images, verdict in ((367, "not enough data"), (368, "holds")):
        checked = judged("on undefended networks", paper().query(f"{LEAST_L1} and attack != 'ifgm'"), images=images)
        assert checked.verdict == verdict


def test_a_rate_is_never_told_as_all() -> None:
    checked = judged("FGM's ASR", paper().query(f"{MNIST} and attack == 'fgm'").assign(asr=99.97), images=1000)
    assert all("ASR > 99.9 % [" in line for line in checked.evidence[:3]), checked
