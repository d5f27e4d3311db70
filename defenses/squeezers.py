"""Squeezers of images: Feature Squeezing (Xu, Evans, Qi; NDSS 2018; arXiv 1704.01155), and JPEG (Dziugaite, Ghahramani,
Roy 2016; arXiv 1608.00853).

Each maps images (N, C, H, W) in [0, 1] to images. None has a gradient worth following: see :func:`straight_through`.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

__all__ = ["bit_depth", "jpeg", "median", "straight_through"]


def bit_depth(images: Tensor, bits: int) -> Tensor:
    """Round every value to one of 2ᵇ levels, 0 and 1 among them."""
    levels = 2**bits - 1
    rounded: Tensor = (images * levels).round() / levels
    return rounded


def median(images: Tensor, size: int) -> Tensor:
    """Replace every value by the median of `size` × `size` around it, mirrored at the edges.

    As in SciPy's `median_filter`, which Xu et al. use: an even window reaches further up and left, and has the upper
    of its two middle values.
    """
    before, after = size // 2, (size - 1) // 2
    width = torch.arange(-before, images.shape[3] + after, device=images.device)
    height = torch.arange(-before, images.shape[2] + after, device=images.device)
    framed = images[:, :, _mirrored(height, images.shape[2])][..., _mirrored(width, images.shape[3])]
    windows = framed.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    return windows.sort(4).values[..., size * size // 2]


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Compress and decompress every grey or RGB image by JPEG at a quality in 1..100, on the CPU."""
    pixels = (images.detach().cpu() * 255).round().to(torch.uint8).movedim(1, 3)
    squeezed = [_through_jpeg(image, quality) for image in pixels.squeeze(3).numpy()]
    return torch.stack(squeezed).view_as(pixels).movedim(3, 1).to(images) / 255


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> Tensor:
    """Compress and decompress the pixels (H, W) or (H, W, 3) of one image."""
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return torch.from_numpy(np.array(image))


def straight_through(squeeze: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Squeeze images, with the gradient of the identity (BPDA; Athalye, Carlini, Wagner 2018)."""
    with torch.no_grad():
        squeezed = squeeze(images)
    return images + (squeezed - images).detach()


def _mirrored(index: Tensor, length: int) -> Tensor:
    """Return positions on a line as those of its pixels, mirrored at the edges: -1 is 0, -2 is 1."""
    index = index % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
