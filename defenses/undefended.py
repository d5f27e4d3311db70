"""No defence: the architecture trained on the data set without changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from torch.utils.data import Dataset

from eadbench.defenses.defense import Defense, Fit
from eadbench.models import Recipe, build_network, initialise, seeded, train

__all__ = ["Undefended", "initial_model"]


@dataclass(frozen=True, kw_only=True)
class Undefended(Defense):
    """No defence."""

    LABEL: ClassVar[str] = "no defence"

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
        """The trained model. Without training in the recipe, it keeps torchvision's published weights.

        Raises
        ------
        ValueError
            The recipe's weights are a file of the user's.
        """
        model = initial_model(recipe)
        if recipe.training is not None:
            fit(model, data, recipe.training)
        return model.eval()


def initial_model(recipe: Recipe) -> nn.Module:
    """The model of a recipe before training; its weights follow from `recipe.training.seed`.

    Raises
    ------
    ValueError
        The recipe's weights are a file of the user's.
    """
    if recipe.weights is not None:
        raise ValueError(f"recipe {recipe.digest} has given weights: there is nothing to train")
    if recipe.training is None:
        with seeded(0):
            return build_network(recipe)
    with seeded(recipe.training.seed):
        model = build_network(recipe)
        initialise(model, recipe.training.init or "torch")
    return model
