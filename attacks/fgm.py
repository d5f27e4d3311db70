"""FGM, the fast gradient methods (Goodfellow et al. 2015; Chen et al. 2018, equations 1 and 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.engine.epsilon import Direction, check_grid, smallest_epsilon
from eadbench.attacks.engine.minimise import BATCH_SIZE
from eadbench.attacks.engine.precision import searching
from eadbench.attacks.result import AttackResult


@dataclass(frozen=True, kw_only=True)
class FGM:
    """One step of size ε against the gradient of the training loss J; the smallest ε of a grid that succeeds.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        L∞: x = x₀ - ε·sign(∇J) (equation 1); L1, L2: x = x₀ - ε·∇J/‖∇J‖ (equation 2), each clipped to [0, 1].
    epsilons : sequence of float, optional
        Ascending; the paper's table 4 unless given.
    targeted : bool
        Whether J is lowered for target classes, or raised for true classes.
    """

    norm: Literal["l1", "l2", "linf"]
    epsilons: Sequence[float] | None = None
    targeted: bool = True

    def __post_init__(self) -> None:
        check_grid(self.norm, self.epsilons)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations that an example takes: the one at x₀."""
        return 1

    def __call__(
        self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] towards `targets` (N,), at most `batch_size` rows at a time."""
        return smallest_epsilon(
            self.craft,
            partial(direction, model, norm=self.norm, targeted=self.targeted),
            model,
            images,
            targets,
            norm=self.norm,
            epsilons=self.epsilons,
            gradients_each=0,
            targeted=self.targeted,
            batch_size=batch_size,
        )

    @staticmethod
    def craft(direction: Direction, origin: Tensor, labels: Tensor, first: Tensor, epsilon: Tensor) -> Tensor:
        """The step of size `epsilon` along the direction at x₀."""
        return (origin + epsilon * first).clamp(0, 1)


def direction(model: nn.Module, x: Tensor, labels: Tensor, *, norm: str, targeted: bool) -> Tensor:
    """The dense step of norm one (each value ±1, for L∞) along which the training loss falls, untargeted rises.

    The loss is the cross-entropy J = log(1 + exp u) with u = log Σ_{j ≠ t} exp Z_j - Z_t. Its gradient is a positive
    multiple of u's, and only the direction counts; u's does not vanish where a confident softmax rounds to 0 or 1.

    Returns
    -------
    Tensor
        Shaped as `x` (B, C, H, W); all zero where the gradient is zero or not finite.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad(), searching(model):
        logits = model(x)
        own = labels.unsqueeze(1)
        u = logits.scatter(1, own, -torch.inf).logsumexp(1) - logits.gather(1, own).squeeze(1)
        (gradient,) = torch.autograd.grad(u.sum(), x)
    largest = distances.linf(gradient)[:, None, None, None]
    gradient = torch.where((largest > 0) & largest.isfinite(), gradient / largest, 0)
    if norm == "linf":
        step = gradient.sign()
    else:
        length = distances.NORMS[norm](gradient)[:, None, None, None]
        step = torch.where(length > 0, gradient / length, 0)
    return -step if targeted else step
