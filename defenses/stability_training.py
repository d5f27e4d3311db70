"""Stability training: Improving the Robustness of Deep Neural Networks via Stability Training (Zheng, Song, Leung,
Goodfellow; CVPR 2016; arXiv 1604.04326)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.defenses.defense import Loss
from eadbench.defenses.trades import divergence
from eadbench.defenses.trained_anew import TrainedAnew

__all__ = ["StabilityTraining"]


@dataclass(frozen=True, kw_only=True)
class StabilityTraining(TrainedAnew):
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

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """CE(f(x), y) + α·KL(f(x) ‖ f(x + noise)) (equations 1 and 6)."""
        logits = model(images)
        noisy = images + self.sigma * torch.randn_like(images)
        return loss(logits, labels) + self.alpha * divergence(logits, model(noisy))
