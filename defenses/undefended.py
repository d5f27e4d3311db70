"""No defence: the architecture trained on the data set as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from models import Recipe, build, seeded, train

__all__ = ["Undefended", "fresh"]


@dataclass(frozen=True, kw_only=True)
class Undefended:
    """No defence."""

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """Nothing."""
        return {}

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module] | None = None,
        examples: Dataset[Any] | None = None,
        device: str | torch.device = "cpu",
        on_batch: Callable[[int, int, float], None] | None = None,
        checkpoint: Path | None = None,
    ) -> nn.Module:
        """The trained model; one with torchvision's published weights and no training has these weights.

        Raises
        ------
        ValueError
            A recipe whose weights are a file of the user's.
        """
        model = fresh(recipe)
        if recipe.training is not None:
            train(model, data, recipe.training, device=device, on_batch=on_batch, checkpoint=checkpoint)
        return model.to(device).eval()


def fresh(recipe: Recipe) -> nn.Module:
    """The model of a recipe before it is trained; its weights follow from `recipe.training.seed`."""
    if recipe.weights is not None:
        raise ValueError(f"recipe {recipe.digest} has given weights: there is nothing to train")
    with seeded(0 if recipe.training is None else recipe.training.seed):
        return build(recipe.arch, num_classes=recipe.num_classes, **recipe.parameters)
