"""Ensembles: several networks that are attacked as one.

Shape letters: M members, N images, K classes.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Ensemble"]


class Ensemble(nn.Module):
    """Several networks as one, whose probabilities are the mean of theirs (Liu et al. 2017, section 5, αᵢ = 1/M).

    Its logits are the logarithm of that mean, so that its cross-entropy is -log Σ αᵢ·softmaxᵢ.

    Parameters
    ----------
    members
        M networks that map images (N, C, H, W) to logits (N, K).
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K)."""
        logarithms = torch.stack([member(images).log_softmax(1) for member in self.members])
        return logarithms.logsumexp(0) - math.log(len(self.members))
