"""C&W as libraries that wait for the whole batch have it, such as adversarial-library, which PyPI does not hold."""

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import attack_loss, margin
from eadbench.attacks.engine.constants import UNBOUNDED, next_const


def carlini_wagner(
    model: nn.Module, images: Tensor, targets: Tensor, *, steps: int, iterations: int, abort: bool
) -> Tensor:
    """The least L2 success of each row (N, C, H, W), or its image; an abort ends a step once every row has stalled."""
    start = torch.atanh((2 * images - 1) * (1 - 1e-6))
    const, lower = images.new_full((len(images),), 1e-3), images.new_zeros(len(images))
    upper, least, best = torch.full_like(const, UNBOUNDED), torch.full_like(const, torch.inf), images.clone()
    for _ in range(steps):
        change = torch.zeros_like(images, requires_grad=True)
        optimiser = torch.optim.Adam([change], lr=0.01)
        reached, last = torch.zeros_like(const, dtype=torch.bool), torch.full_like(const, torch.inf)
        for iteration in range(iterations):
            x = (torch.tanh(start + change) + 1) / 2
            square = (x - images).square().flatten(1).sum(1)
            lead = margin(model(x), targets, targeted=True)
            loss = square + const * attack_loss(lead, torch.zeros_like(const))
            with torch.no_grad():
                better = (lead > 0) & (square < least)
                reached |= lead > 0
                least, best = torch.where(better, square, least), torch.where(better[:, None, None, None], x, best)
                if abort and iteration % max(1, iterations // 10) == 0:
                    if (loss > 0.9999 * last).all():
                        break
                    last = loss.detach()
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
        const, lower, upper = next_const(const, lower, upper, reached)
    return best
