"""Stability training: Improving the Robustness of Deep Neural Networks via Stability Training (Zheng, Song, Leung,
Goodfellow; CVPR 2016; arXiv 1604.04326)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from eadbench.defenses.defense import Defense, Fit, Loss
from eadbench.defenses.trades import divergence
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, train

__all__ = ["StabilityTraining"]


@dataclass(frozen=True, kw_only=True)
class StabilityTraining(Defense):
    """Training on the cross-entropy of images and, α times, the divergence of the outputs of noisy copies of them.

    The noise is never in the cross-entropy, or it would be an augmentation.

    Parameters
    ----------
    alpha
        α, the weight of the divergence.
    sigma
        σ, the standard deviation of the noise.
    """

    LABEL: ClassVar[str] = "stability training"
    AXES: ClassVar[tuple[str, ...]] = ("alpha", "sigma")

    alpha: float = 0.01
    sigma: float = 0.04

    def __post_init__(self) -> None:
        for name in ("alpha", "sigma"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)!r}")

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """Nothing."""
        if recipe.training is None:
            raise ValueError("training is missing: stability training trains the network anew")
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
        fit(model, data, recipe.training, objective=self.objective)
        return model

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """CE(f(x), y) + α·KL(f(x) ‖ f(x + noise)) (equations 1 and 6)."""
        logits = model(images)
        noisy = images + self.sigma * torch.randn_like(images)
        return loss(logits, labels) + self.alpha * divergence(logits, model(noisy))
