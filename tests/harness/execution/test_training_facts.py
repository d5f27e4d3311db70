"""What is known of a training: how good its start was, and how many adversarial examples it learned from."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from torch.utils.data import DataLoader

from eadbench import models
from eadbench.dashboards import page
from eadbench.defenses.pgd_training import PGDTraining
from eadbench.harness import datasets, frames
from eadbench.harness.execution.training_facts import training_suspicions
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.models.training_data import split
from tests.harness.execution.test_studies import STUDY, study
from tests.sweeps import run

PGD = {"epsilon": 0.1, "steps": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of a distilled and an adversarially trained network, and of one of PGD training with held-out images."""
    _, distilled, trained = yaml.safe_load(STUDY)["victims"]
    distilled["defense"]["distillation"]["temperature"] = [20]
    for victim in (distilled, trained):
        victim["training"] = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
    pgd = {"training": {**trained["training"], "held_out": 0.1}, "defense": {"pgd_training": {**PGD}}}
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.5]}]
    folder = tmp_path_factory.mktemp("trainings") / "study"
    assert not run(study(victims=[distilled, trained, {"arch": "digits", **pgd}], attacks=attacks), folder).failures
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


def test_pgd_training_reports_the_robust_accuracy_of_its_best_and_its_last_epoch(finished: Path) -> None:
    """On the held-out images; the best is that of the weights that are kept, attacked from the same starts."""
    victim = victim_of(finished, "pgd_training")
    model, recipe, facts = models.load(Results(finished).model(victim.digest))
    [(measured, shares)] = victim.held_out.items()
    assert measured == "robust accuracy" and len(shares) == 2 and facts["held_out"] == {measured: shares}
    assert recipe.training is not None
    _, held_out = split(datasets.load("digits").train, recipe.training)
    assert held_out is not None
    images, labels = next(iter(DataLoader(held_out, batch_size=len(held_out))))  # type: ignore[arg-type]
    with models.seeded(recipe.training.seed):
        attacked = PGDTraining(**PGD).attack(model, images, labels)  # type: ignore[arg-type]
    right = [model(x).argmax(1) == labels for x in (images, attacked)]
    assert max(shares) == (right[0] & right[1]).double().mean() < right[0].double().mean()
    best = f"robust accuracy on held-out images {100 * max(shares):.1f} % after epoch {1 + shares.index(max(shares))}"
    last = f"{100 * shares[-1]:.1f} % after epoch 2, the last"
    summary = frames.Results(finished).summary
    for text in (report.text(summary, "markdown"), page.write(frames.Results(finished).snapshot, summary).read_text()):
        assert f"{best}, which is kept, and {last}" in text


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
