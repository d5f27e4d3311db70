"""Refusals: a user's mistake is one line that says what was given and what would be right."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def check_inputs(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """The labels as int64, once images, labels and what the model makes of the first image are as attacks need them.

    Raises
    ------
    ValueError
        A batch size below 1, images that are not (N, C, H, W) floats in [0, 1], labels that are not (N,) classes,
        or a model that does not return logits (N, K); in one line, with what was given.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be a float tensor (N, C, H, W), got {images.dtype} {tuple(images.shape)}")
    if labels.shape != images.shape[:1] or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(
            f"targets must be an integer tensor ({len(images)},), got {labels.dtype} {tuple(labels.shape)}"
        )
    if not len(images):
        return labels.long()
    if not (images.amin() >= 0 and images.amax() <= 1):
        raise ValueError(f"images must lie in [0, 1], got [{images.amin():.4g}, {images.amax():.4g}]")
    logits = model(images[:1].clone())
    if logits.ndim != 2 or logits.shape[0] != 1 or logits.shape[1] < 2:
        raise ValueError(f"the model must return logits (1, K >= 2) for one image, got {tuple(logits.shape)}")
    if labels.amin() < 0 or labels.amax() >= logits.shape[1]:
        raise ValueError(f"targets must be in 0..{logits.shape[1] - 1}, got {labels.amin()}..{labels.amax()}")
    return labels.long()


def per_example(name: str, value: float | Tensor, images: Tensor) -> Tensor:
    """`value` as a tensor (N,) of the images' type and device.

    Raises
    ------
    ValueError
        A tensor of another length.
    """
    values = torch.as_tensor(value, dtype=images.dtype, device=images.device)
    if values.ndim and values.shape != images.shape[:1]:
        raise ValueError(f"{name} must be a number or a tensor ({len(images)},), got a tensor {tuple(values.shape)}")
    return values.expand(len(images))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a `value` that is none of `choices`.

    Raises
    ------
    ValueError
        In one line, with what was given.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_not_negative(name: str, value: float | Tensor) -> None:
    """Refuse a number, or a tensor that holds one, that is negative or not finite.

    Raises
    ------
    ValueError
        In one line, with what was given.
    """
    values = torch.as_tensor(value)
    if not ((values >= 0) & values.isfinite()).all():
        raise ValueError(f"{name} must be finite and not negative, got {values.tolist()}")
