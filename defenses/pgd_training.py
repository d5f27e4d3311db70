"""Adversarial training by projected gradient descent: Madry et al., "Towards Deep Learning Models Resistant to
Adversarial Attacks" (ICLR 2018), equation 2.1.

Each batch is replaced by what an untargeted PGD attack makes of it on the weights of that moment: from a random start
in the ε-ball, steps along the sign (L2: the direction) of the loss's gradient, projected to the ball and to [0, 1].
The network is attacked as it is used, in eval mode: dropout's noise would hide the gradient, and the attack's passes
would otherwise enter batch normalisation's statistics.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from eadbench.attacks.engine.frozen import frozen
from eadbench.defenses.defense import Fit
from eadbench.defenses.undefended import fresh
from eadbench.models import Recipe, train

__all__ = ["PGDTraining"]


@dataclass(frozen=True, kw_only=True)
class PGDTraining:
    """Training on examples of projected gradient descent (Madry et al. 2018).

    Parameters
    ----------
    norm
        "linf" or "l2".
    epsilon
        Radius of the ball, for images in [0, 1].
    steps
        Gradient steps an example.
    step_size
        Unless given, 2.5 ε / `steps`.
    """

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

    def needs(self, recipe: Recipe) -> Mapping[str, Recipe]:
        """Nothing."""
        if recipe.training is None:
            raise ValueError("training is missing: PGD training trains the network anew")
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
        """The network trained on its own adversarial examples."""
        model = fresh(recipe)
        assert recipe.training is not None  # `needs` has refused it
        fit(model, data, recipe.training, perturb=self.perturb)
        return model

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Examples (B, C, H, W) of `images` in [0, 1], within ε and [0, 1]; drawn from torch's random state."""
        step = 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size
        x = (images + self._start(images)).clamp(0, 1)
        with frozen(model):
            for _ in range(self.steps):
                x = x.detach().requires_grad_()
                [gradient] = torch.autograd.grad(functional.cross_entropy(model(x), labels, reduction="sum"), x)
                direction = gradient.sign() if self.norm == "linf" else gradient / _lengths(gradient).clamp_min(1e-12)
                x = (images + self._projected(x.detach() + step * direction - images)).clamp(0, 1)
        return x.detach()

    def _start(self, images: Tensor) -> Tensor:
        """Uniform in the L∞ ball; in the L2 ball, of a uniform direction and length."""
        if self.norm == "linf":
            return torch.empty_like(images).uniform_(-self.epsilon, self.epsilon)
        direction = torch.randn_like(images)
        length = torch.rand(len(images), 1, 1, 1, device=images.device)
        return direction / _lengths(direction).clamp_min(1e-12) * length * self.epsilon

    def _projected(self, delta: Tensor) -> Tensor:
        if self.norm == "linf":
            return delta.clamp(-self.epsilon, self.epsilon)
        return delta * (self.epsilon / _lengths(delta).clamp_min(self.epsilon))


def _lengths(images: Tensor) -> Tensor:
    """L2 norms (B, 1, 1, 1)."""
    lengths: Tensor = images.flatten(1).norm(dim=1)
    return lengths[:, None, None, None]
