"""What is known of a training: how good its start was, and how many adversarial examples it learned from."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from eadbench import models
from eadbench.dashboards import page
from eadbench.harness import datasets, frames
from eadbench.harness.execution.training_facts import training_suspicions
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from tests.harness.execution.test_studies import STUDY, study
from tests.sweeps import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of a distilled and an adversarially trained network."""
    _, distilled, trained = yaml.safe_load(STUDY)["victims"]
    distilled["defense"]["distillation"]["temperature"] = [20]
    for victim in (distilled, trained):
        victim["training"] = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.5]}]
    folder = tmp_path_factory.mktemp("trainings") / "study"
    assert not run(study(victims=[distilled, trained], attacks=attacks), folder).failures
    return folder


def victim_of(folder: Path, defense: str) -> Victim:
    [victim] = [victim for victim in Results(folder).victims()[1] if victim.defense == defense]
    return victim


def test_adversarial_training_says_how_many_of_its_examples_there_were(finished: Path) -> None:
    """In the model's record, the victims' file, the report and, below 95 %, a warning."""
    victim = victim_of(finished, "adversarial_training")
    parts = [pd.read_parquet(path) for path in sorted((finished / "examples").glob("*.parquet"))]
    crafted = pd.concat(parts).query("split == 'train'")
    counts = [int(crafted["success"].sum()), len(crafted)]
    assert counts[1] == 10 * 9 * 2 and 0 < counts[0] < 0.95 * counts[1]
    _, _, facts = models.load(Results(finished).model(victim.digest))
    assert facts["examples"] == list(victim.examples) == counts
    summary = frames.Results(finished).summary
    text = report.text(summary, "markdown")
    assert f"trained on {counts[0]} of the {counts[1]} adversarial examples that it asked for." in text
    assert any(f"trained on {counts[0]} of the {counts[1]} adversarial examples" in line for line in victim.warnings)
    assert (
        f"{counts[0]} of {counts[1]} adversarial examples"
        in page.write(frames.Results(finished).snapshot, summary).read_text()
    )


def test_distillation_stores_the_accuracy_of_its_start(finished: Path) -> None:
    digits = datasets.load("digits").train
    [start] = [
        model
        for model, recipe, _ in (models.load(path.parent) for path in (finished / "models").glob("*/recipe.json"))
        if recipe.training is not None and recipe.training.epochs == 1
    ]
    right = (start(digits.images(range(1000))).argmax(1) == digits.labels[:1000]).double().mean()
    victim = victim_of(finished, "distillation")
    _, _, facts = models.load(Results(finished).model(victim.digest))
    network = {"shape": [1, 8, 8], "layout": "CHW", "range": [0, 1], "preprocessing": "subtracts 0.5 from every pixel"}
    assert facts == {"start_accuracy": pytest.approx(right.item()), "input": network}
    assert bool(victim.warnings) == (right < 0.2)  # twice chance


@pytest.mark.parametrize(
    ("facts", "warnings"),
    [
        ({}, []),
        ({"start_accuracy": 0.2, "examples": [95, 100]}, []),
        ({"start_accuracy": 0.126}, ["starts from a network that classifies 12.6 % of the training images"]),
        ({"examples": [92, 108]}, ["trained on 92 of the 108 adversarial examples that it asked for"]),
    ],
)
def test_what_is_suspicious(facts: dict[str, Any], warnings: list[str]) -> None:
    texts = list(training_suspicions(facts, classes=10))
    assert len(texts) == len(warnings)
    assert all(part in text for part, text in zip(warnings, texts, strict=True))
