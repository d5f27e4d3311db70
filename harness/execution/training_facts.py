"""What is known of a training after it, stored with the model: how good its start was, and its adversarial examples."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.data import Subset

from eadbench import models
from eadbench.defenses import Defense
from eadbench.harness.datasets import Split
from eadbench.harness.results.records import ShardRecord

__all__ = ["held_out_facts", "training_facts", "training_suspicions"]

START = "initial"
"""The part of :meth:`Defense.needs` whose weights a training starts from."""
START_IMAGES = 1000
"""Training images on which a start is tested."""
FEW_EXAMPLES = 0.95
"""A training that gets a smaller share of the examples that it asked for is suspicious."""


def training_facts(
    needed: Mapping[str, nn.Module], crafted: Sequence[ShardRecord], data: Split, device: torch.device | str
) -> dict[str, Any]:
    """Return the facts about a training.

    Parameters
    ----------
    needed
        The models that the training needs, by their parts.
    crafted
        The records of the shards that crafted its adversarial examples.
    data
        The training split.

    Returns
    -------
    dict
        `start_accuracy`: the share of the first training images that the start classifies correctly; `examples`: the
        adversarial examples that there are, and that were asked for. Each only if the training has it.
    """
    facts: dict[str, Any] = {}
    if START in needed:
        start_images: Subset[Any] = Subset(data, range(min(START_IMAGES, len(data))))
        facts["start_accuracy"] = models.accuracy(needed[START], start_images, device=device)
    if crafted:
        asked = sum(record.examples * len(record.successes) for record in crafted)
        facts["examples"] = [sum(sum(record.successes.values()) for record in crafted), asked]
    return facts


def held_out_facts(defense: Defense, shares: Sequence[float]) -> dict[str, Any]:
    """Return how held-out images did after each epoch, by what was measured; nothing if none were held out."""
    measured = "accuracy" if getattr(defense, "attack", None) is None else "robust accuracy"
    return {"held_out": {measured: [*shares]}} if shares else {}


def training_suspicions(facts: Mapping[str, Any], classes: int) -> Iterator[str]:
    """Yield what is suspicious about a training, from the facts that are stored with its model."""
    start: float = facts.get("start_accuracy", 1.0)
    if start < 2 / classes:
        yield (
            f"its training starts from a network that classifies {100 * start:.1f} % of the training images correctly, "
            f"less than twice chance; give training another learning_rate or batch_size, or init: glorot"
        )
    got, asked = facts.get("examples", (0, 0))
    if got < FEW_EXAMPLES * asked:
        yield (
            f"it was trained on {got:,} of the {asked:,} adversarial examples that it asked for, because the others "
            "failed; give its attacks more steps or iterations"
        )
