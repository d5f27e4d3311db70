"""Projections of perturbations (B, C, H, W) to balls of radius (B,) by the Euclidean distance; shrinkage."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

__all__ = ["PROJECTIONS", "l0", "l1", "l1_in_box", "l2", "linf", "shrink"]


def l0(delta: Tensor, radius: Tensor) -> Tensor:
    """Keep the ⌊radius⌋ values of greatest magnitude, the first of equal ones."""
    flat = delta.flatten(1)
    order = flat.abs().argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    return torch.where(rank < radius.floor()[:, None], flat, 0).view_as(delta)


def l1(delta: Tensor, radius: Tensor) -> Tensor:
    """Shrink every value by the least threshold that is enough (Duchi et al. 2008, figure 1)."""
    flat = delta.flatten(1)
    sizes = flat.abs().sort(dim=1, descending=True).values
    # The threshold is (Σ of the j greatest - radius) / j for the last j whose value is above it.
    counts = torch.arange(1, sizes.shape[1] + 1, device=delta.device, dtype=delta.dtype)
    thresholds = (sizes.cumsum(1) - radius[:, None]) / counts
    above = (sizes > thresholds).sum(1, keepdim=True).clamp(min=1) - 1
    threshold = thresholds.gather(1, above).clamp(min=0)
    return (flat - flat.clamp(-threshold, threshold)).view_as(delta)


def l1_in_box(delta: Tensor, radius: Tensor, images: Tensor) -> Tensor:
    """Project to the part of the L1 ball in which `images` + δ lies in [0, 1] (Croce & Hein 2021, proposition 3.1).

    Every value shrinks by one threshold λ and is then clipped: |zᵢ| = min(max(|δᵢ| - λ, 0), roomᵢ). The sum of these is
    piecewise linear in λ. Its slope changes at |δᵢ| and at |δᵢ| - roomᵢ.
    """
    size = delta.abs().flatten(1)
    room = torch.where(delta > 0, 1 - images, images).flatten(1)
    kinks, order = torch.cat([size, size - room], 1).double().sort(dim=1, descending=True)
    turns = torch.where(order < size.shape[1], 1.0, -1.0).to(kinks)
    slopes, moments = turns.cumsum(1), (turns * kinks).cumsum(1)
    sums = moments - kinks * slopes
    # λ lies between the last kink whose sum is below the radius and the next; a sum grows as λ falls.
    last = ((sums < radius[:, None]).sum(1, keepdim=True) - 1).clamp(min=0)
    slope = slopes.gather(1, last).clamp(min=1)
    threshold = ((moments.gather(1, last) - radius[:, None]) / slope).clamp(min=0).to(size)
    sizes = torch.minimum((size - threshold).clamp(min=0), room)
    return (delta.flatten(1).sign() * sizes).view_as(delta)


def l2(delta: Tensor, radius: Tensor) -> Tensor:
    """Scale rows that are outside."""
    length = delta.flatten(1).norm(dim=1)
    scale = torch.where(length > radius, radius / length, 1)
    return delta * scale[:, None, None, None]


def linf(delta: Tensor, radius: Tensor) -> Tensor:
    """Clip every value."""
    radius = radius[:, None, None, None]
    return delta.clamp(-radius, radius)


PROJECTIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"l0": l0, "l1": l1, "l2": l2, "linf": linf}
"""Projections by the names of their norms."""


def shrink(z: Tensor, origin: Tensor, threshold: Tensor) -> Tensor:
    """S_β, the projected shrinkage-thresholding of equation 8.

    Move each value of `z` towards `origin` by `threshold`, but not past it, and clip it to [0, 1].
    """
    delta = z - origin
    return (origin + (delta - torch.clamp(delta, -threshold, threshold))).clamp(0, 1)
