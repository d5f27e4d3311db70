"""The victims: how each was made, and how good it is."""

from eadbench.dashboards.page.evidence import Evidence
from eadbench.dashboards.page.markup import Section, paragraph, table
from eadbench.harness.labels import NO_VALUE, victim_names
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting.report import Found
from eadbench.models import Recipe

__all__ = ["section"]

_NUMBERS = ("T", "accuracy, %", "images attacked")
_HEADS = ("victim", "recipe", *_NUMBERS, "trained on", "training")


def section(found: Found, evidence: Evidence) -> Section:
    """A line for each victim, attacked or tested on."""
    names = victim_names(found.victims)
    rows = [_row(victim, names[victim.digest], evidence.recipes.get(victim.digest)) for victim in found.victims]
    body = table(_HEADS, rows, "Victims", numbers=_NUMBERS)
    note = (
        f"Accuracy is that on the {found.spec.images.split} split. A recipe's digest names a trained model: of its "
        "architecture, defence, data and training."
    )
    return Section(anchor="victims", title="Victims", body=body + paragraph(note, "note"))


def _row(victim: Victim, name: str, recipe: Recipe | None) -> list[str]:
    return [
        name,
        victim.digest,
        NO_VALUE if victim.temperature is None else f"{victim.temperature:g}",
        NO_VALUE if victim.accuracy is None else f"{100 * victim.accuracy:.2f}",
        f"{len(victim.images):,}" if victim.attacked else NO_VALUE,
        victim.trained_on,
        NO_VALUE if recipe is None else _training_text(recipe),
    ]


def _training_text(recipe: Recipe) -> str:
    """``30 epochs, batches of 32, adam at 0.003, seed 0``."""
    if recipe.training is None:
        return f"weights of SHA-256 {recipe.weights}" if recipe.weights else f"weights {recipe.parameters['weights']}"
    how = recipe.training
    steps = f"{how.optimizer} at {how.learning_rate:g}"
    return f"{how.epochs} epochs, batches of {how.batch_size}, {steps}, seed {how.seed}"
