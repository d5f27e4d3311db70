"""Figures of detectors: against scikit-learn, by hand, and in the order of the table."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from eadbench.harness.analysis.detection import auc, detections_of, roc, true_positives
from eadbench.harness.parquet.detections import write_detections
from eadbench.harness.plan.cells import Cell, Victim, detector_digest
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot

RANDOM = np.random.default_rng(0)
SCORES = [(RANDOM.normal(1, 1, 30), RANDOM.normal(0, 1, 50)), (np.array([1.0, 1, 2]), np.array([0.0, 1, 1, 3]))]


@pytest.mark.parametrize(("positives", "negatives"), SCORES)
def test_auc_and_curve_are_those_of_scikit_learn(positives: Any, negatives: Any) -> None:
    truth = [1] * len(positives) + [0] * len(negatives)
    scores = np.concatenate([positives, negatives])
    assert auc(positives, negatives) == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    ours = roc(positives, negatives)
    np.testing.assert_allclose(np.unique(np.transpose(ours), axis=0), np.unique(np.transpose([false, true]), axis=0))


def test_true_positives_at_a_rate_of_false_positives() -> None:
    negatives = np.arange(20.0)
    assert true_positives(np.array([17.5, 18.5, 19.5]), negatives) == pytest.approx(2 / 3)  # one of 20 is above 18
    assert true_positives(np.array([17.5, 18.5, 19.5]), negatives[:19]) == pytest.approx(2 / 3)  # none is above 18
    assert np.isnan(auc(np.array([]), negatives)) and np.isnan(true_positives(negatives, np.array([])))


def snapshot(root: Path, cells: dict[str, dict[str, Any]], detectors: list[dict[str, Any]]) -> Snapshot:
    """A folder of one victim, with some parameters for each cell."""
    victim = Victim(
        digest="v",
        name=None,
        arch="digits",
        defense="none",
        defense_parameters={},
        trained_on="d",
        accuracy=1.0,
        images=[0, 1, 2, 3],
        labels=[0] * 4,
        detectors=detectors,
    )
    cell = Cell(
        dataset="d",
        split="test",
        victim="v",
        targets="untargeted",
        attack="ead",
        parameters={},
        beta=0.1,
        kappa=0.0,
        decision_rule="en",
        precision="float32",
    )
    found = Snapshot(Results(root))
    found.__dict__["_dataset_and_victims"] = ("d", [victim])
    found.__dict__["cells"] = {name: replace(cell, parameters=parameters) for name, parameters in cells.items()}
    return found


def row(cell: str, image: int, detector: str, score: float | None, clean: float, **others: Any) -> dict[str, Any]:
    """A detection at a threshold of 1."""
    said = {"rejected": None if score is None else score > 1, "clean_rejected": clean > 1}
    names = {"cell": cell, "image": image, "target": None, "detector": detector, "success": score is not None}
    return names | {"score": score, "clean_score": clean} | said | others


def test_figures_of_a_cell_by_hand(tmp_path: Path) -> None:
    entry = {"name": "kernel_density"}
    digest = detector_digest(entry)
    adaptive = {"adaptive": entry}
    found = snapshot(tmp_path, {"plain": {}, "other": {"steps": 2}, "known": adaptive}, [entry])
    scores = [(2.0, 0.0), (0.5, 1.5), (None, 0.2), (3.0, 0.7)]
    rows = [row("plain", i, digest, score, clean) for i, (score, clean) in enumerate(scores)]
    rows += [row("plain", 0, digest, 2.0, 0), row("plain", 9, digest, 2.0, 0)]  # once more, and not drawn
    rows += [row("known", 0, digest, 0.9, 0), row("other", 0, digest, 0.9, 0)]
    write_detections(tmp_path / "detections" / f"shard-{digest}.parquet", rows)
    said = detections_of(found)
    assert said is not None
    assert said.lines["cell"].tolist() == ["plain", "known", "other"]
    assert said.lines["knows"].tolist() == ["", "this", ""]
    line = said.lines.iloc[0]
    assert (line["examples"], line["asr"], line["asr_with_detector"]) == (4, 75, 25)
    assert line["rejected"] == pytest.approx(200 / 3) and line["clean_rejected"] == 25 and line["clean_images"] == 4
    assert line["auc"] == pytest.approx((4 + 2 + 4) / 12) and line["true_positives"] == pytest.approx(200 / 3)
    assert (digest, "plain") in said.curves


def test_a_detector_of_sets_has_no_curve_and_counts_what_it_judged(tmp_path: Path) -> None:
    entry = {"name": "mmd"}
    digest = detector_digest(entry)
    unjudged = {"rejected": None, "clean_rejected": None, "clean_score": None, "success": True}
    rows = [row("plain", 0, digest, 2.0, 0), row("plain", 1, digest, None, 0, **unjudged)]
    rows += [row("small", 0, digest, None, 0, **unjudged)]
    found = snapshot(tmp_path, {"plain": {}, "small": {"steps": 2}}, [entry])
    write_detections(tmp_path / "detections" / f"shard-{digest}.parquet", rows)
    said = detections_of(found)
    assert said is not None and not said.curves
    first, second = said.lines.to_dict("records")
    assert (first["asr"], first["asr_with_detector"], first["rejected"], first["clean_images"]) == (100, 50, 100, 1)
    assert second["asr"] == 100 and np.isnan(second["asr_with_detector"]) and np.isnan(second["auc"])


def test_a_score_that_is_no_number_is_rejected_everywhere(tmp_path: Path) -> None:
    entry = {"name": "kernel_density"}
    digest = detector_digest(entry)
    scores = [(np.nan, 0.0), (np.nan, 0.5), (2.0, 0.2), (0.1, np.nan)]
    rows = [row("plain", i, digest, score, clean) for i, (score, clean) in enumerate(scores)]
    rows = [
        each | {"rejected": not each["score"] <= 1, "clean_rejected": not each["clean_score"] <= 1} for each in rows
    ]
    write_detections(tmp_path / "detections" / f"shard-{digest}.parquet", rows)
    said = detections_of(snapshot(tmp_path, {"plain": {}}, [entry]))
    assert said is not None
    line = said.lines.iloc[0]
    assert (line["asr_with_detector"], line["rejected"], line["clean_rejected"]) == (25, 75, 25)
    assert line["clean_images"] == 4 and line["auc"] == pytest.approx((3.5 + 3.5 + 3 + 1) / 16)


def test_none_without_detectors(tmp_path: Path) -> None:
    assert detections_of(snapshot(tmp_path, {"plain": {}}, [])) is None
