"""TRADES: Theoretically Principled Trade-off between Robustness and Accuracy (Zhang, Yu, Jiao, Xing, El Ghaoui, Jordan;
ICML 2019; arXiv 1901.08573).

Shapes: B images of a batch, C × H × W values of an image, K classes.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks.engine.frozen import frozen
from eadbench.defenses.defense import Loss
from eadbench.defenses.in_ball import InBall, Norm

__all__ = ["Trades", "divergence"]

START = 1e-3
"""Standard deviation of the noise at which the inner problem starts: the divergence has no gradient at the image."""


@dataclass(frozen=True, kw_only=True)
class Trades(InBall):
    """Training on the cross-entropy of images and, β times, the divergence of the worst outputs in their balls.

    With `training.held_out`, the weights of the epoch with the best robust accuracy on the held-out images are kept
    (Rice et al. 2020): the share of them that are right, and stay so under PGD on the cross-entropy in the same ball.

    Parameters
    ----------
    epsilon
        Radius of the ball, for images in [0, 1]; 0.3 on MNIST and 8/255 on CIFAR-10.
    steps
        Steps of the inner problem.
    step_size
        Length of a step; 2.5 ε / `steps` by default. The paper takes 40 of 0.01 on MNIST, and
        10 of 2/255 on CIFAR-10.
    beta
        β = 1/λ, the weight of the divergence.
    norm
        Norm of the ball: "linf" as in the paper, "l2" or "l1".
    """

    LABEL: ClassVar[str] = "TRADES"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon", "beta")
    LATER: ClassVar[tuple[str, ...]] = ("norm",)

    epsilon: float
    steps: int = 10
    step_size: float | None = None
    beta: float = 6.0
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.beta < math.inf:
            raise ValueError(f"beta must be above 0 and finite, got {self.beta!r}")

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """CE(f(x), y) + β·KL(f(x) ‖ f(x')), x' the worst of the ball (equation 5 and algorithm 1)."""
        worst = self.perturb(model, images)
        logits = model(images)
        return loss(logits, labels) + self.beta * divergence(logits, model(worst))

    def perturb(self, model: nn.Module, images: Tensor) -> Tensor:
        """Raise KL(f(x) ‖ f(x')) over x' in the ball, from torch's global random state."""
        with frozen(model), torch.no_grad():
            natural = model(images)
        start = images + START * torch.randn_like(images)
        return self.ascend(model, images, start, lambda x: divergence(natural, model(x)))


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """The mean over a batch of KL(softmax(`logits`) ‖ softmax(`others`)), both (B, K)."""
    return functional.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="batchmean", log_target=True)
