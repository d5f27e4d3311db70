"""Checks of hyperparameters; each mistake is one line that names the value and what would be right."""

from collections.abc import Sequence

import torch
from torch import Tensor


def per_example(name: str, value: float | Tensor, images: Tensor) -> Tensor:
    """Expand `value`, a number or a tensor (N,), to a tensor (N,) of the images' type and device.

    Raises
    ------
    ValueError
        A tensor of another shape.
    """
    values = torch.as_tensor(value, dtype=images.dtype, device=images.device)
    if values.ndim and values.shape != images.shape[:1]:
        raise ValueError(f"{name} must be a number or a tensor ({len(images)},), got a tensor {tuple(values.shape)}")
    return values.expand(len(images))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Check that `value` is one of `choices`; raise a ValueError otherwise."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_not_negative(name: str, value: float | Tensor) -> None:
    """Check that a number, or every number of a tensor, is finite and at least 0; raise a ValueError otherwise."""
    values = torch.as_tensor(value)
    if not ((values >= 0) & values.isfinite()).all():
        raise ValueError(f"{name} must be finite and not negative, got {values.tolist()}")


def check_steps(steps: int) -> None:
    """Check that a number of steps is at least 1; raise a ValueError otherwise."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
