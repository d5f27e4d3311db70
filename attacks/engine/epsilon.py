"""The smallest step size ε of a grid at which an attack succeeds (paper, table 4).

Success is not monotone in ε, so the grid is walked upwards: each pass of the model takes the next few ε of every
live example, and an example leaves at its first success. The answer is the whole grid's, for a part of its cost.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.checks import check_choice, check_inputs
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.precision import exact
from eadbench.attacks.result import AttackResult, confirmed

GRIDS = {
    "l1": tuple(float(i) for i in range(1, 1001)),
    "l2": tuple(i / 100 for i in range(1, 1001)),
    "linf": tuple(i / 1000 for i in range(1, 1001)),
}
"""Norm to the grid of the paper's table 4: [1, 1000] by 1, [0.01, 10] by 0.01, [0.001, 1] by 0.001."""

Direction = Callable[[Tensor, Tensor], Tensor]
"""(x (B, C, H, W), labels (B,)) to the steps of norm one to take there; all zero where there is none."""

Craft = Callable[[Direction, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(direction, x₀, labels, direction at x₀, ε (B, 1, 1, 1)) to the examples that the attack makes with those ε."""


def check_grid(norm: str, epsilons: Sequence[float] | None) -> None:
    """Refuse a norm that has no distance, and ε that do not ascend from above 0.

    Raises
    ------
    ValueError
        In one line, with what was given.
    """
    check_choice("norm", norm, tuple(GRIDS))
    if epsilons is not None and (
        not epsilons or any(low >= high for low, high in pairwise([0.0, *epsilons, math.inf]))
    ):
        raise ValueError(f"epsilons must be positive, finite and ascending, got {list(epsilons)}")


def smallest_epsilon(
    craft: Craft,
    direction: Direction,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    epsilons: Sequence[float] | None,
    gradients_each: int,
    targeted: bool,
    batch_size: int,
) -> AttackResult:
    """Take every example up the grid of ε to its first success.

    `gradients_each` is what one ε costs beside the gradient at x₀, which every ε shares.

    Raises
    ------
    ValueError
        Images, labels or the model's output are not what they should be.
    """
    with frozen(model), torch.no_grad():
        labels = check_inputs(model, images, labels, batch_size)
        climb = _Climb(craft, direction, model, images, labels, images.new_tensor(epsilons or GRIDS[norm]), targeted)
        batch_size = climb.to_the_end(batch_size)
        kept = confirmed(
            exact(model),
            images,
            labels,
            climb.epsilon.isfinite(),
            climb.found,
            kappa=torch.zeros_like(climb.epsilon),
            targeted=targeted,
            batch_size=batch_size,
            epsilon=climb.epsilon,
        )
    return AttackResult(
        kept={norm: kept},
        iterations=1 + gradients_each * climb.tried,
        forward_passes=2 + (gradients_each + 1) * climb.tried,
        computed=len(images) + gradients_each * climb.computed,
    )


class _Climb:
    """One call of :func:`smallest_epsilon`: the examples, the grid, and how far up it each of them is."""

    def __init__(
        self,
        craft: Craft,
        direction: Direction,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        grid: Tensor,
        targeted: bool,
    ) -> None:
        self.craft, self.direction, self.model, self.targeted = craft, direction, model, targeted
        self.images, self.labels, self.grid = images, labels, grid
        self.first = torch.zeros_like(images)
        self.found = images.clone()
        self.epsilon = images.new_full((len(images),), torch.nan)
        self.tried = torch.zeros_like(labels)
        self.computed = 0

    def to_the_end(self, batch_size: int) -> int:
        """Take all examples as far as they go, at most `batch_size` rows at a time; return the size that fitted."""
        everyone = torch.arange(len(self.images), device=self.images.device)
        batch_size = self.through(self.turn, everyone, batch_size)
        return self.through(self.climb, everyone[(self.first.flatten(1) != 0).any(1)], batch_size)

    @staticmethod
    def through(stage: Callable[[Tensor, int], Tensor], left: Tensor, batch_size: int) -> int:
        """Pass by pass until no example is `left`; one that memory does not hold is done again at half the size."""
        while len(left):
            try:
                left = stage(left, batch_size)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = batch_size // 2
        return batch_size

    def turn(self, examples: Tensor, batch_size: int) -> Tensor:
        """Find the direction at x₀ of the first of `examples` in one pass; return the others."""
        batch = examples[:batch_size]
        self.first[batch] = self.direction(self.images[batch], self.labels[batch])
        return examples[batch_size:]

    def climb(self, examples: Tensor, batch_size: int) -> Tensor:
        """Try the next few ε of the first of `examples` in one pass; return the examples that must go on."""
        live, waiting = examples[:batch_size], examples[batch_size:]
        width = max(1, batch_size // len(live))
        at = self.tried[live].unsqueeze(1) + torch.arange(width, device=live.device)
        rows = live.repeat_interleave(width)
        epsilons = self.grid[at.clamp(max=len(self.grid) - 1)].view(-1, 1, 1, 1)
        x = self.craft(self.direction, self.images[rows], self.labels[rows], self.first[rows], epsilons)
        lead = margin(exact(self.model)(x), self.labels[rows], targeted=self.targeted)
        success = succeeds(lead, torch.zeros_like(lead)).view_as(at) & (at < len(self.grid))

        hit, column = success.any(1), success.int().argmax(1)
        winner = (torch.arange(len(live), device=live.device) * width + column)[hit]
        self.found[live[hit]] = x[winner]
        self.epsilon[live[hit]] = epsilons.flatten()[winner]
        reached = torch.where(hit, column + 1, width)
        self.tried[live] = (self.tried[live] + reached).clamp(max=len(self.grid))
        self.computed += len(rows)
        return torch.cat([live[~hit & (self.tried[live] < len(self.grid))], waiting])
