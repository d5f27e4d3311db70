"""Detectors in a sweep: rows do not change, detections have the same bits again, and verdicts are those of scores."""

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from eadbench.attacks import Adversarial
from eadbench.dashboards.page.report import page
from eadbench.defenses.detectors import Detector, Fitted, scores_of
from eadbench.harness.analysis.summary import read
from eadbench.harness.datasets import load
from eadbench.harness.errors import UserError
from eadbench.harness.execution.detecting import detections, fit
from eadbench.harness.execution.recomputing import recompute
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.plan import grid
from eadbench.harness.plan.cells import detector_digest
from eadbench.harness.plan.grid import Shard
from eadbench.harness.reporting.figures import draw_roc
from eadbench.harness.reporting.report import text
from eadbench.harness.reporting.tables.detections import detections_csv, detections_texts
from eadbench.harness.results.cleaning import unneeded
from eadbench.harness.results.folder import Results
from eadbench.harness.results.merging import merged
from eadbench.harness.results.model_files import load_victim, read_model
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.results.verify import damages
from eadbench.harness.spec import Spec
from eadbench.harness.tracking.detection import detection_metrics
from tests.sweeps import rows, run, small

EAD = {"name": "ead", "beta": 1e-2, "binary_search_steps": 4, "max_iterations": 30, "initial_const": 1}
SQUEEZING = {"name": "feature_squeezing", "images": 400}
DENSITY = {"name": "kernel_density", "images": 400}
NAMES = ("l0", "l1", "l2", "linf", "margin", "const", "epsilon")


def spec(detectors: list[Any], **changes: Any) -> Spec:
    victim = {"arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}}
    victims = [victim | ({"detectors": detectors} if detectors else {})]
    small_sweep = {"targets": {"random": 1}, "images": {"count": 12}, "attacks": [EAD], "shard_size": 8}
    return small(**small_sweep | {"victims": victims} | changes)


def detected(folder: Path) -> pd.DataFrame:
    return pd.concat([pq.read_table(part).to_pandas() for part in sorted((folder / "detections").glob("*.parquet"))])


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run a sweep with detectors, oblivious and adaptive attacks, and stored images."""
    folder = tmp_path_factory.mktemp("judged") / "small"
    attacks = [EAD, EAD | {"adaptive": "feature_squeezing"}, EAD | {"adaptive": "kernel_density"}]
    run(spec([SQUEEZING, DENSITY, "mmd"], attacks=attacks, save_images="successes"), folder)
    return folder


def test_rows_and_their_files_are_those_without_detectors(judged: Path, tmp_path: Path) -> None:
    run(spec([]), tmp_path / "plain")
    parts = sorted((tmp_path / "plain" / "examples").iterdir())
    assert parts and not (tmp_path / "plain" / "detections").exists()
    for part in parts:
        assert part.read_bytes() == (judged / "examples" / part.name).read_bytes()


def test_a_detection_for_every_row_and_detector(judged: Path) -> None:
    frame, own = detected(judged), rows(judged)
    key = ["cell", "image", "target"]
    for _, part in frame.groupby("detector"):
        pairs = part.merge(own, on=key, suffixes=("", "_row"), validate="one_to_one")
        assert len(pairs) == len(own) and (pairs["success"] == pairs["success_row"]).all()
    assert not unneeded(Results(judged))
    parts = {path.name for path in (judged / "detections").glob("*.parquet")}
    assert parts == {path.name for path in merged([Results(judged)] * 2).files if path.parts[0] == "detections"}


def test_scores_are_those_of_the_stored_images(judged: Path) -> None:
    results, data = Results(judged), load("digits")
    _, [victim] = results.victims()
    model, _, _ = load_victim(read_model(results.model(victim.digest)), "cpu")
    entry = victim.detectors[0]
    fitted = fit(entry, victim.digest, model, data, results, lambda _: None)
    keys, images = read_images(sorted((judged / "images").glob("*.parquet")))
    scores = scores_of(fitted.detector, model, torch.from_numpy(images), fitted.learnt)
    said = detected(judged).query("detector == @fitted.digest").set_index(["cell", "image"])
    assert len(keys) > 20
    for cell, image, score in zip(keys["cell"], keys["image"], scores.tolist(), strict=True):
        line = said.loc[(cell, image)]
        assert line["score"] == pytest.approx(score, abs=1e-5)
        assert line["rejected"] == (line["score"] > fitted.threshold)
        clean = scores_of(fitted.detector, model, data.test.images([image]), fitted.learnt).item()
        assert line["clean_score"] == pytest.approx(clean, abs=1e-5)
        assert line["clean_rejected"] == (line["clean_score"] > fitted.threshold)


def test_an_adaptive_attack_is_not_rejected_by_its_detector(judged: Path) -> None:
    frame, own = detected(judged), rows(judged)
    _, [victim] = Results(judged).victims()
    for entry in victim.detectors[:2]:
        name = entry["name"]
        cells = own.loc[own["parameters"].str.contains(f'"name":"{name}"'), "cell"].unique()
        said = frame[frame["cell"].isin(cells) & (frame["detector"] == detector_digest(entry)) & frame["success"]]
        assert len(cells) == 2 and len(said) > 5 and not said["rejected"].any()


def test_a_resumed_sweep_has_the_same_bits(judged: Path, tmp_path: Path) -> None:
    folder, what = tmp_path / "cut", spec([SQUEEZING, DENSITY])
    run(what, folder)
    before = {path: path.read_bytes() for path in (*folder.glob("detections/*"), *folder.glob("examples/*"))}
    assert run(what, folder).nothing
    shared = [path for path in before if path.parent.name == "detections"]
    assert all(path.read_bytes() == (judged / "detections" / path.name).read_bytes() for path in shared)
    shared[0].unlink()
    next(folder.glob("learnt/*.safetensors")).unlink()
    assert run(what, folder).shards == 1
    assert before == {path: path.read_bytes() for path in before}
    assert not [*damages(Results(folder))]


def test_detectors_that_come_later_judge_what_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    run(spec([]), folder)
    before = {path: path.read_bytes() for path in folder.glob("examples/*")}
    assert run(spec([SQUEEZING]), folder).shards == len(before) == len([*folder.glob("detections/*")])
    assert before == {path: path.read_bytes() for path in before}
    run(spec([SQUEEZING], images={"count": 14}), folder)
    assert len(detected(folder)) == len(rows(folder)) == 14 * 2


def test_sets_are_of_one_cell_and_of_different_images(judged: Path) -> None:
    results = Results(judged)
    _, [victim] = results.victims()
    entry = victim.detectors[2]
    data = load("digits")
    model, _, _ = load_victim(read_model(results.model(victim.digest)), "cpu")
    fitted = fit(entry, victim.digest, model, data, results, lambda _: None)
    what = spec(["mmd"], targets={"random": 2}, images={"count": 120}, shard_size=240)
    others = replace(victim, images=[*range(120)], labels=[0] * 120)
    [shard] = grid.shards(what, data.identity, data.target_classes, [others])
    success = torch.arange(240) >= 5
    images = data.test.images([example.image for example in shard.examples])
    kept = Adversarial(
        images=images, success=success, **{name: success.float() for name in NAMES}, unconfirmed=~success
    )
    said = pd.DataFrame(detections(shard, {"en": kept}, images, fitted, model))
    assert said["score"].isna().tolist() == (~success).tolist()
    sizes = said.dropna().groupby("score").size()
    assert sizes.between(10, 100).all() and len(sizes) <= 4
    few = Shard(**{**vars(shard), "examples": shard.examples[:16]})
    few_kept = Adversarial(**{name: value[:16] for name, value in vars(kept).items() if value is not None})
    said = pd.DataFrame(detections(few, {"en": few_kept}, images[:16], fitted, model))
    assert said["score"].isna().all() and said["rejected"].isna().all()


def test_the_report_shows_what_each_detector_rejects(judged: Path) -> None:
    snapshot = Snapshot(Results(judged))
    summary = read(snapshot)
    heads, texts = detections_texts(summary)
    assert len(texts) == 3 * 3 * 2 and all(len(line) == len(heads) for line in texts)
    knows = [line[heads.index("knows it")] for line in texts]
    assert knows[:3] == ["no", "yes", "another"] and knows[6:9] == ["no", "another", "yes"]
    frame = detected(judged)
    said = pd.read_csv(io.StringIO(detections_csv(summary)))
    for line in said.to_dict("records"):
        part = frame[(frame["cell"] == line["cell"]) & (frame["detector"] == line["detector_digest"])]
        judgements = part.loc[part["success"], "rejected"]
        if not judgements.isna().all():
            passed = (part["success"] & ~part["rejected"].eq(True)).mean()
            assert line["asr_with_detector"] == pytest.approx(100 * passed)
    assert "| feature squeezing | EAD" in text(summary, "markdown")
    assert "feature squeezing & EAD" in text(summary, "latex")
    html = page(snapshot, summary)
    assert "feature squeezing on digits" in html and 'id="detectors"' in html
    assert len(draw_roc(summary)) == 2
    metrics = detection_metrics(summary)
    for line in said.dropna(subset=["auc"]).to_dict("records"):
        assert metrics[line["cell"]][f"{line['detector']}/auc"] == pytest.approx(line["auc"])


@dataclass(frozen=True, kw_only=True)
class Mean(Detector):
    """A detector of one's own."""

    LABEL = "mean"
    LEARNS = False
    differentiable = True

    def score(self, model: nn.Module, images: torch.Tensor, learnt: Fitted) -> torch.Tensor:
        return images.flatten(1).mean(1)


def test_ones_own_detector_is_attacked_and_is_code(tmp_path: Path) -> None:
    own = "tests.harness.execution.test_detecting:Mean"
    what = spec([own], attacks=[EAD | {"adaptive": own}], images={"count": 4})
    run(what, tmp_path)
    said = detected(tmp_path)
    assert said["success"].any() and not said["rejected"].eq(True).any()
    [victim] = Results(tmp_path).victims()[1]
    assert detections_texts(read(Snapshot(Results(tmp_path))))[1][0][0] == "mean" and victim.detectors
    with pytest.raises(UserError, match="is code"):
        recompute(Snapshot(Results(tmp_path)), 3)
    assert recompute(Snapshot(Results(tmp_path), allow_code=True), 3, allow_code=True).others == []
