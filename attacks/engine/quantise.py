"""Adversarial images as files keep them: rounded to 8 bits a channel.

An image that succeeds in float32 may fail once it is saved. Each value of an image lies between two of the 256 levels.
Rounding to the nearest one is what saving does. If that fails, a search takes the other level for some values, as
Carlini and Wagner (2017, section V.D) and DDN's authors do. Shape letters: N or b images, D = C·H·W values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.result import Adversarial

__all__ = ["Quantised", "nearest_levels", "quantised"]

LEVELS = 255
_ROUNDS = 8
"""Gradients that the search takes of an image, at most."""


@dataclass(frozen=True, kw_only=True)
class Quantised:
    """Adversarial images after rounding to 8 bits; N rows, as in the :class:`Adversarial` that they come from.

    Attributes
    ----------
    images : Tensor
        (N, C, H, W), each value k / 255; where the attack failed, the original's rounding.
    success : Tensor
        (N,) bool: the rounded image succeeds, with the margin κ.
    l0, l1, l2, linf : Tensor
        (N,) distances to the original rounded likewise, so that an unchanged pixel is none; NaN without success.
    """

    images: Tensor
    success: Tensor
    l0: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor


def nearest_levels(images: Tensor) -> Tensor:
    """Round images in [0, 1] to the nearest of 256 levels, as saving them does."""
    return (images * LEVELS).round() / LEVELS


@torch.no_grad()
def quantised(
    model: nn.Module,
    kept: Adversarial,
    originals: Tensor,
    labels: Tensor,
    *,
    kappa: Tensor,
    targeted: bool,
    batch_size: int,
    search: bool = False,
) -> Quantised:
    """Round what an attack returned to 8 bits, and test it again.

    Parameters
    ----------
    model : nn.Module
        Images to logits.
    kept, originals, labels, kappa, targeted
        What an attack returned, and what it was given.
    search : bool
        Where the nearest levels fail, look for the fewest values to round the other way so that the image succeeds.
        Only values that the attack changed are rounded the other way.
    """
    test = _Test(model, labels, kappa, targeted)
    images = nearest_levels(torch.where(kept.success[:, None, None, None], kept.images, originals))
    success = torch.zeros_like(kept.success)
    with frozen(model):
        succeeded = kept.success.nonzero().squeeze(1)
        for rows in torch.split(succeeded, batch_size) if len(succeeded) else ():  # no model is given an empty batch
            success[rows] = test.passes(images[rows], rows)
            failing = rows[~success[rows]]
            if search and len(failing):
                images[failing], success[failing] = _search(test, kept.images[failing], originals[failing], failing)
    delta = images - nearest_levels(originals)
    measured = {name: norm(delta).masked_fill(~success, torch.nan) for name, norm in distances.NORMS.items()}
    return Quantised(images=images, success=success, **measured)


def _search(test: "_Test", images: Tensor, originals: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return roundings (b, C, H, W) that succeed, where one is found, and whether (b,) it was.

    The gradient of the margin ranks the values by what rounding them the other way would gain. The least number of the
    first ones that succeeds is found by doubling and bisection. If none does, all that gain are rounded the other way,
    and a new gradient is taken there.
    """
    nearest = nearest_levels(images)
    levels = images * LEVELS
    other = torch.where(levels > levels.round(), levels.ceil(), levels.floor()) / LEVELS
    movable = (images != originals) & (other != nearest)
    current, found = nearest.clone(), torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for _ in range(_ROUNDS):
        left = (~found).nonzero().squeeze(1)
        if not len(left):
            break
        start = current[left]
        turned = torch.where(start == nearest[left], other[left], nearest[left])
        gain = (test.gradient(start, rows[left]) * (turned - start)).masked_fill(~movable[left], 0).flatten(1)
        turns = _Turns(start, turned, rank=gain.argsort(dim=1, descending=True, stable=True).argsort(dim=1))
        useful = (gain > 0).sum(1)
        count, works = _least(partial(_passes, test, turns, rows[left]), useful)
        current[left] = turns.first(torch.where(works, count, useful))
        found[left] = works
    return torch.where(found[:, None, None, None], current, nearest), found


class _Turns(NamedTuple):
    """Values to round the other way, in an order."""

    start: Tensor
    turned: Tensor
    rank: Tensor
    """(b, D) the place of each value in the order."""

    def first(self, count: Tensor) -> Tensor:
        """Return the images (b, C, H, W) with the first `count` (b,) values rounded the other way."""
        return torch.where((self.rank < count[:, None]).view_as(self.start), self.turned, self.start)


class _Test(NamedTuple):
    """When the examples of an attack succeed."""

    model: nn.Module
    labels: Tensor
    kappa: Tensor
    targeted: bool

    def passes(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return whether (b,) images (b, C, H, W) of some examples (b,) succeed."""
        return succeeds(margin(self.model(images.clone()), self.labels[rows], targeted=self.targeted), self.kappa[rows])

    def gradient(self, images: Tensor, rows: Tensor) -> Tensor:
        """Return the gradient (b, C, H, W) of the margin; zero where it is not finite."""
        with torch.enable_grad():
            x = images.clone().requires_grad_()
            margins = margin(self.model(x.clone()), self.labels[rows], targeted=self.targeted)
            (gradient,) = torch.autograd.grad(margins.sum(), x)
        return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


def _passes(test: _Test, turns: _Turns, rows: Tensor, count: Tensor) -> Tensor:
    return test.passes(turns.first(count), rows)


def _least(works: Callable[[Tensor], Tensor], most: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least counts (b,) from 1 to `most` that work, by doubling and bisection, and whether (b,) one does."""
    low, high, found = torch.zeros_like(most), most.clone(), torch.zeros_like(most, dtype=torch.bool)
    count = torch.ones_like(most)
    while not found.all() and bool((low < most)[~found].any()):
        tried = count.minimum(most)
        ok = works(tried) & ~found & (tried > 0)
        high = torch.where(ok, tried, high)
        low = torch.where(found | ok, low, tried)
        found |= ok
        count = 2 * count
    while bool((found & (high - low > 1)).any()):
        middle = (low + high) // 2
        ok = works(middle)
        high, low = torch.where(found & ok, middle, high), torch.where(found & ~ok, middle, low)
    return high, found
