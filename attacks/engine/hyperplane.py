"""The least step from a point of [0, 1]ᵖ to a hyperplane that stays in [0, 1]ᵖ (Croce & Hein 2020, "Minimally distorted
adversarial examples with a fast adaptive boundary attack", equation 5 and section 2.2).

Every value moves towards the hyperplane by mᵢ, at most by its room to 0 or 1, and gains |wᵢ|·mᵢ. Where even the corner
of the box falls short of the hyperplane, the step ends there.

Shapes: B rows, C × H × W = P values of an image.
"""

import torch
from torch import Tensor

__all__ = ["step_to_hyperplane"]


def step_to_hyperplane(x: Tensor, w: Tensor, gap: Tensor, norm: str) -> Tensor:
    """(B, C, H, W) d: the least step, in `norm`, with ⟨w, d⟩ = gap and x + d in [0, 1]ᵖ; 0 where w is 0.

    Parameters
    ----------
    x : Tensor
        (B, C, H, W) in [0, 1].
    w : Tensor
        (B, C, H, W) normals.
    gap : Tensor
        (B,) of any sign.
    norm : "l1", "l2" or "linf"
        The norm of the step.
    """
    normal = (w * torch.where(gap < 0, -1.0, 1.0).to(w)[:, None, None, None]).flatten(1).double()
    point, slope, gap = x.flatten(1).double(), normal.abs(), gap.abs().double()
    room = torch.where(normal > 0, 1 - point, point)
    if norm == "l1":
        moved = _steepest_first(slope, room, gap)
    elif norm == "l2":
        moved = torch.minimum(_level(slope.square(), room / slope.clamp(min=1e-300), gap)[:, None] * slope, room)
    else:
        moved = torch.minimum(_level(slope, room, gap)[:, None], room)
    step: Tensor = torch.where(slope > 0, normal.sign() * moved, 0).view_as(x).to(x)
    return step


def _level(weight: Tensor, most: Tensor, wanted: Tensor) -> Tensor:
    """(B,) the λ with Σᵢ weightᵢ · min(λ, mostᵢ) = wanted, or the greatest of `most` (B, P) if that falls short."""
    most = torch.where(weight > 0, most, 0)
    kinks, order = most.sort(dim=1)
    weight = weight.gather(1, order)
    above = weight.flip(1).cumsum(1).flip(1)  # of the values that still move at each kink
    sums = (weight * kinks).cumsum(1) - weight * kinks + above * kinks
    at = (sums < wanted[:, None]).sum(1, keepdim=True)
    last = at.clamp(max=weight.shape[1] - 1)
    base = ((weight * kinks).cumsum(1) - weight * kinks).gather(1, last)
    level = (wanted[:, None] - base) / above.gather(1, last).clamp(min=1e-300)
    return torch.where(at < weight.shape[1], level, kinks[:, -1:]).squeeze(1)


def _steepest_first(slope: Tensor, room: Tensor, wanted: Tensor) -> Tensor:
    """(B, P) values moved as far as they go, those of the greatest slopes first, until Σ slopeᵢ · mᵢ = wanted."""
    order = slope.argsort(dim=1, descending=True, stable=True)
    steep, rooms = slope.gather(1, order), room.gather(1, order)
    gains = steep * rooms
    left = wanted[:, None] - (gains.cumsum(1) - gains)  # before each value moves
    moved = torch.minimum((left / steep.clamp(min=1e-300)).clamp(min=0), rooms)
    return torch.zeros_like(slope).scatter(1, order, moved)
