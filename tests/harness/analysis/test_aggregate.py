"""The cases of the paper against hand-computed tables and a transcription image by image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis.aggregate import (
    ALL_TARGETS,
    COLUMNS,
    FIGURES,
    METRICS,
    summarise,
)
from eadbench.harness.errors import UserError
from tests.harness.analysis.sample_rows import (
    HAND,
    SETTING,
    drawn_target,
    lines_by_case,
    mean,
    random_rows,
    rows_of,
    slow_figures,
)


def test_hand_computed_cases() -> None:
    cases = lines_by_case(summarise(rows_of(HAND), seed=0))
    # Best: image 0 has L1 1 (target 1), L2 10 - 4 and Linf 1/4 (target 3); image 1 has 5, 10 - 8 and 1/8.
    assert cases["best"][list(FIGURES)].tolist() == pytest.approx([200 / 3, (1 + 5) / 2, (6 + 2) / 2, 3 / 16])
    # Worst: image 0 only, each metric at its own worst target.
    assert cases["worst"][list(FIGURES)].tolist() == pytest.approx([100 / 3, 4, 9, 1])
    for line in cases.values():
        every = [500 / 9, 20 / 5, (9 + 8 + 6 + 5 + 2) / 5, (1 + 1 / 2 + 1 / 4 + 1 / 5 + 1 / 8) / 5]
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(every)
        assert line["images"] == 3


def test_average_case_draws_one_target_per_image() -> None:
    line = lines_by_case(summarise(rows_of(HAND), seed=7))["average"]
    distances = {(image, target): l1 for image, target, l1 in HAND}
    drawn = [distances[0, drawn_target(7, "mnist", "test", 0, [1, 2, 3])]]
    drawn += [distances[1, drawn_target(7, "mnist", "test", 1, [0, 2, 3])], None]
    won = [l1 for l1 in drawn if l1 is not None]
    assert line["asr"] == pytest.approx(100 * len(won) / 3)
    assert line["l1"] == pytest.approx(mean(won))


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_transcription_image_by_image(seed: int) -> None:
    rows = random_rows(seed, images=30)
    cases = lines_by_case(summarise(rows, seed=seed))
    expected = slow_figures(rows, seed=seed)
    for case, line in cases.items():
        assert line[list(FIGURES)].tolist() == pytest.approx(expected[case], rel=1e-12, nan_ok=True)
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(expected["all_targets"], rel=1e-12, nan_ok=True)


def test_images_of_the_same_index_in_two_splits_are_two_images() -> None:
    rows = pd.concat([random_rows(1), random_rows(1, split="train")], ignore_index=True)
    cases = lines_by_case(summarise(rows, seed=3))
    assert cases["best"]["images"] == 24
    assert cases["average"]["asr"] == pytest.approx(slow_figures(rows, seed=3)["average"][0])
    neighbours = pd.concat([rows_of([(0, 1, 2.0)]), rows_of([(0, 1, 2.0)], split="train")], ignore_index=True)
    assert summarise(neighbours, seed=3)["images"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object"])
def test_untargeted_rows_make_all_cases_coincide(dtype: str) -> None:
    rows = rows_of([(0, None, 2.0), (1, None, 4.0), (2, None, None)]).astype({"target": dtype})
    summary = summarise(rows, seed=0)
    for line in lines_by_case(summary).values():
        assert line[["asr", "l1", "l2", "images"]].tolist() == pytest.approx([200 / 3, 3, 7, 3])
        assert line[["targets", "targets_per_image"]].tolist() == ["untargeted", 1]
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(line[list(FIGURES)].tolist())


def test_nullable_columns_are_understood() -> None:
    rows = random_rows(2)
    pd.testing.assert_frame_equal(summarise(rows.convert_dtypes(), seed=0), summarise(rows, seed=0))


def test_no_success_is_zero_percent_and_no_distortion() -> None:
    summary = summarise(rows_of([(0, 1, None), (1, 2, None)]), seed=0)
    assert (summary[["asr", "asr_lo"]] == 0).all(axis=None)
    assert summary["asr_hi"].tolist() == pytest.approx([100 * (1 - 0.025**0.5)] * 3)
    assert summary[["l1", "l2_lo", "linf_hi", "all_targets_l1"]].isna().all(axis=None)


def test_distances_of_failed_rows_do_not_count() -> None:
    rows = rows_of([(0, 1, 2.0), (0, 2, 9.0)])
    rows.loc[1, "success"] = False
    assert lines_by_case(summarise(rows, seed=0))["best"]["l2"] == 8.0


def test_average_case_is_the_same_target_in_every_cell() -> None:
    """What is drawn for an image shows in its L1, here the target class plus one."""
    examples = [(image, target, float(target + 1)) for image in range(200) for target in range(9)]
    cells = pd.concat([rows_of(examples), rows_of(examples, cell="b" * 16, decision_rule="l1")])
    together = summarise(cells, seed=5).query("case == 'average'")["l1"].tolist()
    assert together[0] == together[1]
    singly = [summarise(rows_of(examples[9 * image : 9 * image + 9]), seed=5)["l1"][1] for image in range(200)]
    assert mean(singly) == pytest.approx(together[0])
    # Uniform over the nine targets: chi-squared with 8 degrees of freedom, 0.999 quantile.
    counts = np.bincount(np.array(singly, dtype=int), minlength=10)[1:]
    assert ((counts - 200 / 9) ** 2 / (200 / 9)).sum() < 26.1
    other = summarise(rows_of(examples), seed=6)["l1"][1]
    assert other != together[0]


def four_cells() -> list[pd.DataFrame]:
    """EAD by both rules, C&W, and C&W's examples on another victim."""
    cw: dict[str, Any] = {"attack": "cw", "decision_rule": None, "beta": None, "cell": "2" * 16}
    return [
        random_rows(0, cell="0" * 16),
        random_rows(1, decision_rule="l1", cell="1" * 16),
        random_rows(2, **cw),
        random_rows(3, evaluated_on="b" * 16, **cw),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_order_of_rows_does_not_matter(seed: int) -> None:
    rows = pd.concat(four_cells(), ignore_index=True)
    shuffled = rows.sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(summarise(shuffled, seed=1), summarise(rows, seed=1), check_exact=True)


def test_a_cell_does_not_depend_on_the_others() -> None:
    parts = four_cells()
    together = summarise(pd.concat(parts, ignore_index=True), seed=1)
    alone = pd.concat([summarise(parts[index], seed=1) for index in (2, 0, 1, 3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, check_exact=True)


def test_transfer_is_a_line_of_its_own() -> None:
    summary = summarise(pd.concat(four_cells(), ignore_index=True), seed=1)
    assert list(summary.columns) == list(COLUMNS)
    best = summary[summary["case"] == "best"]
    assert best["cell"].str[0].tolist() == ["2", "0", "1", "2"]
    assert best["evaluated_on"].str[0].tolist() == ["a", "a", "a", "b"]


def test_lines_come_in_the_order_of_the_paper() -> None:
    attacks: list[tuple[str, str | None, str | None]] = [
        ("ead", None, "l1"),
        ("ead", None, "en"),
        ("cov", None, "en"),
        ("cw", None, None),
    ]
    attacks += [(attack, norm, None) for attack in ("ifgm", "fgm") for norm in ("linf", "l2", "l1")]
    cells = [
        rows_of(HAND, attack=attack, norm=norm, decision_rule=rule, cell=f"{index:016x}")
        for index, (attack, norm, rule) in enumerate(attacks)
    ]
    cells += [rows_of(HAND, beta=0.1, cell="e" * 16), rows_of(HAND, kappa=5.0, cell="f" * 16)]
    for name in ("adversarial_training", "none", "distillation"):
        cells.append(rows_of(HAND, dataset="cifar10", defense=name, model=name, evaluated_on=name, cell=name))
    best = summarise(pd.concat(cells, ignore_index=True), seed=0).query("case == 'best'")
    variants = zip(best["attack"], best["norm"], best["decision_rule"], strict=True)
    names = [" ".join(part for part in variant if isinstance(part, str)) for variant in variants]
    gradient = [f"{attack} {norm}" for attack in ("fgm", "ifgm") for norm in ("l1", "l2", "linf")]
    assert names == ["cw", *gradient, "cov en", "ead en", "ead en", "ead en", "ead l1", *["ead en"] * 3]
    assert best["beta"].tolist()[8:11] == [1e-3, 1e-3, 0.1]
    assert best["kappa"].tolist()[8:11] == [0, 5, 0]
    assert best["dataset"].tolist() == ["mnist"] * 12 + ["cifar10"] * 3
    assert best["defense"].tolist()[12:] == ["none", "distillation", "adversarial_training"]


def test_cells_that_differ_in_a_hyperparameter_alone_are_two_lines() -> None:
    """Both keep their own figures, and the series tells them apart; β and κ are no part of a series."""
    cells = [
        rows_of([(0, 1, l1)], cell=str(n) * 16, beta=beta, parameters=f'{{"max_iterations":{n}}}')
        for n, beta, l1 in ((2, 1e-3, 1.0), (4, 1e-3, 3.0), (4, 1e-2, 5.0))
    ]
    cells[2]["cell"] = "5" * 16
    best = summarise(pd.concat(cells, ignore_index=True), seed=0).query("case == 'best'")
    by_cell = best.set_index("cell")
    assert by_cell["l1"].to_dict() == {"2" * 16: 1.0, "4" * 16: 3.0, "5" * 16: 5.0}
    series = by_cell["series"]
    assert series["4" * 16] == series["5" * 16] != series["2" * 16]


def test_no_rows_give_no_lines() -> None:
    summary = summarise(rows_of(HAND).iloc[:0], seed=0)
    assert summary.empty
    assert list(summary.columns) == list(COLUMNS)


def test_rows_that_are_there_twice_are_refused() -> None:
    rows = rows_of([(3, 1, 2.0), (4, 1, 2.0), (3, 1, 2.5)])
    with pytest.raises(UserError, match="image 3 of cell cccccccccccccccc has two rows for one target class"):
        summarise(rows, seed=0)


def test_a_million_rows() -> None:
    images, targets = 111_112, 9
    count = images * targets
    generator = np.random.default_rng(0)
    success = generator.random(count) < 0.9
    rows = pd.DataFrame(dict.fromkeys(SETTING, None), index=range(count)).assign(**SETTING)
    rows["image"], rows["target"] = np.repeat(np.arange(images), targets), np.tile(np.arange(targets), images)
    rows["success"] = success
    for metric in METRICS:
        rows[metric] = np.where(success, generator.gamma(5, size=count), np.nan)
    cases = lines_by_case(summarise(rows, seed=0))
    assert cases["worst"]["asr"] == pytest.approx(100 * 0.9**9, abs=1)
    assert cases["average"]["asr"] == pytest.approx(90, abs=0.5)
    assert cases["average"]["l1"] == pytest.approx(cases["average"]["all_targets_l1"], rel=0.01)
