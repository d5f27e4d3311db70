"""The intervals of the figures against a plain bootstrap, and how often they cover."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis import bootstrap
from eadbench.harness.analysis.aggregate import (
    CASES,
    FIGURES,
    INTERVALS,
    METRICS,
    summarise,
)
from eadbench.harness.errors import UserError
from tests.harness.analysis.sample_rows import HAND, SETTING, lines_by_case, mean, random_rows, rows_of, slow_figures


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
    monkeypatch.setattr(bootstrap, "_DRAWS", 100)
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


def test_negative_resamples_are_refused() -> None:
    with pytest.raises(UserError, match="resamples: must be 0"):
        summarise(rows_of(HAND), seed=0, resamples=-1)
