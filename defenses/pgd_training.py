"""Adversarial training by projected gradient descent: Madry et al., "Towards Deep Learning Models Resistant to
Adversarial Attacks" (ICLR 2018), equation 2.1.

An untargeted PGD attack on the current weights replaces each batch by adversarial examples. It starts at random in
the ε-ball and takes steps along the sign (L2: the direction) of the loss's gradient, projected to the ball and to
[0, 1]. The network is attacked in eval mode: otherwise dropout's noise would hide the gradient, and the attack's passes
would enter batch normalisation's statistics.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks.engine.frozen import frozen
from eadbench.defenses.trained_anew import TrainedAnew

__all__ = ["PGDTraining"]


@dataclass(frozen=True, kw_only=True)
class PGDTraining(TrainedAnew):
    """Training on examples of projected gradient descent (Madry et al. 2018).

    Parameters
    ----------
    norm
        "linf" or "l2".
    epsilon
        Radius of the ball, for images in [0, 1].
    steps
        Gradient steps per example.
    step_size
        Length of a step; 2.5 ε / `steps` by default.
    """

    LABEL: ClassVar[str] = "PGD training"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon",)

    norm: Literal["linf", "l2"] = "linf"
    epsilon: float
    steps: int
    step_size: float | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f'norm must be "linf" or "l2", got {self.norm!r}')
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0 and finite, got {self.epsilon!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps!r}")
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise ValueError(f"step_size must be above 0 and finite, got {self.step_size!r}")

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Attack `images` (B, C, H, W) in [0, 1] within ε; the start is drawn from torch's global random state."""
        step = 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size
        x = (images + self._start(images)).clamp(0, 1)
        with frozen(model):
            for _ in range(self.steps):
                x = x.detach().requires_grad_()
                [gradient] = torch.autograd.grad(functional.cross_entropy(model(x), labels, reduction="sum"), x)
                direction = gradient.sign() if self.norm == "linf" else gradient / _l2(gradient).clamp_min(1e-12)
                x = (images + self._project(x.detach() + step * direction - images)).clamp(0, 1)
        return x.detach()

    def _start(self, images: Tensor) -> Tensor:
        """Draw a start: uniform in the L∞ ball, or of uniform direction and length in the L2 ball."""
        if self.norm == "linf":
            return torch.empty_like(images).uniform_(-self.epsilon, self.epsilon)
        direction = torch.randn_like(images)
        length = torch.rand(len(images), 1, 1, 1, device=images.device)
        return direction / _l2(direction).clamp_min(1e-12) * length * self.epsilon

    def _project(self, delta: Tensor) -> Tensor:
        """Project to the ε-ball."""
        if self.norm == "linf":
            return delta.clamp(-self.epsilon, self.epsilon)
        return delta * (self.epsilon / _l2(delta).clamp_min(self.epsilon))


def _l2(images: Tensor) -> Tensor:
    """L2 norms (B, 1, 1, 1)."""
    norms: Tensor = images.flatten(1).norm(dim=1)
    return norms[:, None, None, None]
