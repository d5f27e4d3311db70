"""C&W in whole batches, as in adversarial-library, which is not on PyPI."""

import torch
from torch import Tensor, nn

from eadbench.attacks.criterion import attack_loss, margin
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const


def carlini_wagner(
    model: nn.Module, images: Tensor, targets: Tensor, *, steps: int, iterations: int, abort: bool
) -> Tensor:
    """Return the success of least L2 for each image (N, C, H, W), or the image itself.

    With `abort`, a search step ends once the loss of every row has stalled.
    """
    start = torch.atanh((2 * images - 1) * (1 - 1e-6))
    const, lower = images.new_full((len(images),), 1e-3), images.new_zeros(len(images))
    upper, least, best = torch.full_like(const, UNBOUNDED), torch.full_like(const, torch.inf), images.clone()
    for _ in range(steps):
        delta = torch.zeros_like(images, requires_grad=True)
        optimiser = torch.optim.Adam([delta], lr=0.01)
        success, last_loss = torch.zeros_like(const, dtype=torch.bool), torch.full_like(const, torch.inf)
        for iteration in range(iterations):
            x = (torch.tanh(start + delta) + 1) / 2
            square = (x - images).square().flatten(1).sum(1)
            lead = margin(model(x), targets, targeted=True)
            loss = square + const * attack_loss(lead, torch.zeros_like(const))
            with torch.no_grad():
                better = (lead > 0) & (square < least)
                success |= lead > 0
                least, best = torch.where(better, square, least), torch.where(better[:, None, None, None], x, best)
                if abort and iteration % max(1, iterations // 10) == 0:
                    if (loss > 0.9999 * last_loss).all():
                        break
                    last_loss = loss.detach()
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
        const, lower, upper = next_const(const, lower, upper, success)
    return best
