"""I-FGM, the iterative fast gradient methods (Kurakin et al. 2017; Chen et al. 2018, "Comparative Methods")."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.engine.epsilon_search import GRIDS, Direction, check_grid, most_passes, smallest_epsilon
from eadbench.attacks.fgm import direction
from eadbench.attacks.result import AttackResult


@dataclass(frozen=True, kw_only=True)
class IFGM(Attack):
    """FGM in steps of ε/`steps`, each projected to the ε-ball and [0, 1]; the smallest ε of a grid that succeeds.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        The norm of the steps and of the ball.
    steps : int
        Steps at each ε; ten in the paper.
    epsilons : sequence of float, optional
        Ascending; by default the grid of the paper's table 4.
    targeted : bool
        Whether to lower J for target classes, or to raise J for true classes.
    """

    LABEL: ClassVar[str] = "I-FGM"
    AXES: ClassVar[tuple[str, ...]] = ("norm",)
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 2.6, "l2": 0.07, "linf": 0.07}  # a dense step, for L1 too
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "steps": 3,
        "epsilons": tuple(0.002 * 1.06**i for i in range(158)),
    }

    norm: Literal["l1", "l2", "linf"]
    steps: int = 10
    epsilons: Sequence[float] | None = None
    targeted: bool = True

    def __post_init__(self) -> None:
        check_grid(self.norm, self.epsilons)
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations of an example that no ε breaks."""
        return 1 + (self.steps - 1) * len(self.epsilons or GRIDS[self.norm])

    @property
    def most_passes(self) -> int:
        """The passes of an example that no ε breaks."""
        return most_passes(len(self.epsilons or GRIDS[self.norm]), gradients_per_epsilon=self.steps - 1)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        return smallest_epsilon(
            self.craft,
            self.direction,
            model,
            images,
            labels,
            norm=self.norm,
            epsilons=self.epsilons,
            gradients_per_epsilon=self.steps - 1,
            targeted=self.targeted,
            batch_size=batch_size,
        )

    def direction(self, model: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The step of norm one at x, and whether the gradient of a row is not finite: see :func:`fgm.direction`."""
        return direction(model, x, labels, norm=self.norm, targeted=self.targeted)

    def craft(
        self, direction: Direction, origin: Tensor, labels: Tensor, first_direction: Tensor, epsilon: Tensor
    ) -> Tensor:
        """Take `steps` steps of size ε/`steps`; the direction of the first is the same for every ε."""
        x, step = origin, first_direction
        for taken in range(self.steps):
            if taken:
                step = direction(x, labels)
            x = x + epsilon / self.steps * step
            x = (origin + project(x - origin, epsilon, self.norm)).clamp(0, 1)
        return x


def project(delta: Tensor, radius: Tensor, norm: str) -> Tensor:
    """Scale (L1, L2) or clip (L∞) `delta` (B, C, H, W) to the ball of `radius` (B, 1, 1, 1) if it is outside."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    length = distances.NORMS[norm](delta)[:, None, None, None]
    return torch.where(length > radius, delta * (radius / length), delta)
