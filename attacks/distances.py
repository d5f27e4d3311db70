"""Distances between adversarial examples and their originals, per row."""

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
