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
from eadbench.defenses.trained_anew import TrainedAnew

__all__ = ["Trades", "divergence"]

START = 1e-3
"""Standard deviation of the noise at which the inner problem starts: the divergence has no gradient at the image."""


@dataclass(frozen=True, kw_only=True)
class Trades(TrainedAnew):
    """Training on the cross-entropy of images and, β times, the divergence of the worst outputs in their L∞ balls.

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
    """

    LABEL: ClassVar[str] = "TRADES"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon", "beta")

    epsilon: float
    steps: int = 10
    step_size: float | None = None
    beta: float = 6.0

    def __post_init__(self) -> None:
        for name in ("epsilon", "step_size", "beta"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps!r}")

    def objective(self, model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
        """CE(f(x), y) + β·KL(f(x) ‖ f(x')), x' the worst of the ball (equation 5 and algorithm 1)."""
        worst = self.perturb(model, images)
        logits = model(images)
        return loss(logits, labels) + self.beta * divergence(logits, model(worst))

    def perturb(self, model: nn.Module, images: Tensor) -> Tensor:
        """Raise KL(f(x) ‖ f(x')) over x' in the ball by signed steps, from torch's global random state."""
        step = 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size
        with frozen(model):
            with torch.no_grad():
                natural = model(images)
            x = images + START * torch.randn_like(images)
            for _ in range(self.steps):
                x = x.detach().requires_grad_()
                [gradient] = torch.autograd.grad(divergence(natural, model(x)), x)
                delta = (x.detach() + step * gradient.sign() - images).clamp(-self.epsilon, self.epsilon)
                x = (images + delta).clamp(0, 1)
        return x.detach()


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """The mean over a batch of KL(softmax(`logits`) ‖ softmax(`others`)), both (B, K)."""
    return functional.kl_div(others.log_softmax(1), logits.log_softmax(1), reduction="batchmean", log_target=True)
