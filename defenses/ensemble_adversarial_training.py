"""Ensemble Adversarial Training: Attacks and Defenses (Tramèr, Kurakin, Papernot, Goodfellow, Boneh, McDaniel;
ICLR 2018; arXiv 1705.07204)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.fgm import downhill
from eadbench.defenses.defense import Defense, Fit, Loss
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, train

__all__ = ["EnsembleAdversarialTraining"]


@dataclass(frozen=True, kw_only=True)
class EnsembleAdversarialTraining(Defense):
    """Training on images and one-step examples, crafted on static networks or on the network itself.

    For each batch, one of them is drawn. Each has half of the loss. The examples move away from the class that their
    source predicts: with true labels, the network could read these from the perturbation.

    Parameters
    ----------
    epsilon
        ε of the step in L∞, for images in [0, 1]: 0.3 on MNIST, 16/255 on ImageNet.
    sources
        Static networks of the same architecture, undefended, with the next seeds.
    architectures
        In their place, static networks of these architectures, with their default parameters.
    """

    LABEL: ClassVar[str] = "ensemble adversarial training"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon",)

    epsilon: float
    sources: int = 3
    architectures: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0 and finite, got {self.epsilon!r}")
        if self.sources < 1:
            raise ValueError(f"sources must be at least 1, got {self.sources!r}")

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """The static networks."""
        if recipe.training is None:
            raise ValueError("training is missing: ensemble adversarial training trains the network anew")
        plain = replace(recipe, defense={"name": "none"})
        if self.architectures:
            names = enumerate(self.architectures)
            return {f"source {i}": replace(plain, arch=arch, parameters={}) for i, arch in names}
        trainings = [replace(recipe.training, seed=recipe.training.seed + i + 1) for i in range(self.sources)]
        return {f"source {i}": replace(plain, training=training) for i, training in enumerate(trainings)}

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module],
        examples: Dataset[Any] | None = None,
        fit: Fit = train,
    ) -> nn.Module:
        """The trained network."""
        model = initial_model(recipe)
        fit(model, data, recipe.training, objective=partial(self.objective, list(needed.values())))
        return model

    def objective(
        self, sources: Sequence[nn.Module], model: nn.Module, images: Tensor, labels: Tensor, loss: Loss
    ) -> Tensor:
        """½ CE(f(x), y) + ½ CE(f(x'), y), x' crafted on one of the `sources` or the model, drawn from torch's state."""
        drawn = int(torch.randint(len(sources) + 1, ()))
        crafted = self.craft(model if drawn == len(sources) else sources[drawn], images)
        return (loss(model(images), labels) + loss(model(crafted), labels)) / 2

    def craft(self, source: nn.Module, images: Tensor) -> Tensor:
        """Take one step of ε in L∞ away from the class that the source predicts."""
        with frozen(source):
            with torch.no_grad():
                predicted = source(images).argmax(1)
            away, _ = downhill(source, images, predicted)
        return (images - self.epsilon * away.sign()).clamp(0, 1)
