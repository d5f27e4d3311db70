"""Bounded ReLUs and Gaussian data augmentation: Efficient Defenses Against Adversarial Attacks (Zantedeschi, Nicolae,
Rawat; AISec 2017; arXiv 1707.06728)."""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from eadbench.defenses.defense import Fit, Loss
from eadbench.defenses.trained_anew import TrainedAnew
from eadbench.defenses.undefended import initial_model
from eadbench.models import Recipe, train

__all__ = ["BReLUAugmentation"]


@dataclass(frozen=True, kw_only=True)
class BReLUAugmentation(TrainedAnew):
    """A network whose ReLUs are clipped to [0, t], trained on images and noisy copies of them.

    The architecture must have its ReLUs as modules. Each batch has one noisy copy of each image, clipped to [0, 1].

    Parameters
    ----------
    sigma
        σ, the standard deviation of the noise: 0.3 on MNIST, 0.05 on CIFAR-10. 0 leaves the augmentation out.
    bound
        t, the greatest value of a unit.
    """

    LABEL: ClassVar[str] = "BReLU + augmentation"
    AXES: ClassVar[tuple[str, ...]] = ("sigma",)

    sigma: float = 0.3
    bound: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must be finite and not negative, got {self.sigma!r}")
        if not 0 < self.bound < math.inf:
            raise ValueError(f"bound must be above 0 and finite, got {self.bound!r}")

    def train(
        self,
        recipe: Recipe,
        data: Dataset[Any],
        *,
        needed: Mapping[str, nn.Module] | None = None,
        examples: Dataset[Any] | None = None,
        fit: Fit = train,
    ) -> nn.Module:
        """The trained network, whose ReLUs :meth:`wrap` clips again.

        Raises
        ------
        ValueError
            The architecture has no ReLU as a module.
        """
        model = initial_model(recipe)
        bounded = self.wrap(model)
        if not any(isinstance(module, nn.ReLU) for module in model.modules()):
            raise ValueError(f"{recipe.arch} has no torch.nn.ReLU to bound")
        fit(bounded, data, recipe.training, objective=self.objective)
        model.load_state_dict(bounded.state_dict())
        return model.eval()

    def wrap(self, model: nn.Module) -> nn.Module:
        """A copy of the network with BReLUs, min(max(0, x), t), in place of its ReLUs."""
        bounded = deepcopy(model)
        for module in list(bounded.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.Hardtanh(0.0, self.bound))
        return bounded

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """The mean of the cross-entropies of the images and of their noisy copies."""
        if not self.sigma:
            return loss(model(images), labels)
        noisy = (images + self.sigma * torch.randn_like(images)).clamp(0, 1)
        return loss(model(torch.cat([images, noisy])), torch.cat([labels, labels]))
