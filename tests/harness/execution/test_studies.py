"""Sweeps over defences, and transfers to other victims."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from rich.console import Console

from eadbench import models
from eadbench.attacks.criterion import margin
from eadbench.harness import datasets, spec
from eadbench.harness.errors import UserError
from eadbench.harness.execution import sweep
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.serial import SerialExecutor
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.parquet.adversarial import read_images
from eadbench.harness.plan.recipes import planned
from eadbench.harness.results.folder import Results
from eadbench.harness.results.lock import attested
from eadbench.harness.results.owner import Owner
from eadbench.harness.results.snapshot import Snapshot
from tests.sweeps import rows, run

STUDY = """
name: study
dataset: {name: digits}
images: {count: 3, correct_on: all}
victims:
  - {arch: digits, training: &brief {epochs: 2, batch_size: 32, learning_rate: 3e-3}, evaluated_on: [distilled]}
  - {name: distilled, arch: digits, training: *brief, defense: {distillation: {temperature: [1, 20]}}}
  - arch: digits
    training: *brief
    attacked: false
    defense:
      adversarial_training:
        images: 10
        attacks:
          - {name: ead, decision_rules: [l1], binary_search_steps: 2, max_iterations: 20, initial_const: 0.1}
          - {name: cw, binary_search_steps: 2, max_iterations: 20, initial_const: 0.1}
attacks:
  - {name: ead, kappa: [0, 5], binary_search_steps: 3, max_iterations: 20, initial_const: 0.1}
shard_size: 20
batch_size: 16
"""


def study(**changes: Any) -> spec.Spec:
    return spec.parse(yaml.safe_load(STUDY) | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "study"
    assert not run(study(), folder, models=folder.parent / "models").failures
    return folder


@pytest.fixture(scope="module")
def digits() -> datasets.DataSet:
    return datasets.load("digits")


def by_defense(folder: Path) -> dict[tuple[str, float | None], Any]:
    return {(victim.defense, victim.temperature): victim for victim in Results(folder).victims()[1]}


class TestVictims:
    def test_a_list_of_temperatures_makes_one_each(self, finished: Path) -> None:
        assert list(by_defense(finished)) == [
            ("none", None),
            ("distillation", 1.0),
            ("distillation", 20.0),
            ("adversarial_training", None),
        ]

    def test_what_they_need_is_stored_once(self, finished: Path) -> None:
        """The sweep and adversarial training share the undefended network; both students share their first epoch."""
        recipes = [models.load(path)[1] for path in (finished / "models").iterdir() if path.is_dir()]
        trained = sorted(
            (str(r.defense["name"]), r.defense.get("temperature"), r.training.epochs if r.training else 0)
            for r in recipes
        )
        assert trained == [
            ("adversarial_training", None, 2),
            ("distillation", 1.0, 2),
            ("distillation", 20.0, 2),
            ("distillation_teacher", 1.0, 2),
            ("distillation_teacher", 20.0, 2),
            ("none", None, 1),
            ("none", None, 2),
        ]

    def test_correct_on_all_draws_one_set(self, finished: Path, digits: datasets.DataSet) -> None:
        drawn = {tuple(victim.images) for victim in Results(finished).victims()[1] if victim.attacked}
        assert len(drawn) == 1
        images = list(drawn.pop())
        for victim in Results(finished).victims()[1]:
            model, _, _ = models.load(Results(finished).model(victim.digest))
            assert torch.equal(model(digits.test.images(images)).argmax(1), digits.test.labels[images])

    def test_correct_on_each_draws_for_each(self, tmp_path: Path, finished: Path, digits: datasets.DataSet) -> None:
        each = study(images={"count": 390, "correct_on": "each"})
        victims = VictimPlanner(each, digits, Results(finished)).victims()[:3]
        for victim in victims:
            evaluation = Results(finished).evaluation(victim.digest, "digits", "test")
            assert evaluation is not None and not set(victim.images) & set(evaluation.wrong)
        assert len({tuple(victim.images) for victim in victims}) == 3

    def test_two_alike_are_refused(self, digits: datasets.DataSet) -> None:
        one = {"arch": "digits", "training": {"epochs": 1}}
        with pytest.raises(UserError, match=r"victims\[1\]: is the same as another victim"):
            planned(study(victims=[one, one]), digits)


class TestAdversarialExamples:
    def test_are_of_training_images_towards_every_class(self, finished: Path, digits: datasets.DataSet) -> None:
        records = [json.loads(path.read_text()) for path in (finished / "shards").glob("*.json")]
        shards = [record["shard"] for record in records if record["split"] == "train"]
        assert {record["attack"] for record in records if record["split"] == "train"} == {"ead", "cw"}
        assert sum(record["examples"] for record in records if record["split"] == "train") == 2 * 10 * 9
        undefended, _, _ = models.load(Results(finished).model(by_defense(finished)["none", None].digest))
        keys, images = read_images([Results(finished).image_part(shard) for shard in shards])
        given = undefended(torch.from_numpy(images)).argmax(1)
        assert torch.equal(given, torch.tensor(keys["target"].astype(int).tolist()))
        labels = digits.train.labels[keys["image"].tolist()]
        assert not (given == labels).any() and 5 < len(set(keys["image"])) <= 10

    def test_more_images_train_another_network(self, finished: Path, tmp_path: Path) -> None:
        """Its shards are not those of fewer images, although they share examples."""
        entries = yaml.safe_load(STUDY)["victims"][::2]
        entries[0]["evaluated_on"] = []
        shutil.copytree(finished, tmp_path / "more")
        entries[1]["defense"]["adversarial_training"]["images"] = 12
        assert run(study(victims=entries), tmp_path / "more").victims == 1

    def test_are_no_rows_of_the_sweep(self, finished: Path) -> None:
        assert set(rows(finished)["split"]) == {"test"}


class TestTransfer:
    def test_a_row_for_each_victim_tested_on(self, finished: Path) -> None:
        frame, victims = rows(finished), by_defense(finished)
        source = victims["none", None].digest
        distilled = [victims["distillation", t].digest for t in (1.0, 20.0)]
        counts = frame.groupby(["model", "evaluated_on"]).size().to_dict()
        examples = 3 * 9 * 2 * 2
        assert counts == {(source, to): examples for to in (source, *distilled)} | {(d, d): examples for d in distilled}

    def test_rows_are_the_other_victims_predictions_of_stored_images(self, finished: Path) -> None:
        victims, frame = by_defense(finished), rows(finished)
        own = frame[frame["model"] == frame["evaluated_on"]]
        keys, images = read_images([finished / "images" / f"{shard}.parquet" for shard in own["shard"].unique()])
        stored = {tuple(key): image for key, image in zip(keys.to_numpy().tolist(), images, strict=True)}
        other, _, _ = models.load(Results(finished).model(victims["distillation", 20.0].digest))
        tested = frame[frame["evaluated_on"] == victims["distillation", 20.0].digest]
        tested = tested[tested["model"] == victims["none", None].digest]
        crafted = own.set_index(["cell", "image", "target"])
        assert 0 < tested["success"].sum() < len(tested)
        for row in tested.to_dict("records"):
            key = (row["cell"], row["image"], row["target"])
            image = stored.get(key)
            assert (image is not None) == bool(crafted.loc[key, "success"])
            if image is None:
                assert not row["success"] and pd.isna(row["l1"])
                continue
            lead = margin(other(torch.from_numpy(image)[None]), torch.tensor([row["target"]]), targeted=True).item()
            assert row["success"] == (lead > 0)
            if row["success"]:
                np.testing.assert_allclose(row["margin"], lead, rtol=1e-3, atol=1e-4)
                assert row["l1"] == crafted.loc[key, "l1"]

    def test_nothing_runs_twice_and_images_may_come_later(self, finished: Path, tmp_path: Path) -> None:
        """A sweep that did not store images runs its shards again when a transfer needs them, to the same rows."""
        folder, plain = tmp_path / "later", study()
        shutil.copytree(finished / "models", folder / "models")
        alone = [replace(victim, evaluated_on=[]) for victim in plain.victims]
        run(replace(plain, victims=alone, save_images="none"), folder)
        done = run(plain, folder)
        assert done.shards and done.transfers and not done.victims
        pd.testing.assert_frame_equal(
            rows(folder).sort_values(["evaluated_on", "cell", "image", "target"], ignore_index=True),
            rows(finished).sort_values(["evaluated_on", "cell", "image", "target"], ignore_index=True),
            check_exact=True,
        )
        assert run(plain, folder).nothing
        (folder / "images" / "cut_off_before_its_rows.parquet").touch()
        assert run(plain, folder).nothing

    def test_a_changed_spec_shows_its_own_transfers(self, finished: Path, tmp_path: Path) -> None:
        folder, plain = tmp_path / "changed", study(images={"count": 3})
        shutil.copytree(finished / "models", folder / "models")
        run(plain, folder)
        alone = [replace(victim, evaluated_on=[]) for victim in plain.victims[:1]]
        for what, transferred in ((replace(plain, victims=alone), False), (plain, True)):
            assert run(what, folder).nothing
            frame = rows(folder)
            assert (frame["model"] != frame["evaluated_on"]).any() == transferred

    def test_by_ray_to_the_bit(self, finished: Path, tmp_path: Path) -> None:
        run(study(), tmp_path / "ray", ray_workers=2, models=tmp_path / "models")
        parts = [
            {path.name: path.read_bytes() for path in (folder / "examples").iterdir()}
            for folder in (finished, tmp_path / "ray")
        ]
        assert parts[0] == parts[1] and parts[0]
        locks = [attested(Snapshot(Results(folder))).lock for folder in (finished, tmp_path / "ray")]
        assert locks[0] == locks[1] and locks[0].rows

    def test_later_to_the_victims_of_another_spec(self, finished: Path, tmp_path: Path) -> None:
        def transfer(what: spec.Spec, folder: Path) -> sweep.Done:
            with Progress(Console(quiet=True)) as progress, Owner(folder, progress.warn) as owner:
                return sweep.transfer(what, Results(folder), SerialExecutor, progress, owner=owner)

        folder = tmp_path / "later"
        shutil.copytree(finished, folder)
        before = rows(folder)
        one = [{"arch": "digits", "training": {"epochs": 3, "batch_size": 32, "seed": 5}}]
        done = transfer(study(victims=one), folder)
        assert done.victims == 1 and done.transfers > 0
        after = rows(folder)
        new = after[~after["evaluated_on"].isin(before["evaluated_on"])]
        assert len(after) == len(before) + len(new) and new["evaluated_on"].nunique() == 1
        assert len(new) == (before["model"] == before["evaluated_on"]).sum()
        assert transfer(study(victims=one), folder).nothing
        assert run(study(), folder).nothing
        assert {victim.digest for victim in Results(folder).victims()[1]} >= set(new["evaluated_on"])

        without = tmp_path / "without"
        Results(without).begin(study(victims=one))
        with pytest.raises(UserError, match="no images are stored there"):
            transfer(study(victims=one), without)
        for change, message in (
            ({"name": "tests.harness.execution.test_studies:four"}, "its classes, 4, must be that of"),
            ({"name": "tests.harness.execution.test_studies:wide"}, r"its image shape, \(1, 8, 9\), must be that of"),
        ):
            with pytest.raises(UserError, match=message):
                transfer(study(victims=one, dataset=change), folder)


def _blank(classes: int, width: int) -> datasets.DataSet:
    split = datasets.Split([0, classes - 1], lambda of: torch.zeros(len(of), 1, 8, width))
    names = tuple(str(label) for label in range(classes))
    return datasets.DataSet(
        name="blank", identity="blank", classes=classes, class_names=names, shape=(1, 8, width), train=split, test=split
    )


def four() -> datasets.DataSet:
    return _blank(4, 8)


def wide() -> datasets.DataSet:
    return _blank(10, 9)
