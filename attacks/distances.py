"""Distances between adversarial examples and their originals, per row."""

from collections.abc import Callable

import torch
from torch import Tensor


def l0(delta: Tensor) -> Tensor:
    """(B,) number of values of (B, ...) `delta` that differ from zero."""
    return (delta != 0).flatten(1).sum(1).to(delta.dtype)


def l1(delta: Tensor) -> Tensor:
    """(B,) sum of absolute values of (B, ...) `delta`."""
    return delta.abs().flatten(1).sum(1)


def l2_squared(delta: Tensor) -> Tensor:
    """(B,) sum of squares of (B, ...) `delta`."""
    return delta.square().flatten(1).sum(1)


def l2(delta: Tensor) -> Tensor:
    """(B,) Euclidean length of (B, ...) `delta`."""
    return l2_squared(delta).sqrt()


def linf(delta: Tensor) -> Tensor:
    """(B,) greatest absolute value of (B, ...) `delta`."""
    return delta.abs().flatten(1).amax(1)


NORMS = {"l0": l0, "l1": l1, "l2": l2, "linf": linf}
"""Distances by the names of their norms."""


def rows(values: Tensor) -> Tensor:
    """Return a number for each row (B,) as (B, 1, 1, 1)."""
    return values[:, None, None, None]


def unit(direction: Tensor, norm: Callable[[Tensor], Tensor] = l2) -> Tensor:
    """Scale each row of (B, C, H, W) to norm one; a row of zeros stays so."""
    largest = rows(linf(direction))
    direction = torch.where(largest > 0, direction / largest, 0)  # squares of tiny values would round to 0
    length = rows(norm(direction))
    return torch.where(length > 0, direction / length, 0)
