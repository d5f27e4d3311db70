"""I-FGM, the iterative fast gradient methods (Kurakin et al. 2017; Chen et al. 2018, "Comparative Methods")."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.engine.epsilon import GRIDS, Direction, check_grid, smallest_epsilon
from eadbench.attacks.engine.minimise import BATCH_SIZE
from eadbench.attacks.fgm import direction
from eadbench.attacks.result import AttackResult


@dataclass(frozen=True, kw_only=True)
class IFGM:
    """FGM in steps of ε/`steps`, each projected to the ε-ball and [0, 1]; the smallest ε of a grid that succeeds.

    Parameters are those of :class:`attacks.FGM`, and `steps`, ten in the paper.
    """

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
        """The gradient evaluations that an example takes if no ε succeeds."""
        return 1 + (self.steps - 1) * len(self.epsilons or GRIDS[self.norm])

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
            gradients_each=self.steps - 1,
            targeted=self.targeted,
            batch_size=batch_size,
        )

    def craft(self, direction: Direction, origin: Tensor, labels: Tensor, first: Tensor, epsilon: Tensor) -> Tensor:
        """`steps` steps of size ε/`steps`; the direction of the first is the same for every ε."""
        x, step = origin, first
        for taken in range(self.steps):
            if taken:
                step = direction(x, labels)
            x = x + epsilon / self.steps * step
            x = (origin + into_ball(x - origin, epsilon, self.norm)).clamp(0, 1)
        return x


def into_ball(delta: Tensor, radius: Tensor, norm: str) -> Tensor:
    """`delta` (B, C, H, W), scaled (L1, L2) or clipped (L∞) to the ball of `radius` (B, 1, 1, 1) if it is outside."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    length = distances.NORMS[norm](delta)[:, None, None, None]
    return torch.where(length > radius, delta * (radius / length), delta)
