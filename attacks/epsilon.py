"""The smallest step size ε of a grid at which an attack succeeds (paper, table 4).

Success is not monotone in ε, so the grid is walked upwards: each pass of the model takes the next few ε of every
live example, and an example leaves at its first success. The answer is the whole grid's, for a part of its cost.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from attacks.criterion import margin, succeeds
from attacks.frozen import check_inputs, frozen
from attacks.result import AttackResult, confirmed

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
    if norm not in GRIDS:
        raise ValueError(f"norm must be one of {', '.join(GRIDS)}, got {norm!r}")
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
    grid = images.new_tensor(epsilons or GRIDS[norm])
    with frozen(model), torch.no_grad():
        labels = check_inputs(model, images, labels, batch_size)
        found, tried = images.clone(), torch.zeros_like(labels)
        epsilon = images.new_full((len(images),), torch.nan)
        batches = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
        first = torch.cat([direction(*batch) for batch in batches])
        waiting = (first.flatten(1) != 0).any(1).nonzero().squeeze(1)
        live, waiting = waiting[:batch_size], waiting[batch_size:]
        while len(live):
            width = max(1, batch_size // len(live))
            at = tried[live].unsqueeze(1) + torch.arange(width, device=images.device)
            rows = live.repeat_interleave(width)
            x = craft(
                direction,
                images[rows],
                labels[rows],
                first[rows],
                grid[at.clamp(max=len(grid) - 1)].view(-1, 1, 1, 1),
            )
            lead = margin(model(x), labels[rows], targeted=targeted)
            success = succeeds(lead, torch.zeros_like(lead)).view_as(at) & (at < len(grid))

            hit, column = success.any(1), success.int().argmax(1)
            winner = (torch.arange(len(live), device=images.device) * width + column)[hit]
            found[live[hit]] = x[winner]
            epsilon[live[hit]] = grid[at.flatten()[winner]]
            tried[live] = torch.where(hit, tried[live] + column + 1, (tried[live] + width).clamp(max=len(grid)))
            live = live[~hit & (tried[live] < len(grid))]
            room = batch_size - len(live)
            live, waiting = torch.cat([live, waiting[:room]]), waiting[room:]

        kept = confirmed(
            model,
            images,
            labels,
            epsilon.isfinite(),
            found,
            kappa=torch.zeros_like(epsilon),
            targeted=targeted,
            batch_size=batch_size,
            epsilon=epsilon,
        )
    return AttackResult(kept={norm: kept}, iterations=1 + gradients_each * tried)
