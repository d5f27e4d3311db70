"""What defences share that train on the worst images of an ε-ball: projected gradient ascent in L1, L2 and L∞.

Steps in L1 are those of SLIDE (Tramèr, Boneh, "Adversarial Training and Robustness for Multiple Perturbations", NeurIPS
2019), projected to the intersection of the ball with [0, 1] (Croce, Hein, "Mind the Box", ICML 2021).

Shapes: B images of a batch, C × H × W values of an image.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from eadbench.attacks.distances import l1, rows
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.projections import l1_in_box
from eadbench.defenses.trained_anew import TrainedAnew

__all__ = ["InBall", "Norm"]

Norm = Literal["linf", "l2", "l1"]

SHARE = 0.01
"""The share of values that a step in L1 changes: 1 - q of SLIDE."""


class InBall(TrainedAnew):
    """A defence with the fields below. It keeps the epoch of the best robust accuracy, if images are held out.

    Attributes
    ----------
    norm : str
        "linf", "l2" or "l1".
    epsilon : float
        Radius of the ball, for images in [0, 1].
    steps : int
        Gradient steps per image.
    step_size : float, optional
        Length of a step; 2.5 ε / `steps` by default.
    """

    norm: Norm
    epsilon: float
    steps: int
    step_size: float | None

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2", "l1"):
            raise ValueError(f'norm must be "linf", "l2" or "l1", got {self.norm!r}')
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps!r}")
        for name in ("epsilon", "step_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value!r}")

    def attack(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Raise the cross-entropy of `images` (B, C, H, W) in [0, 1] within ε, from a random start in the ball.

        The start is drawn from torch's global random state. Held-out images are attacked so after each epoch.
        """
        start = (images + self._start(images)).clamp(0, 1)
        return self.ascend(model, images, start, lambda x: functional.cross_entropy(model(x), labels, reduction="sum"))

    def ascend(self, model: nn.Module, images: Tensor, x: Tensor, value: Callable[[Tensor], Tensor]) -> Tensor:
        """Raise a scalar of the images from `x` on, by steps that are projected to the ball and to [0, 1]."""
        step = 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size
        with frozen(model):
            for _ in range(self.steps):
                x = x.detach().requires_grad_()
                [gradient] = torch.autograd.grad(value(x), x)
                x = x.detach()
                delta = x + self._step(gradient, x, step) - images
                x = (images + self._project(delta, images)).clamp(0, 1)
        return x.detach()

    def _start(self, images: Tensor) -> Tensor:
        """Draw a start: uniform in the L∞ ball, or of uniform direction and length in the L2 or L1 ball."""
        if self.norm == "linf":
            return torch.empty_like(images).uniform_(-self.epsilon, self.epsilon)
        direction = torch.randn_like(images)
        if self.norm == "l1":
            direction = direction.sign() * torch.empty_like(images).exponential_()
        length = torch.rand(len(images), 1, 1, 1, device=images.device)
        return direction / self._length(direction).clamp_min(1e-12) * length * self.epsilon

    def _step(self, gradient: Tensor, x: Tensor, length: float) -> Tensor:
        """Return steps of a length in the norm; 0 for rows without a gradient."""
        if self.norm == "linf":
            return length * gradient.sign()
        if self.norm == "l1":
            return sparse_step(gradient, x, length)
        return length * (gradient / self._length(gradient).clamp_min(1e-12))

    def _project(self, delta: Tensor, images: Tensor) -> Tensor:
        """Project to the ε-ball; in L1, to its part in which images are in [0, 1]."""
        if self.norm == "linf":
            return delta.clamp(-self.epsilon, self.epsilon)
        if self.norm == "l1":
            radius = images.new_full((len(images),), self.epsilon, dtype=torch.float64)
            return l1_in_box(delta.double(), radius, images.double()).to(images)
        return delta * (self.epsilon / self._length(delta).clamp_min(self.epsilon))

    def _length(self, delta: Tensor) -> Tensor:
        """L1 or L2 norms (B, 1, 1, 1)."""
        return rows(l1(delta) if self.norm == "l1" else delta.flatten(1).norm(dim=1))


def sparse_step(gradient: Tensor, x: Tensor, length: float) -> Tensor:
    """Return a step of L1 norm `length` along the signs of the greatest derivatives, in equal parts (SLIDE).

    The part that a value has no room for within [0, 1] goes to the value of the next greatest derivative.
    """
    sizes, order = gradient.abs().flatten(1).sort(dim=1, descending=True, stable=True)
    room = torch.where(gradient > 0, 1 - x, x).flatten(1).gather(1, order)
    part = length / math.ceil(SHARE * sizes.shape[1])
    parts = torch.where(sizes > 0, room.clamp(0, part), 0)
    parts = torch.minimum(parts, (length - (parts.cumsum(1) - parts)).clamp_min(0))
    return gradient.sign() * torch.zeros_like(parts).scatter(1, order, parts).view_as(x)
