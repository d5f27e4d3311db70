"""Transfers count images that both victims get right; the other images are said, and do not decide."""

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from eadbench.harness.analysis import transfer
from eadbench.harness.analysis.aggregate import summarise
from eadbench.harness.analysis.planned import Planned, PlannedImages
from eadbench.harness.labels import Labels
from eadbench.harness.reporting.tables import render_matrix
from tests import sweeps
from tests.harness.analysis.sample_rows import rows_of
from tests.harness.reporting.sample_summaries import victim

MODEL, OTHER = "a" * 16, "b" * 16
UNTARGETED = {"cell": "e" * 16, "parameters": '{"targeted":false}'}
# Untargeted on four images; the other victim gets images 2 and 3 wrong without any attack.
ROWS = pd.concat(
    [
        rows_of([(image, None, 2.0) for image in range(4)], **UNTARGETED),
        rows_of([(0, None, 2.0), (1, None, None), (2, None, 2.0), (3, None, 2.0)], evaluated_on=OTHER, **UNTARGETED),
    ],
    ignore_index=True,
)
VICTIMS = [victim(MODEL), victim(OTHER)]


def plan(*, both_correct: bool = True, wrong: dict[str, list[int]] | None = None) -> Planned:
    images = PlannedImages(images=np.arange(4), targets=np.ones(4, dtype=np.int64))
    known = {MODEL: [], OTHER: [2, 3]} if wrong is None else wrong
    arrays = {digest: np.array(given, dtype=np.int64) for digest, given in known.items()}
    return Planned(images={(MODEL, "untargeted"): images}, wrong=arrays, both_correct=both_correct)


@pytest.mark.parametrize(
    ("planned", "asr", "images", "error"),
    [
        (plan(), 50.0, 2, 50.0),
        (plan(both_correct=False), 75.0, 4, 50.0),
        (plan(wrong={MODEL: []}), 75.0, 4, np.nan),  # the other victim was never tested on these images
        (plan(wrong={MODEL: [], OTHER: [0, 1, 2, 3]}), np.nan, 0, 100.0),
    ],
)
def test_a_clean_error_is_no_transfer(planned: Planned, asr: float, images: int, error: float) -> None:
    summary = summarise(ROWS, seed=0, planned=planned)
    own, other = summary[summary["case"] == "worst"].to_dict("records")
    assert (own["asr"], own["images"], own["all_images_asr"], own["clean_error"]) == (100, 4, 100, 0)
    figures = [other[name] for name in ("asr", "all_targets_asr", "images", "all_images_asr", "clean_error")]
    assert figures == pytest.approx([asr, asr, images, 75.0, error], nan_ok=True)
    assert other["missing"] == 0


def test_the_matrix_says_the_images_and_the_clean_error() -> None:
    summary = summarise(ROWS, seed=0, planned=plan())
    labels = Labels(lines=summary, victims=VICTIMS)
    untargeted = sweeps.small(targets="untargeted", attacks=[{"name": "cw"}])
    for width in (60, 80, 200):
        console = Console(width=width, record=True)
        console.print(transfer.terminal(summary, VICTIMS, labels, untargeted))
        text = " ".join(console.export_text().split())
        assert "ASR, untargeted, by victim tested on" in text and "target class" not in text
        assert "50 (75)" in text and "images" in text and "clean error" in text
    assert "gives it the target class" in transfer.meaning(sweeps.small())
    table = transfer.csv(summary, VICTIMS, labels).splitlines()
    assert table[1].endswith("100.0,50.0,4,100.0,0.0,2,75.0,50.0")
    markdown = render_matrix(summary, "markdown", VICTIMS, untargeted)
    assert "| 100 | 50 (75) |" in markdown and "| 2 | 50 |" in markdown
    latex = render_matrix(summary, "latex", VICTIMS, untargeted)
    assert "& $10^{-3}$ & 0 & 100 & 50 (75) \\\\" in latex and "& 2 & 50 \\\\" in latex
