"""The explorer's page Detectors without a browser."""

from pathlib import Path

import pytest

from eadbench.harness.reporting.tables import detections
from tests import sweeps
from tests.dashboards.explorer import VICTIM, Visit, charts, html, layers, messages
from tests.dashboards.reading import summary_of

SEARCH = {"initial_const": 1, "binary_search_steps": 2, "max_iterations": 10}
EAD = {"name": "ead", "decision_rules": ["l1"], "beta": 1e-2, **SEARCH}
DETECTED = {
    "images": {"count": 4},
    "targets": "untargeted",
    "victims": [{**VICTIM, "evaluated_on": [], "detectors": [{"name": "feature_squeezing", "images": 40}]}],
    "attacks": [{**EAD, "kappa": [0, 2]}, {**EAD, "adaptive": {"name": "feature_squeezing", "images": 40}}],
}


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detected")
    sweeps.run(sweeps.small(**DETECTED), folder)
    return folder


def test_the_table_and_the_curves_are_the_reports(visit: Visit, detected: Path) -> None:
    summary = summary_of(detected)
    heads, rows = detections.detections_texts(summary)
    test = visit([detected], "detectors")
    assert html(test).tables["Detectors"] == [heads, *rows]
    assert len(rows) == 3
    assert [button.label for button in test.download_button] == ["CSV"]
    [alt] = charts(test)
    assert alt.startswith("true positives over false positives of feature squeezing on ")
    assert summary.detections is not None
    [_, curves] = layers(test, 0)
    by_cell = {cell: curve for (_, cell), curve in summary.detections.curves.items()}
    for cell, (false, true) in by_cell.items():
        own = [point for point in curves["values"] if point["cell"] == cell]
        assert [point["false"] for point in own] == pytest.approx(100 * false)
        assert [point["true"] for point in own] == pytest.approx(100 * true)
    assert {point["cell"] for point in curves["values"]} == set(by_cell)


def test_a_sweep_without_detectors_says_so(visit: Visit) -> None:
    assert "No detector has judged" in messages(visit(["first"], "detectors"))
