"""Checks of what an attack is given; each mistake is one line that names the value and what would be right."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def check_inputs(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """Check the arguments of an attack; return the labels as int64.

    Runs the model once, on the first image.

    Raises
    ------
    ValueError
        A batch size below 1, images that are not (N, C, H, W) floats in [0, 1], labels that are not (N,) classes,
        or a model that does not return logits (N, K).
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be a float tensor (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be an integer tensor ({len(images)},), got {labels.dtype} {tuple(labels.shape)}")
    if not len(images):
        return labels.long()
    if not (images.amin() >= 0 and images.amax() <= 1):
        raise ValueError(f"images must lie in [0, 1], got [{images.amin():.4g}, {images.amax():.4g}]")
    logits = model(images[:1].clone())
    if logits.ndim != 2 or logits.shape[0] != 1 or logits.shape[1] < 2:
        raise ValueError(f"the model must return logits (1, K >= 2) for one image, got {tuple(logits.shape)}")
    if labels.amin() < 0 or labels.amax() >= logits.shape[1]:
        raise ValueError(f"labels must be in 0..{logits.shape[1] - 1}, got {labels.amin()}..{labels.amax()}")
    return labels.long()


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
