"""Samples of cells: their figures, their bootstrap, and the rules of verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.paper.sample import Rule, Sample, about, above, at_least, below, percent_change


@pytest.mark.parametrize(
    ("rule", "verdicts"),
    [
        (above(0.0), {(0.1, 1): "holds", (-1, 1): "not enough data", (-1, 0): "fails", (0, 0): "fails"}),
        (below(2.0), {(0, 1.9): "holds", (1, 2): "not enough data", (2, 3): "fails"}),
        (at_least(-1.0), {(-1, 0): "holds", (-1.1, 0): "not enough data", (-3, -1.1): "fails"}),
        (
            about(-47.0, within=10.0),
            {(-58, -56): "holds", (-60, -58): "fails", (-36, -30): "fails", (-55, -34): "not enough data"},
        ),
    ],
)
def test_rules(rule: Rule, verdicts: dict[tuple[float, float], str]) -> None:
    assert {ends: rule(*ends) for ends in verdicts} == verdicts


def test_figures_and_intervals_agree_with_a_plain_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(5)
    images, cells = 25, 3
    won = generator.integers(1, 9, size=(images, cells))
    sums = generator.uniform(1, 5, size=(images, cells, 3)) * won[..., None]
    totals = np.concatenate([np.full((images, cells, 1), 9.0), won[..., None], sums], axis=-1)

    def figures(drawn: Any) -> list[list[float]]:
        rows = [
            [100 * won[drawn, cell].sum() / (9 * len(drawn)), *(sums[drawn, cell].sum(axis=0) / won[drawn, cell].sum())]
            for cell in range(cells)
        ]
        return [[float(value) for value in row] for row in rows]

    sample = Sample(totals, seed=7, resamples=40)
    np.testing.assert_allclose(sample.figures, figures(np.arange(images)))
    draws = np.random.default_rng(7).integers(0, images, size=(40, images), dtype=np.uint32)
    np.testing.assert_allclose(sample.resampled, [figures(drawn) for drawn in draws])
    monkeypatch.setattr("eadbench.harness.analysis.bootstrap._DRAWS", 100)
    np.testing.assert_allclose(Sample(totals, seed=7, resamples=40).resampled, sample.resampled)
    change = percent_change("l2")(sample.figures)
    assert change == pytest.approx(100 * (sample.figures[2, FIGURES.index("l2")] / sample.figures[0, 2] - 1))
