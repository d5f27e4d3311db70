"""FGM, the fast gradient methods (Goodfellow et al. 2015; Chen et al. 2018, equations 1 and 2)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.criterion import log_odds
from eadbench.attacks.engine.epsilon_search import GRIDS, Direction, check_grid, most_passes, smallest_epsilon
from eadbench.attacks.engine.precision import gradient_precision
from eadbench.attacks.result import AttackResult


@dataclass(frozen=True, kw_only=True)
class FGM(Attack):
    """One step of size ε against the gradient of the training loss J; the smallest ε of a grid that succeeds.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        L∞: x = x₀ - ε·sign(∇J) (equation 1); L1, L2: x = x₀ - ε·∇J/‖∇J‖ (equation 2), each clipped to [0, 1].
    epsilons : sequence of float, optional
        Ascending; by default the grid of the paper's table 4.
    targeted : bool
        Whether to lower J for target classes, or to raise J for true classes.
    """

    LABEL: ClassVar[str] = "FGM"
    AXES: ClassVar[tuple[str, ...]] = ("norm",)
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 2.6, "l2": 0.07, "linf": 0.07}  # a dense step, for L1 too
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"epsilons": tuple(0.002 * 1.06**i for i in range(158))}

    norm: Literal["l1", "l2", "linf"]
    epsilons: Sequence[float] | None = None
    targeted: bool = True

    def __post_init__(self) -> None:
        check_grid(self.norm, self.epsilons)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations of an example: the one at x₀."""
        return 1

    @property
    def most_passes(self) -> int:
        """The passes of an example that no ε breaks."""
        return most_passes(len(self.epsilons or GRIDS[self.norm]), gradients_per_epsilon=0)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        return smallest_epsilon(
            self.craft,
            partial(direction, norm=self.norm, targeted=self.targeted),
            model,
            images,
            labels,
            norm=self.norm,
            epsilons=self.epsilons,
            gradients_per_epsilon=0,
            targeted=self.targeted,
            batch_size=batch_size,
        )

    @staticmethod
    def craft(direction: Direction, origin: Tensor, labels: Tensor, first_direction: Tensor, epsilon: Tensor) -> Tensor:
        """Take one step of size `epsilon` along the direction at x₀."""
        return (origin + epsilon * first_direction).clamp(0, 1)


def direction(model: nn.Module, x: Tensor, labels: Tensor, *, norm: str, targeted: bool) -> tuple[Tensor, Tensor]:
    """The step of norm one (L∞: each value ±1) along which the training loss falls if `targeted`, else rises.

    The loss is the cross-entropy J = log(1 + exp u) with u = log Σ_{j ≠ t} exp Z_j - Z_t. Its gradient is a positive
    multiple of the gradient of u. The step follows u, whose gradient does not vanish when a softmax rounds to 0 or 1.

    Returns
    -------
    tuple of Tensor
        The step, shaped as `x` (B, C, H, W): zero where the gradient is not finite, and all zero where it is zero; and
        (B,) bool: whether the gradient has a value that is not finite.
    """
    gradient, nonfinite = downhill(model, x, labels)
    step = unit_step(gradient, norm)
    return step if targeted else -step, nonfinite


def downhill(
    model: nn.Module, x: Tensor, labels: Tensor, *, through: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """The gradient of -u at x (B, C, H, W), 0 where it is not finite, and (B,) bool: whether it is not finite anywhere.

    The model is run on `through(x)`, if that is given.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad(), gradient_precision(model):
        logits = model(x if through is None else through(x))
        (gradient,) = torch.autograd.grad(log_odds(logits, labels).sum(), x)
    nonfinite = ~gradient.flatten(1).sum(1).isfinite()
    return gradient.nan_to_num(0.0, 0.0, 0.0), nonfinite


def unit_step(gradient: Tensor, norm: str) -> Tensor:
    """Scale a gradient (B, C, H, W) to norm one (L∞: each value ±1); a row of zeros stays so."""
    return gradient.sign() if norm == "linf" else distances.unit(gradient, distances.NORMS[norm])
