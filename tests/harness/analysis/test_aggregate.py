"""``harness.analysis.aggregate`` against hand-computed tables, a transcription image by image, a plain bootstrap."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis import aggregate
from eadbench.harness.analysis.aggregate import (
    ALL_TARGETS,
    CASES,
    COLUMNS,
    FIGURES,
    INTERVALS,
    METRICS,
    attack_name,
    rule_name,
    summarise,
)
from eadbench.harness.errors import UserError

SETTING: dict[str, Any] = {
    "dataset": "mnist",
    "split": "test",
    "label": 0,
    "model": "a" * 16,
    "arch": "cw",
    "defense": "none",
    "temperature": None,
    "trained_on": None,
    "evaluated_on": "a" * 16,
    "attack": "ead",
    "norm": None,
    "decision_rule": "en",
    "beta": 1e-3,
    "kappa": 0.0,
    "iterations": 10,
    "cell": "c" * 16,
    "shard": "d" * 16,
}


def rows_of(examples: Iterable[tuple[int, int | None, float | None]], **setting: Any) -> pd.DataFrame:
    """Rows from (image, target, L1), null where failed; L2 = 10 - L1 and Linf = 1 / L1 run against L1."""
    rows = []
    for image, target, l1 in examples:
        distances = {"l1": l1, "l2": None if l1 is None else 10 - l1, "linf": None if l1 is None else 1 / l1}
        rows.append(SETTING | {"image": image, "target": target, "success": l1 is not None} | distances | setting)
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("temperature", "beta", "kappa", *METRICS), "float64"))


def random_rows(seed: int, *, images: int = 12, targets: int = 5, **setting: Any) -> pd.DataFrame:
    """Rows of images with some rows missing and some images that always or never succeed."""
    generator = np.random.default_rng(seed)
    examples: list[tuple[int, int | None, float | None]] = []
    for image in generator.choice(1000, size=images, replace=False).tolist():
        rate = generator.choice([0.0, 0.5, 1.0])
        chosen = generator.choice(10, size=generator.integers(1, targets + 1), replace=False)
        for target in chosen.tolist():
            examples.append((image, target, generator.uniform(1, 9) if generator.random() < rate else None))
    return rows_of(examples, **setting)


def lines_by_case(summary: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    assert summary["case"].tolist() == list(CASES)
    return {case: summary.iloc[index] for index, case in enumerate(CASES)}


def drawn_target(seed: int, dataset: str, split: str, image: int, targets: Sequence[int]) -> int:
    """The average case's target, transcribed with Python's integers: SplitMix64 of the image."""
    word = 2**64 - 1
    state = int.from_bytes(hashlib.sha256(f"{seed}/{dataset}/{split}".encode()).digest()[:8], "big")
    state = (state + (image + 1) * 0x9E3779B97F4A7C15) & word
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & word
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & word
    return sorted(targets)[(state ^ (state >> 31)) % len(targets)]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def slow_figures(rows: pd.DataFrame, *, seed: int) -> dict[str, list[float]]:
    """The figures of one cell, image by image as the paper words them."""
    kept: dict[str, list[dict[str, float] | None]] = {case: [] for case in (*CASES, "all_targets")}
    for (split, image), group in rows.groupby(["split", "image"]):
        wins = {row["target"]: {m: row[m] for m in METRICS} for row in group.to_dict("records") if row["success"]}
        targets = group["target"].tolist()
        kept["best"].append({m: min(win[m] for win in wins.values()) for m in METRICS} if wins else None)
        kept["average"].append(wins.get(drawn_target(seed, "mnist", str(split), int(str(image)), targets)))
        everyone = len(wins) == len(targets)
        kept["worst"].append({m: max(win[m] for win in wins.values()) for m in METRICS} if everyone else None)
        kept["all_targets"] += [wins.get(target) for target in targets]
    return {
        case: [100 * mean([float(win is not None) for win in wins])]
        + [mean([win[m] for win in wins if win is not None]) for m in METRICS]
        for case, wins in kept.items()
    }


# Three images, three targets: the first succeeds for all, the second for two, the third for none.
HAND = [
    (0, 1, 1.0),
    (0, 2, 2.0),
    (0, 3, 4.0),
    (1, 0, 5.0),
    (1, 2, None),
    (1, 3, 8.0),
    (2, 0, None),
    (2, 1, None),
]
HAND += [(2, 3, None)]


def test_hand_computed_cases() -> None:
    cases = lines_by_case(summarise(rows_of(HAND), seed=0, resamples=0))
    # Best: image 0 has L1 1 (target 1), L2 10 - 4 and Linf 1/4 (target 3); image 1 has 5, 10 - 8 and 1/8.
    assert cases["best"][list(FIGURES)].tolist() == pytest.approx([200 / 3, (1 + 5) / 2, (6 + 2) / 2, 3 / 16])
    # Worst: image 0 only, each metric at its own worst target.
    assert cases["worst"][list(FIGURES)].tolist() == pytest.approx([100 / 3, 4, 9, 1])
    for line in cases.values():
        every = [500 / 9, 20 / 5, (9 + 8 + 6 + 5 + 2) / 5, (1 + 1 / 2 + 1 / 4 + 1 / 5 + 1 / 8) / 5]
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(every)
        assert line["images"] == 3


def test_average_case_draws_one_target_per_image() -> None:
    line = lines_by_case(summarise(rows_of(HAND), seed=7, resamples=0))["average"]
    distances = {(image, target): l1 for image, target, l1 in HAND}
    drawn = [distances[0, drawn_target(7, "mnist", "test", 0, [1, 2, 3])]]
    drawn += [distances[1, drawn_target(7, "mnist", "test", 1, [0, 2, 3])], None]
    won = [l1 for l1 in drawn if l1 is not None]
    assert line["asr"] == pytest.approx(100 * len(won) / 3)
    assert line["l1"] == pytest.approx(mean(won))


@pytest.mark.parametrize("seed", range(8))
def test_agrees_with_a_transcription_image_by_image(seed: int) -> None:
    rows = random_rows(seed, images=30)
    cases = lines_by_case(summarise(rows, seed=seed, resamples=0))
    expected = slow_figures(rows, seed=seed)
    for case, line in cases.items():
        assert line[list(FIGURES)].tolist() == pytest.approx(expected[case], rel=1e-12, nan_ok=True)
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(expected["all_targets"], rel=1e-12, nan_ok=True)


def test_images_of_the_same_index_in_two_splits_are_two_images() -> None:
    rows = pd.concat([random_rows(1), random_rows(1, split="train")], ignore_index=True)
    cases = lines_by_case(summarise(rows, seed=3, resamples=0))
    assert cases["best"]["images"] == 24
    assert cases["average"]["asr"] == pytest.approx(slow_figures(rows, seed=3)["average"][0])
    neighbours = pd.concat([rows_of([(0, 1, 2.0)]), rows_of([(0, 1, 2.0)], split="train")], ignore_index=True)
    assert summarise(neighbours, seed=3, resamples=0)["images"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("dtype", ["float64", "Int64", "object"])
def test_untargeted_rows_make_all_cases_coincide(dtype: str) -> None:
    rows = rows_of([(0, None, 2.0), (1, None, 4.0), (2, None, None)]).astype({"target": dtype})
    summary = summarise(rows, seed=0, resamples=0)
    for line in lines_by_case(summary).values():
        assert line[["asr", "l1", "l2", "images"]].tolist() == pytest.approx([200 / 3, 3, 7, 3])
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(line[list(FIGURES)].tolist())


def test_nullable_columns_are_understood() -> None:
    rows = random_rows(2)
    pd.testing.assert_frame_equal(
        summarise(rows.convert_dtypes(), seed=0, resamples=10), summarise(rows, seed=0, resamples=10)
    )


def test_no_success_is_zero_percent_and_no_distortion() -> None:
    summary = summarise(rows_of([(0, 1, None), (1, 2, None)]), seed=0, resamples=50)
    assert (summary[["asr", "asr_lo", "asr_hi"]] == 0).all(axis=None)
    assert summary[["l1", "l2_lo", "linf_hi", "all_targets_l1"]].isna().all(axis=None)


def test_distances_of_failed_rows_do_not_count() -> None:
    rows = rows_of([(0, 1, 2.0), (0, 2, 9.0)])
    rows.loc[1, "success"] = False
    assert lines_by_case(summarise(rows, seed=0, resamples=0))["best"]["l2"] == 8.0


def test_average_case_is_the_same_target_in_every_cell() -> None:
    """What is drawn for an image shows in its L1, here the target class plus one."""
    examples = [(image, target, float(target + 1)) for image in range(200) for target in range(9)]
    cells = pd.concat([rows_of(examples), rows_of(examples, cell="b" * 16, decision_rule="l1")])
    together = summarise(cells, seed=5, resamples=0).query("case == 'average'")["l1"].tolist()
    assert together[0] == together[1]
    singly = [
        summarise(rows_of(examples[9 * image : 9 * image + 9]), seed=5, resamples=0)["l1"][1] for image in range(200)
    ]
    assert mean(singly) == pytest.approx(together[0])
    # Uniform over the nine targets: chi-squared with 8 degrees of freedom, 0.999 quantile.
    counts = np.bincount(np.array(singly, dtype=int), minlength=10)[1:]
    assert ((counts - 200 / 9) ** 2 / (200 / 9)).sum() < 26.1
    other = summarise(rows_of(examples), seed=6, resamples=0)["l1"][1]
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
    pd.testing.assert_frame_equal(
        summarise(shuffled, seed=1, resamples=50), summarise(rows, seed=1, resamples=50), check_exact=True
    )


def test_a_cell_does_not_depend_on_the_others() -> None:
    parts = four_cells()
    together = summarise(pd.concat(parts, ignore_index=True), seed=1, resamples=50)
    alone = pd.concat([summarise(parts[index], seed=1, resamples=50) for index in (2, 0, 1, 3)], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone, check_exact=True)


def test_transfer_is_a_line_of_its_own() -> None:
    summary = summarise(pd.concat(four_cells(), ignore_index=True), seed=1, resamples=0)
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
    best = summarise(pd.concat(cells, ignore_index=True), seed=0, resamples=0).query("case == 'best'")
    names = [f"{attack} {rule}".strip() for attack, rule in zip(best["attack"], best["decision_rule"], strict=True)]
    gradient = [f"{attack}-{norm}" for attack in ("FGM", "I-FGM") for norm in ("L1", "L2", "Linf")]
    assert names == ["C&W", *gradient, "COV EN", "EAD EN", "EAD EN", "EAD EN", "EAD L1", *["EAD EN"] * 3]
    assert best["beta"].tolist()[8:11] == [1e-3, 1e-3, 0.1]
    assert best["kappa"].tolist()[8:11] == [0, 5, 0]
    assert best["dataset"].tolist() == ["MNIST"] * 12 + ["CIFAR10"] * 3
    assert best["defense"].tolist()[12:] == ["none", "distillation", "adversarial_training"]


def test_names() -> None:
    assert [attack_name("cw", None), attack_name("ifgm", "linf"), attack_name("mine", "l1")] == [
        "C&W",
        "I-FGM-Linf",
        "mine-L1",
    ]
    assert [
        rule_name("ead", "en"),
        rule_name("cov", "l1"),
        rule_name("cw", "l2"),
        rule_name("ead", None),
    ] == [
        "EN",
        "L1",
        "",
        "",
    ]


def test_bootstrap_agrees_with_a_plain_loop_over_resampled_images() -> None:
    """The same draws of images, each resample aggregated image by image."""
    rows = random_rows(11, images=40)
    parts = [part for _, part in rows.groupby("image")]
    # Every image's own figures: its drawn target is the same however often the image is resampled.
    single = [slow_figures(part, seed=4) for part in parts]
    name = f"4/{SETTING['cell']}/{SETTING['evaluated_on']}"
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))
    resampled: dict[tuple[str, str], list[float]] = {(case, figure): [] for case in CASES for figure in FIGURES}
    every_asr, every_l1 = [], []
    for _ in range(300):
        drawn = generator.integers(0, len(parts), size=len(parts), dtype=np.uint32).tolist()
        for case in CASES:
            won = [single[image][case] for image in drawn if single[image][case][0]]
            resampled[case, "asr"].append(100 * len(won) / len(drawn))
            for index, metric in enumerate(METRICS, start=1):
                resampled[case, metric].append(mean([figures[index] for figures in won]))
        drawn_rows = pd.concat([parts[image] for image in drawn])
        every_asr.append(100 * float(drawn_rows["success"].mean()))
        every_l1.append(float(drawn_rows.loc[drawn_rows["success"], "l1"].mean()))
    summary = lines_by_case(summarise(rows, seed=4, resamples=300))
    resampled |= {("best", "all_targets_asr"): every_asr, ("worst", "all_targets_l1"): every_l1}
    for (case, figure), values in resampled.items():
        line = summary[case]
        expected = np.percentile(values, [2.5, 97.5]).tolist()
        assert [line[f"{figure}_lo"], line[f"{figure}_hi"]] == pytest.approx(expected, rel=1e-9)
        assert line[f"{figure}_lo"] <= line[figure] <= line[f"{figure}_hi"]


def test_bootstrap_does_not_depend_on_how_many_draws_are_held_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = random_rows(12)
    whole = summarise(rows, seed=0, resamples=33)
    monkeypatch.setattr(aggregate, "_DRAWS", 100)
    pd.testing.assert_frame_equal(summarise(rows, seed=0, resamples=33), whole, rtol=1e-12)


def test_intervals_cover_what_they_should() -> None:
    """All targets of an image share one fate: intervals from resampled rows would be far too narrow."""
    generator = np.random.default_rng(3)
    cells = []
    for index in range(150):
        fates = (generator.random(60) < 0.6).tolist()
        examples = [(image, target, 2.0 if fate else None) for image, fate in enumerate(fates) for target in range(9)]
        cells.append(rows_of(examples, cell=f"{index:016x}"))
    summary = summarise(pd.concat(cells, ignore_index=True), seed=0, resamples=400).query("case == 'best'")
    for figure in ("asr", "all_targets_asr"):
        covered = ((summary[f"{figure}_lo"] <= 60) & (summary[f"{figure}_hi"] >= 60)).mean()
        assert 0.88 <= covered <= 0.99


def test_intervals_follow_the_seed_and_the_cell() -> None:
    def ends(seed: int, cell: str) -> list[float]:
        return summarise(random_rows(5, cell=cell), seed=seed, resamples=200)["all_targets_l1_lo"].tolist()

    assert ends(0, "0" * 16) == ends(0, "0" * 16)
    assert ends(0, "0" * 16) != ends(1, "0" * 16)
    assert ends(0, "0" * 16) != ends(0, "1" * 16)


def test_no_resamples_leave_the_intervals_empty() -> None:
    assert summarise(rows_of(HAND), seed=0, resamples=0)[list(INTERVALS)].isna().all(axis=None)


def test_no_rows_give_no_lines() -> None:
    summary = summarise(rows_of(HAND).iloc[:0], seed=0)
    assert summary.empty
    assert list(summary.columns) == list(COLUMNS)


def test_rows_that_are_there_twice_are_refused() -> None:
    rows = rows_of([(3, 1, 2.0), (4, 1, 2.0), (3, 1, 2.5)])
    with pytest.raises(UserError, match="image 3 of cell cccccccccccccccc has two rows for one target class"):
        summarise(rows, seed=0)


def test_negative_resamples_are_refused() -> None:
    with pytest.raises(UserError, match="resamples: must be 0"):
        summarise(rows_of(HAND), seed=0, resamples=-1)


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
    cases = lines_by_case(summarise(rows, seed=0, resamples=20))
    assert cases["worst"]["asr"] == pytest.approx(100 * 0.9**9, abs=1)
    assert cases["average"]["asr"] == pytest.approx(90, abs=0.5)
    assert cases["average"]["l1"] == pytest.approx(cases["average"]["all_targets_l1"], rel=0.01)
