"""The victims: how each was made, and its accuracy."""

from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.numbers import NO_VALUE, counted
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import report
from eadbench.harness.results.snapshot import Snapshot
from eadbench.models import Recipe

__all__ = ["section"]

_NUMBERS = ("T", "accuracy, %", "images attacked")
_HEADS = ("victim", "recipe", *_NUMBERS, "trained on", "training")


def section(snapshot: Snapshot, summary: Summary) -> Section:
    """Return a line for each victim, attacked or tested on."""
    labels = summary.labels.victim
    rows = [_row(victim, labels[victim.digest], snapshot.recipes.get(victim.digest)) for victim in summary.victims]
    split = summary.spec.images.split
    warnings = report.warnings(summary)
    body = render("victims.html.j2", heads=_HEADS, numbers=_NUMBERS, rows=rows, split=split, warnings=warnings)
    return Section(anchor="victims", title="Victims", body=body)


def _row(victim: Victim, label: str, recipe: Recipe | None) -> list[str]:
    return [
        label,
        victim.digest,
        NO_VALUE if victim.temperature is None else f"{victim.temperature:g}",
        NO_VALUE if victim.accuracy is None else f"{100 * victim.accuracy:.2f}",
        f"{len(victim.images):,}" if victim.attacked else NO_VALUE,
        victim.trained_on,
        NO_VALUE
        if recipe is None
        else ", ".join([training_text(recipe) + _examples_text(victim), *report.held_out_texts(victim)]),
    ]


def _examples_text(victim: Victim) -> str:
    """Return how many adversarial examples a victim learned from: ``, 92 of 108 adversarial examples``."""
    return f", {victim.examples[0]:,} of {victim.examples[1]:,} adversarial examples" if victim.examples else ""


def training_text(recipe: Recipe) -> str:
    """Return how a victim was trained: ``30 epochs, batches of 32, adam at 0.003, seed 0, crop 2``."""
    training = recipe.training
    if training is None:
        if "weights" in recipe.parameters:
            return f"weights {recipe.parameters['weights']}"
        if recipe.members is not None:
            return f"the ensemble of {', '.join(member.digest for member in recipe.member_recipes())}"
        return f"weights of SHA-256 {recipe.weights or (recipe.hub or {}).get('weights')}"
    optimizer = f"{training.optimizer} at {training.learning_rate:g}"
    text = f"{counted(training.epochs, 'epoch')}, batches of {training.batch_size}, {optimizer}, seed {training.seed}"
    return ", ".join([text, *(f"{name} {value}" for name, value in training.options().items())])
