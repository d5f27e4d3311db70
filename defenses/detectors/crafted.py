"""Adversarial images of training images, and noisy images of the same L2 distance, for detectors that learn from them.

Shapes: X images, C × H × W values of an image.
"""

from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks import IFGM, distances

__all__ = ["adversarial", "noisy"]

EPSILONS = tuple(0.1 * 1.2**i for i in range(30))
"""Radii that I-FGM tries; the greatest is 20."""


def adversarial(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Attack training images (X, C, H, W) by untargeted I-FGM in L2.

    Returns
    -------
    tuple of Tensor
        Originals and adversarial images (S, C, H, W) of the S images that are classified correctly and can be attacked.

    Raises
    ------
    ValueError
        None of them can.
    """
    right = torch.cat([model(part).argmax(1) for part in torch.split(images, 256)]) == labels
    images, labels = images[right], labels[right]
    chosen: Any = IFGM
    kept = chosen(norm="l2", epsilons=EPSILONS, targeted=False)(model, images, labels)["l2"]
    moved = kept.success & (kept.l2 > 0)
    if not moved.any():
        raise ValueError("no training image of the victim can be attacked by I-FGM, so there is nothing to learn from")
    return images[moved], kept.images[moved]


def noisy(originals: Tensor, adversarial: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to images, as far from each in L2 as its adversarial image is, before clipping to [0, 1]."""
    noise = torch.randn(originals.shape, generator=generator).to(originals)
    length = distances.l2(adversarial - originals) / distances.l2(noise)
    return (originals + noise * length[:, None, None, None]).clamp(0, 1)
