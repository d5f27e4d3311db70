"""Random draws that depend on an example alone, so that its row is the same in any batch and at any time."""

from hashlib import blake2b

import torch
from torch import Tensor

__all__ = ["generator", "seeds_of"]


def seeds_of(images: Tensor, labels: Tensor, seed: int) -> list[int]:
    """Return a seed for each example (N,): a hash of its image (C, H, W), its label and an attack's `seed`."""
    names = [f"{seed} {label}".encode() for label in labels.tolist()]
    pixels = images.detach().float().cpu().numpy()
    digests = [blake2b(image.tobytes() + name) for image, name in zip(pixels, names, strict=True)]
    return [int.from_bytes(digest.digest()[:7]) for digest in digests]


def generator(seed: int, index: int) -> torch.Generator:
    """Return the random state of an example's draw number `index`."""
    return torch.Generator().manual_seed((seed + index) % 2**63)
