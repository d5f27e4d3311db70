"""The smallest step size ε of a grid at which an attack succeeds (paper, table 4).

Success is not monotone in ε, so the grid is tried upwards: each pass of the model takes the next few ε of every
example that has not succeeded, and an example leaves at its first success. The result is that of the whole grid.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.checks import check_choice
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.inputs import Call, attacked
from eadbench.attacks.engine.ledger import Spent
from eadbench.attacks.engine.precision import exact_model
from eadbench.attacks.engine.progress import advance
from eadbench.attacks.result import AttackResult

GRIDS = {
    "l1": tuple(float(i) for i in range(1, 1001)),
    "l2": tuple(i / 100 for i in range(1, 1001)),
    "linf": tuple(i / 1000 for i in range(1, 1001)),
}
"""The grids of the paper's table 4 by norm: [1, 1000] by 1, [0.01, 10] by 0.01, [0.001, 1] by 0.001."""

Direction = Callable[..., Tensor]
"""(x (B, C, H, W), labels (B,)) to the steps to take at x; all zero if the gradient vanishes.

Keywords are passed on to the attack's own direction; at x₀ there are none.
"""

Craft = Callable[[Direction, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(direction, x₀, labels, direction at x₀, ε (B, 1, 1, 1)) to the adversarial images at these ε."""


def check_grid(norm: str, epsilons: Sequence[float] | None) -> None:
    """Check the norm, and that the ε ascend from above 0; raise a ValueError otherwise."""
    check_choice("norm", norm, tuple(GRIDS))
    if epsilons is not None and (
        not epsilons or any(low >= high for low, high in pairwise([0.0, *epsilons, math.inf]))
    ):
        raise ValueError(f"epsilons must be positive, finite and ascending, got {list(epsilons)}")


def smallest_epsilon(
    craft: Craft,
    direction: Callable[..., tuple[Tensor, Tensor]],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    norm: str,
    epsilons: Sequence[float] | None,
    gradients_per_epsilon: int,
    targeted: bool,
    batch_size: int,
) -> AttackResult:
    """Attack every example at ascending ε until it first succeeds.

    `direction` takes the model before x and the labels. It returns the step, and whether the gradient of each row had a
    value that is not finite. `gradients_per_epsilon` leaves out the gradient at x₀, which every ε shares.

    Raises
    ------
    ValueError
        Wrong images or labels, or a model that does not return logits.
    """
    with attacked(model, images, labels, batch_size, targeted=targeted) as call:
        grid = call.images.new_tensor(epsilons or GRIDS[norm])
        search = _GridSearch(craft, partial(direction, call.model), call, grid, targeted)
        batch_size = search.attack_all(batch_size)
        kept = confirmed(
            call.victim,
            call.images,
            call.labels,
            search.epsilon.isfinite(),
            search.candidates,
            kappa=call.kappa,
            targeted=targeted,
            batch_size=batch_size,
            epsilon=search.epsilon,
        )
    return AttackResult(
        kept={norm: kept},
        iterations=1 + gradients_per_epsilon * search.tried,
        forward_passes=2 + (gradients_per_epsilon + 1) * search.tried,
        computed=len(call.images) + gradients_per_epsilon * search.computed,
        nonfinite_gradients=search.nonfinite,
    )


def most_passes(epsilons: int, gradients_per_epsilon: int) -> int:
    """The passes of an example that no ε breaks: a gradient at x₀, every ε, and the final test."""
    return 3 + (2 * gradients_per_epsilon + 1) * epsilons


class _GridSearch:
    """One call of :func:`smallest_epsilon`: the examples, the grid, and how many ε each example has tried."""

    def __init__(
        self,
        craft: Craft,
        direction: Callable[..., tuple[Tensor, Tensor]],
        call: Call,
        grid: Tensor,
        targeted: bool,
    ) -> None:
        self.craft, self.direction, self.call, self.targeted = craft, direction, call, targeted
        self.images, self.labels, self.grid = call.images, call.labels, grid
        self.first_direction = torch.zeros_like(self.images)
        self.candidates = self.images.clone()
        self.epsilon = torch.full_like(call.kappa, torch.nan)
        self.tried, self.nonfinite = torch.zeros_like(self.labels), torch.zeros_like(self.labels)
        self.computed = 0

    def attack_all(self, batch_size: int) -> int:
        """Attack all examples, at most `batch_size` rows at a time; return the size that fitted into memory."""
        examples = torch.arange(len(self.images), device=self.images.device)
        batch_size = self.repeat(self.find_directions, examples, batch_size)
        movable = examples[(self.first_direction.flatten(1) != 0).any(1)]
        return self.repeat(self.try_epsilons, movable, batch_size)

    def step(self, x: Tensor, labels: Tensor, **where: Any) -> Tensor:
        """The steps to take at x."""
        return self.direction(x, labels, **where)[0]

    @staticmethod
    def repeat(stage: Callable[[Tensor, int], Tensor], examples: Tensor, batch_size: int) -> int:
        """Run `stage` until it returns no examples; if memory is short, repeat a pass with half the batch size."""
        while len(examples):
            try:
                examples = stage(examples, batch_size)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = batch_size // 2
        return batch_size

    def find_directions(self, examples: Tensor, batch_size: int) -> Tensor:
        """Compute the direction at x₀ for a batch of `examples`; return the others."""
        batch = examples[:batch_size]
        self.call.serve(batch)
        step, nonfinite = self.direction(self.images[batch], self.labels[batch])
        self.first_direction[batch], self.nonfinite[batch] = step, nonfinite.long()
        return examples[batch_size:]

    def share_done(self) -> float:
        """Return the share of the grid that is done, over the examples."""
        return float(torch.where(self.epsilon.isfinite(), 1.0, self.tried / len(self.grid)).mean())

    def try_epsilons(self, examples: Tensor, batch_size: int) -> Tensor:
        """Try the next few ε on a batch of `examples`; return the examples with ε and passes left.

        On a budget this is one ε: no pass is spent on an ε beyond the first that succeeds.
        """
        batch, waiting = examples[:batch_size], examples[batch_size:]
        width = max(1, batch_size // len(batch)) if self.call.ledger is None else 1
        column = self.tried[batch].unsqueeze(1) + torch.arange(width, device=batch.device)
        rows = batch.repeat_interleave(width)
        epsilons = self.grid[column.clamp(max=len(self.grid) - 1)].view(-1, 1, 1, 1)
        self.call.serve(rows)
        try:
            x = self.craft(self.step, self.images[rows], self.labels[rows], self.first_direction[rows], epsilons)
            margins = margin(exact_model(self.call.model)(x), self.labels[rows], targeted=self.targeted)
        except Spent:
            return waiting
        success = succeeds(margins, torch.zeros_like(margins)).view_as(column) & (column < len(self.grid))

        succeeded, first = success.any(1), success.int().argmax(1)
        winners = (torch.arange(len(batch), device=batch.device) * width + first)[succeeded]
        self.candidates[batch[succeeded]] = x[winners]
        self.epsilon[batch[succeeded]] = epsilons.flatten()[winners]
        advance(self.share_done)
        newly_tried = torch.where(succeeded, first + 1, width)
        self.tried[batch] = (self.tried[batch] + newly_tried).clamp(max=len(self.grid))
        self.computed += len(rows)
        left = ~succeeded & (self.tried[batch] < len(self.grid)) & ~self.call.spent[batch]
        return torch.cat([batch[left], waiting])
