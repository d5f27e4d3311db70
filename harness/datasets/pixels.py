"""Check the images that a data set gives: their type, shape and range."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from eadbench.harness.errors import UserError

__all__ = ["checked_pixels"]

ROUNDING = 4 * torch.finfo(torch.float32).eps
"""How far a value may lie outside [0, 1]; it is then clamped."""


def checked_pixels(images: Tensor, indices: Sequence[int], shape: tuple[int, int, int] | None, what: str) -> Tensor:
    """Return images as float32 (n, C, H, W) in [0, 1].

    Parameters
    ----------
    images
        uint8 in 0..255, or floats of any width in [0, 1]. Values outside by rounding are clamped.
    indices
        The n indices of the images.
    shape
        (C, H, W) that they must have; None allows any.
    what
        What messages call an image; its index follows.

    Raises
    ------
    UserError
        An image has another shape or type, or values that are not in [0, 1].
    """
    images = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
    first = f"{what} {indices[0]}" if len(indices) else what
    if not isinstance(images, Tensor):
        raise UserError(f"{first} is of the type {type(images).__name__}; `read` must return a tensor (n, C, H, W)")
    if images.ndim != 4 or len(images) != len(indices):
        right = f"({len(indices)}, C, H, W)"
        raise UserError(f"{first}: `read` must return {right} for {len(indices)} indices, got {tuple(images.shape)}")
    if shape is not None and tuple(images.shape[1:]) != tuple(shape):
        raise UserError(f"{first} has the shape {tuple(images.shape[1:])}, while the data set has {tuple(shape)}")
    if images.dtype == torch.uint8:
        return images.float().div_(255)
    if not images.is_floating_point():
        raise UserError(f"{first} is of the type {images.dtype}; images must be uint8 in 0..255, or floats in [0, 1]")
    return _in_unit_range(images.float(), indices, what)


def _in_unit_range(images: Tensor, indices: Sequence[int], what: str) -> Tensor:
    """Return float32 images, clamped where they lie outside [0, 1] by rounding."""
    if not images.numel():
        return images
    low, high = images.aminmax()  # a NaN anywhere makes both NaN
    if low >= 0 and high <= 1:
        return images
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return images.clamp(0, 1)
    outside = ~((images >= -ROUNDING) & (images <= 1 + ROUNDING)).flatten(1).all(1)
    position = int(outside.nonzero()[0])
    least, most = images[position].aminmax()
    values = f"values from {least:.9g} to {most:.9g}" if torch.isfinite(most - least) else "NaN or infinite values"
    raise UserError(f"{what} {indices[position]} has {values}; images must lie in [0, 1]")
