"""Squeezers of images: feature squeezing (Xu, Evans, Qi; NDSS 2018; arXiv 1704.01155), and JPEG (Dziugaite, Ghahramani,
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
from torch.nn.functional import avg_pool2d

__all__ = ["bit_depth", "jpeg", "median", "non_local_means", "straight_through"]


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


def non_local_means(images: Tensor, search: int = 13, patch: int = 3, strength: float = 2.0) -> Tensor:
    """Replace every pixel by a mean of those around it, weighted by how alike their patches are (Buades et al. 2005).

    A pixel weighs exp(-d² / h²): d² is the mean square difference of two patches over their values in all channels, and
    h is `strength` of 255 levels. The window of `search` × `search` pixels is mirrored at the edges.
    """
    reach, side = search // 2, patch // 2
    rows, columns = (
        _mirrored(torch.arange(-reach - side, length + reach + side, device=images.device), length)
        for length in images.shape[2:]
    )
    framed = images[:, :, rows][..., columns]
    height, width = images.shape[2] + 2 * side, images.shape[3] + 2 * side
    own = framed[:, :, reach : reach + height, reach : reach + width]
    total, weights = torch.zeros_like(images), torch.zeros_like(images[:, :1])
    for y in range(search):
        for x in range(search):
            other = framed[:, :, y : y + height, x : x + width]
            square = avg_pool2d((own - other).square().mean(1, keepdim=True), patch, stride=1)
            weight = (-square / (strength / 255) ** 2).exp()
            weights += weight
            total += weight * other[:, :, side : height - side, side : width - side]
    return total / weights


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
