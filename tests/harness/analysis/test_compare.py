"""Paired statistics against closed forms, and two sweeps compared against a slow transcription."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis import compare as comparing
from eadbench.harness.analysis import paired, unpaired
from eadbench.harness.analysis.compare import Pair, match
from eadbench.harness.labels import OWN
from eadbench.harness.parquet.rows import SCHEMA, write_rows
from eadbench.harness.parquet.stored import StoredRows, Wanted
from eadbench.harness.plan.grid import Victim
from eadbench.models import canonical_json


@pytest.mark.parametrize(
    ("gained", "lost", "p"),
    [(0, 0, 1), (1, 0, 1), (5, 0, 2 / 2**5), (0, 12, 2 / 2**12), (8, 1, 2 * (1 + 9) / 2**9), (3, 3, 1)],
)
def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs(gained: int, lost: int, p: float) -> None:
    assert paired.mcnemar(gained, lost) == pytest.approx(p)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([1, 2, 3, 4, 5, 6], 2 / 2**6),  # one of the 2⁶ signs is as extreme on either side
        ([-1, 2, 3, 4, 5, 6], 4 / 2**6),  # rank sums 0 and 1
        ([0, 0, 1, 2, 3, 4, 5, 6], 2 / 2**6),
        ([0, 0], 1),
        ([], 1),
    ],
)
def test_the_signed_rank_test_counts_signs(differences: list[float], p: float) -> None:
    assert paired.signed_rank(np.array(differences, dtype=float)) == pytest.approx(p)


def test_holm_multiplies_by_how_many_are_left() -> None:
    adjusted = paired.holm([0.01, 0.04, math.nan, 0.03, 0.5])
    np.testing.assert_allclose(adjusted, [0.04, 0.09, math.nan, 0.09, 0.5])


def test_targets_of_an_image_are_not_counted_as_independent() -> None:
    """Nine targets that all say what the first says are no more evidence than it is."""
    images, before, after = np.arange(8), np.zeros(8, dtype=bool), np.arange(8) < 6
    alone = paired.rates(images, before, after)
    nine = paired.rates(np.repeat(images, 9), np.repeat(before, 9), np.repeat(after, 9))
    assert (alone.before, alone.after, alone.p) == (0, 75, pytest.approx(2 / 2**6))
    assert nine.p == alone.p
    assert (nine.difference, nine.low, nine.high) == pytest.approx((alone.difference, alone.low, alone.high))
    assert (alone.count, nine.count) == (8, 72)


def test_distortions_are_compared_where_both_succeed() -> None:
    before, after = np.array([True, True, False, True]), np.ones(4, dtype=bool)
    change = paired.values(
        np.array([0, 0, 1, 2]), before, after, np.array([1.0, 2.0, math.nan, 3.0]), np.array([2.0, 3.0, 7.0, 4.0])
    )
    assert (change.before, change.after, change.count) == (2, 3, 3)
    assert (change.low, change.high) == (1, 1)  # every image differs by as much
    nothing = paired.values(np.array([0]), np.array([False]), np.array([True]), np.array([1.0]), np.array([1.0]))
    assert nothing.count == 0
    assert all(math.isnan(value) for value in (nothing.before, nothing.after, nothing.low, nothing.high, nothing.p))


def test_the_interval_has_the_width_of_a_mean() -> None:
    generator = np.random.default_rng(0)
    before = generator.gamma(5, size=4000)
    after = before + generator.normal(0.5, 2, size=4000)
    everywhere = np.ones(4000, dtype=bool)
    change = paired.values(np.arange(4000), everywhere, everywhere, before, after)
    assert change.low < change.difference < change.high
    assert change.high - change.low == pytest.approx(2 * 1.96 * 2 / math.sqrt(4000), rel=0.1)
    assert change.p < 1e-9


def test_unpaired_intervals_are_those_of_both_means() -> None:
    """Of many images, one target each: the normal intervals of two independent means."""
    generator = np.random.default_rng(1)
    images = np.arange(4000)
    before, after = generator.random(4000) < 0.6, generator.random(4000) < 0.7
    change = unpaired.change(unpaired.rate(images, before), unpaired.rate(images, after))
    errors = [side.mean() * (1 - side.mean()) / 4000 for side in (before, after)]
    assert change.difference == pytest.approx(100 * (after.mean() - before.mean()))
    assert change.high - change.low == pytest.approx(100 * 2 * 1.96 * math.sqrt(sum(errors)), rel=0.03)
    assert change.interval_before[1] - change.interval_before[0] == pytest.approx(196 * 2 * errors[0] ** 0.5, rel=0.03)
    near, far = generator.gamma(5, size=4000), generator.gamma(6, size=4000)
    means = [unpaired.mean_distance(images, np.ones(4000, dtype=bool), values) for values in (near, far)]
    change = unpaired.change(*means)
    assert change.difference == pytest.approx(far.mean() - near.mean())
    assert change.high - change.low == pytest.approx(2 * 1.96 * math.sqrt((5 + 6) / 4000), rel=0.05)
    assert math.isnan(change.p) and not change.same


def test_an_unpaired_mean_counts_images_and_only_successes() -> None:
    images = np.repeat(np.arange(5), 9)
    success = images < 4
    mean = unpaired.mean_distance(images, success, np.where(success, 1.0 + images, math.nan))
    assert (mean.value, mean.count) == (2.5, 36) and mean.low < 1.6 < 3.7 < mean.high
    assert unpaired.rate(images, success).high - unpaired.rate(images, success).low > 50  # five images, not 45
    nothing = unpaired.change(mean, unpaired.mean_distance(images, ~success & success, images * 1.0))
    assert nothing.before == 2.5 and math.isnan(nothing.after) and math.isnan(nothing.difference)


def victim(digest: str, **changes: Any) -> Victim:
    known: dict[str, Any] = {"name": None, "arch": "net", "defense": "none", "defense_parameters": {}}
    known |= {"trained_on": "digits", "accuracy": None, "images": range(100), "labels": [0] * 100}
    return Victim(digest=digest, **(known | changes))


def row(digest: str, cell: str, **changes: Any) -> dict[str, Any]:
    """A row of results, of EAD on an undefended network unless it is changed."""
    found: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    found |= {"dataset": "digits", "split": "test", "image": 0, "label": 0, "target": 1, "success": True}
    found |= {"model": digest, "evaluated_on": digest, "arch": "net", "defense": "none", "trained_on": "digits"}
    found |= {"attack": "ead", "decision_rule": "l1", "beta": 1e-3, "kappa": 0.0, "cell": cell, "shard": "s"}
    found |= {"defense_parameters": "{}", "parameters": parameters(1000)}
    found |= {"l0": 1.0, "l1": 1.0, "l2": 1.0, "linf": 1.0}
    return found | changes


def parameters(max_iterations: int) -> str:
    return canonical_json({"max_iterations": max_iterations})


def stored(folder: Path, rows: list[dict[str, Any]]) -> StoredRows:
    folder.mkdir()
    write_rows(folder / "part.parquet", rows)
    cells = {row["cell"]: row["model"] for row in rows}
    drawn = {row["model"]: range(100) for row in rows} | {row["evaluated_on"]: range(100) for row in rows}
    return StoredRows([folder / "part.parquet"], Wanted(cells=cells, drawn=drawn))


def test_cells_match_by_what_they_are(tmp_path: Path) -> None:

    def distilled(temperature: float) -> dict[str, Any]:
        text = canonical_json({"temperature": temperature})
        return {"defense": "distillation", "defense_parameters": text, "temperature": temperature}

    hot: dict[str, Any] = {"defense": "distillation", "defense_parameters": {"temperature": 10.0}}
    before = stored(
        tmp_path / "before",
        [
            row("a", "1"),
            row("a", "1", evaluated_on="b"),
            row("a", "2", kappa=10.0),
            row("b", "3", **distilled(10.0)),
            row("c", "4", attack="cw", decision_rule=None, beta=None),
            row("d", "5", attack="cw", decision_rule=None, beta=None),
        ],
    )
    after = stored(
        tmp_path / "after",
        [
            row("A", "6"),
            row("A", "6", evaluated_on="B"),
            row("B", "7", **distilled(100.0)),
            row("c", "4", attack="cw", decision_rule=None, beta=None),
            row("e", "8", attack="cw", decision_rule=None, beta=None),
        ],
    )
    of_before = [victim("a"), victim("b", **hot), victim("c"), victim("d")]
    of_after = [victim("A"), victim("B", **hot), victim("c"), victim("e")]
    matched = match(before.lines, of_before, after.lines, of_after)
    found = {
        (pair.setting, pair.tested, before.lines.at[pair.before, "cell"], after.lines.at[pair.after, "cell"])
        for pair in matched.pairs
    }
    assert found == {
        ("EAD (L1), β = 1e-3, κ = 0", OWN, "1", "6"),
        ("EAD (L1), β = 1e-3, κ = 0", "net, distillation T = 10", "1", "6"),
        ("C&W, κ = 0", OWN, "4", "4"),  # two networks each, of which one is the same
    }
    assert (matched.alone, matched.unclear) == (3, 2)


def test_cells_of_one_setting_match_by_their_other_hyperparameters(tmp_path: Path) -> None:
    """Both sweeps have EAD with 2 and with 40 iterations, under other cells: each is compared with its like."""

    def cells(digest: str, names: str) -> list[dict[str, Any]]:
        return [row(digest, name, parameters=parameters(n)) for name, n in zip(names, (2, 40), strict=True)]

    before = stored(tmp_path / "before", cells("a", "12"))
    after = stored(tmp_path / "after", [*cells("b", "34")[::-1], row("b", "5", parameters=parameters(7))])
    matched = match(before.lines, [victim("a")], after.lines, [victim("b")])
    assert [
        (pair.setting, before.lines.at[pair.before, "cell"], after.lines.at[pair.after, "cell"])
        for pair in matched.pairs
    ] == [
        ("EAD (L1), max_iterations 2, β = 1e-3, κ = 0", "1", "3"),
        ("EAD (L1), max_iterations 40, β = 1e-3, κ = 0", "2", "4"),
    ]
    assert (matched.alone, matched.unclear) == (0, 1)


def test_cells_of_one_setting_match_by_their_targets(tmp_path: Path) -> None:
    """All hyperparameters differ between the sweeps, and each has cells with targets and without."""

    def sweep(name: str, digest: str, iterations: int) -> StoredRows:
        cells = {f"{digest}{target}": target for target in (1, -1)}
        rows = [row(digest, cell, target=target, parameters=parameters(iterations)) for cell, target in cells.items()]
        lines = stored(tmp_path / name, rows)
        lines.lines["targets"] = ["untargeted" if cell.endswith("-1") else "all" for cell in lines.lines["cell"]]
        return lines

    before, after = sweep("before", "a", 2), sweep("after", "b", 40)
    matched = match(before.lines, [victim("a")], after.lines, [victim("b")])
    assert [(before.lines.at[pair.before, "cell"], after.lines.at[pair.after, "cell"]) for pair in matched.pairs] == [
        (f"a{target}", f"b{target}") for target in (1, -1)
    ]
    assert all("max_iterations 2 → 40" in pair.setting for pair in matched.pairs)
    assert (matched.alone, matched.unclear) == (0, 0)


def test_a_comparison_is_of_shared_examples(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)

    def side(name: str, digest: str, images: range, scale: float) -> tuple[StoredRows, list[dict[str, Any]]]:
        rows = []
        for image in images:
            for target in range(1, 4):
                success = bool(generator.random() < 0.7)
                sizes = {m: float(scale * generator.gamma(5)) if success else None for m in ("l1", "l2", "linf")}
                rows.append(row(digest, digest, image=image, target=target, success=success, **sizes))
        return stored(tmp_path / name, rows), rows

    before, first = side("before", "a", range(30), 1.0)
    after, second = side("after", "b", range(10, 40), 1.5)
    [pair] = match(before.lines, [victim("a")], after.lines, [victim("b")]).pairs
    [found] = comparing.compare([pair], before, after)
    line = comparing.table([found]).iloc[0]

    others = {(row["image"], row["target"]): row for row in second}
    shared = [(row, others[row["image"], row["target"]]) for row in first if (row["image"], row["target"]) in others]
    assert (line["examples"], line["images"]) == (len(shared), 20) == (60, 20)
    assert line["asr_before"] == pytest.approx(100 * np.mean([one["success"] for one, _ in shared]))
    assert line["asr_after"] == pytest.approx(100 * np.mean([other["success"] for _, other in shared]))
    both = [(one["l2"], other["l2"]) for one, other in shared if one["success"] and other["success"]]
    assert line["l2_before"] == pytest.approx(np.mean([one for one, _ in both]))
    assert line["l2_after"] == pytest.approx(np.mean([other for _, other in both]))
    assert line["l2_change"] == pytest.approx(100 * (line["l2_after"] / line["l2_before"] - 1))
    net = defaultdict(int)
    for one, other in shared:
        net[one["image"]] += other["success"] - one["success"]
    gained, lost = (sum(sign * count > 0 for count in net.values()) for sign in (1, -1))
    assert line["asr_p"] == paired.mcnemar(gained, lost)
    assert line["largest"] == max(abs(line[f"{figure}_change"]) for figure in ("asr", "l1", "l2", "linf"))


def test_one_image_each_and_none_shared_says_nothing(tmp_path: Path) -> None:
    before, after = (stored(tmp_path / name, [row(name, name, image=i)]) for i, name in enumerate("ab"))
    [found] = comparing.compare([Pair(victim="v", setting="s", tested=OWN, before=0, after=0)], before, after)
    line = comparing.table([found]).iloc[0]
    assert (line["examples"], line["others"]) == (1, 1)
    assert (line["asr_low"], line["asr_high"]) == (-97.5, 97.5) and pd.isna(line["asr_p"])


NAN = math.nan


@pytest.mark.parametrize(
    ("before", "after", "asr_same", "l1_same"),
    [
        ([True, False], [True, False], True, True),
        ([True, False], [False, True], False, False),  # 50 % each, on different images, without a shared distance
        ([True, True], [True, False], False, False),
        ([False, False], [False, False], True, True),
    ],
)
def test_sameness_is_row_by_row(before: list[bool], after: list[bool], asr_same: bool, l1_same: bool) -> None:
    images, successes = np.arange(2), [np.array(side) for side in (before, after)]
    distances = [np.where(side, 3.0, NAN) for side in successes]
    assert paired.rates(images, *successes).same == asr_same
    assert paired.values(images, *successes, *distances).same == l1_same
    if l1_same and any(before):
        assert not paired.values(images, *successes, distances[0], distances[1] + 1e-9).same


def test_a_line_is_the_same_if_all_of_its_figures_are(tmp_path: Path) -> None:
    def side(name: str, l2: float, wins: int) -> StoredRows:
        sizes = [{"success": image == wins, "l1": 1.0, "l2": l2, "linf": 0.5} for image in range(2)]
        rows = [row(name, name, image=i, **(s if s["success"] else {"success": False})) for i, s in enumerate(sizes)]
        return stored(tmp_path / name, rows)

    before = side("a", 2.0, 0)
    for name, l2, wins, same in (("b", 2.0, 0, True), ("c", 2.5, 0, False), ("d", 2.0, 1, False)):
        pair = Pair(victim="v", setting="s", tested=OWN, before=0, after=0)
        line = comparing.table(list(comparing.compare([pair], before, side(name, l2, wins)))).iloc[0]
        assert line["asr_before"] == line["asr_after"] == 50
        assert (bool(line["same"]), line["l1_count"]) == (same, 0 if wins else 1)


def test_lines_without_a_common_example_are_compared_by_their_means(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)

    def rows(first: int, success: float) -> list[dict[str, Any]]:
        chosen = [(image, target) for image in range(first, first + 6) for target in (1, 2)]
        distances = {metric: float(generator.uniform(1, 2)) for metric in ("l1", "l2", "linf")}
        return [
            row("a", "1", image=image, target=target, success=image - first < success, **distances)
            for image, target in chosen
        ]

    before, after = stored(tmp_path / "before", rows(0, 6)), stored(tmp_path / "after", rows(50, 3))
    [pair] = match(before.lines, [victim("a")], after.lines, [victim("a")]).pairs
    [comparison] = comparing.compare([pair], before, after)
    assert (comparison.paired, comparison.examples, comparison.others, comparison.images) == (False, 12, 12, 6)
    rate = comparison.changes["asr"]
    assert (rate.before, rate.after, rate.difference) == (100, 50, -50) and rate.low < -50 < rate.high
    assert comparison.changes["l1"].count == 12 + 6
    [line] = comparing.table([comparison]).to_dict("records")
    assert (line["others"], line["asr_before_high"], line["largest"]) == (12, 100, pytest.approx(50, abs=60))
    assert math.isnan(line["asr_adjusted"]) and line["asr_after_low"] < 50 < line["asr_after_high"]
