"""What defences share that train a network anew, with another loss or on other images than an undefended one."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from eadbench.defenses.defense import Defense, Fit
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, train

__all__ = ["TrainedAnew"]


class TrainedAnew(Defense):
    """A defence that needs no other model.

    Its `objective`, or else `perturb`, and its `attack`, if it has one, are arguments of `models.train`.
    """

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """Nothing."""
        if recipe.training is None:
            raise ValueError(f"training is missing: {self.LABEL} trains the network anew")
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
        """The trained network."""
        model = initial_model(recipe)
        hook = "objective" if hasattr(self, "objective") else "perturb"
        fit(model, data, recipe.training, attack=getattr(self, "attack", None), **{hook: getattr(self, hook)})
        return model
