"""Rows that are missing: their images leave the cases, and the lines say so."""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eadbench.dashboards.figures_table import table_html
from eadbench.dashboards.lines import described
from eadbench.dashboards.page import header
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.aggregate import ALL_TARGETS, CASES, FIGURES, summarise
from eadbench.harness.analysis.planned import Planned, PlannedImages
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.labels import Labels
from eadbench.harness.reporting.tables import render
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.results.status import Watched
from tests import sweeps
from tests.harness.analysis.sample_rows import HAND, SETTING, lines_by_case, rows_of
from tests.harness.reporting.table_8 import TABLE_8, shown, summary_of

MODEL = str(SETTING["model"])


def plan(images: int, targets: int) -> Planned:
    counts = np.full(images, targets, dtype=np.int64)
    return Planned(
        wrong={},
        both_correct=True,
        images={(MODEL, ""): PlannedImages(images=np.arange(images), targets=counts)},
    )


def test_an_image_that_lacks_rows_leaves_the_cases_alone() -> None:
    """The worst case of image 1, whose target 2 failed, would rise from a failure to a success."""
    lost = rows_of([example for example in HAND if example[:2] != (1, 2)])
    rest = rows_of([example for example in HAND if example[0] != 1])
    cases, expected = (lines_by_case(summarise(rows, seed=3, planned=plan(3, 3))) for rows in (lost, rest))
    for case, line in cases.items():
        assert line[list(FIGURES)].tolist() == pytest.approx(expected[case][list(FIGURES)].tolist(), nan_ok=True)
        assert (line["images"], line["missing"]) == (2, 1)
        # The mean over every target is over the rows at hand.
        assert line[list(ALL_TARGETS)].tolist() == pytest.approx(
            [500 / 8, 4, 6, (1 + 1 / 2 + 1 / 4 + 1 / 5 + 1 / 8) / 5]
        )


def test_images_without_any_row_are_counted() -> None:
    summary = summarise(rows_of(HAND), seed=0, planned=plan(5, 3))
    assert summary["images"].tolist() == [3] * 3
    assert summary["missing"].tolist() == [2] * 3


def test_a_line_without_a_complete_image_has_no_figures_in_its_cases() -> None:
    cases = lines_by_case(summarise(rows_of([(0, 1, 2.0)]), seed=0, planned=plan(1, 2)))
    for line in cases.values():
        assert line[list(FIGURES)].isna().all() and line["all_targets_asr"] == 100
        assert (line["images"], line["missing"]) == (0, 1)


def test_the_average_case_stays_paired() -> None:
    """Both cells have the same distances; half of the images of one lack a row."""
    examples = [(image, target, float(1 + image % 7 + target)) for image in range(100) for target in range(9)]
    half = [example for example in examples if example[0] % 2 or example[1] != 8]
    odd = rows_of([example for example in examples if example[0] % 2], cell="b" * 16)
    summary = summarise(pd.concat([rows_of(half), odd], ignore_index=True), seed=1, planned=plan(100, 9))
    average = summary[summary["case"] == "average"]
    assert average["images"].tolist() == [50, 50]
    assert average["l1"].tolist()[0] == pytest.approx(average["l1"].tolist()[1])


def test_a_marked_line_does_not_compete() -> None:
    """EAD (L1) has the least L1; with missing rows, the next line is bold, and the mark is explained."""
    summary = summary_of(TABLE_8)
    summary.loc[summary["decision_rule"] == "l1", "missing"] = 2
    markdown, latex = render(summary, "markdown"), render(summary, "latex")
    assert "| EAD (L1)† | 1e-3 | 0 | 100 | 7.153 |" in markdown and "| 100 | **9.808** |" in markdown
    assert "† 2 images without all rows: left out of the best, average and worst case" in markdown
    assert r"EAD ($L_1$)\dag{} &" in latex and r"\par \dag{} 2 images without all rows" in latex
    for width in (60, 80, 200):
        text = shown(summary, width)
        assert "EAD (L1)†" in text and "† 2 images without" in text
    table = pd.read_csv(io.StringIO(render(summary, "csv")))
    assert table["missing"].tolist() == [0] * 9 + [2] * 3
    whole = summary_of(TABLE_8)
    assert not any("†" in render(whole, format) for format in ("markdown", "latex"))


def test_the_page_marks_the_line(tmp_path: Path) -> None:
    lines = summary_of(TABLE_8)
    lines.loc[lines["decision_rule"] == "l1", "missing"] = 1
    spec = sweeps.small(attacks=[{"name": "cw"}])
    summary = Summary(spec=spec, victims=[], lines=lines)
    html = str(table_html(summary, lines, described(summary, lines), groups=CASES))
    assert "EAD (L1)†" in html and "<strong>9.808</strong>" in html and "<strong>7.153</strong>" not in html
    assert "† 1 image without all rows" in html
    assert Labels(lines=lines, victims=[]).series  # the labels themselves have no mark
    assert "†" not in "".join(Labels(lines=lines, victims=[]).series.values())


@pytest.fixture(scope="module")
def transferred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two victims, one attack, and a part for each on the other."""
    victim = {"arch": "digits", "training": {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}}
    folder = tmp_path_factory.mktemp("missing") / "sweep"
    spec = sweeps.small(
        images={"count": 3},
        victims=[{**victim, "evaluated_on": "all"}, {**victim, "training": {**victim["training"], "seed": 1}}],
        attacks=[{"name": "fgm", "norm": "linf", "epsilons": [0.3]}],
        shard_size=9,
    )
    sweeps.run(spec, folder)
    return folder


def states(folder: Path) -> tuple[bool, str]:
    """Whether the explorer calls a sweep complete, and the page's sentence."""
    snapshot = Snapshot(Results(folder))
    progress = Watched(snapshot.folder).progress()
    assert progress is not None
    html = str(header.html(snapshot, summaries.read(snapshot)))
    return progress.complete, " ".join(re.search(r'<p class="state[^>]*>(.*?)</p>', html, re.DOTALL)[1].split())


def test_completeness_counts_transfers(transferred: Path) -> None:
    assert states(transferred) == (
        True,
        "Complete: all 54 rows of 2 cells are there, and all 27 rows on other victims.",
    )
    part = sorted(path for path in (transferred / "examples").iterdir() if "-" in path.stem)[0]
    content = part.read_bytes()
    part.unlink()
    try:
        unfinished = (
            "Unfinished: 54 of 54 rows are there, and 18 of 27 rows on other victims; 2 of 2 cells are complete."
        )
        assert states(transferred) == (False, unfinished)
        lines = summaries.read(Snapshot(Results(transferred))).lines
        tested_on_other = lines["model"] != lines["evaluated_on"]
        assert lines.groupby(tested_on_other)["missing"].max().to_dict() == {False: 0, True: 1}
    finally:
        part.write_bytes(content)
