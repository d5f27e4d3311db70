"""No defence: the architecture trained on the data set as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from eadbench.defenses.defense import Fit
from eadbench.models import Recipe, build, seeded, train

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
        fit: Fit = train,
    ) -> nn.Module:
        """The trained model; one with torchvision's published weights and no training has these weights.

        Raises
        ------
        ValueError
            A recipe whose weights are a file of the user's.
        """
        model = fresh(recipe)
        if recipe.training is not None:
            fit(model, data, recipe.training)
        return model.eval()


def fresh(recipe: Recipe) -> nn.Module:
    """The model of a recipe before it is trained; its weights follow from `recipe.training.seed`."""
    if recipe.weights is not None:
        raise ValueError(f"recipe {recipe.digest} has given weights: there is nothing to train")
    with seeded(0 if recipe.training is None else recipe.training.seed):
        return build(recipe.arch, num_classes=recipe.num_classes, **recipe.parameters)
