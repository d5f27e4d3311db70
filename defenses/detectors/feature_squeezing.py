"""Feature squeezing as a detector (Xu, Evans, Qi; NDSS 2018; arXiv 1704.01155).

Shapes: N images, C × H × W values of an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.defenses.detectors.detector import Detector, Fitted
from eadbench.defenses.squeezers import bit_depth, median, non_local_means, straight_through

__all__ = ["FeatureSqueezing"]


@dataclass(frozen=True, kw_only=True)
class FeatureSqueezing(Detector):
    """Reject an image whose probabilities change when it is squeezed: the greatest L1 distance over the squeezers.

    The defaults are the paper's joint detection: for grey images a depth of 1 bit and a median of 2 × 2 (MNIST); for
    coloured ones 5 bits, the same median, and non-local means 13-3-2 (CIFAR-10). For adaptive attacks, every squeezer
    has the gradient of the identity.

    Parameters
    ----------
    bits : int, optional
        Round values to 2 to this power of levels; by default 1 for grey images and 5 for coloured ones, 0 for not.
    median : int
        Side of the window whose median a value becomes; 0 for not.
    non_local : bool, optional
        Whether to average similar patches (search 13, patch 3, strength 2); by default for coloured images alone. It
        runs on the values of the channels, where OpenCV's runs on lightness and colour.
    images, false_positives, seed
        Training images that set the threshold; see :class:`Detector`.
    """

    LABEL: ClassVar[str] = "feature squeezing"
    LEARNS: ClassVar[bool] = False

    bits: int | None = None
    median: int = 2
    non_local: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits is not None and not 0 <= self.bits <= 8:
            raise ValueError(f"bits must be 0 to 8, got {self.bits}")
        if not 0 <= self.median <= 32 or self.median == 1:
            raise ValueError(f"median must be 0, or 2 to 32, got {self.median}")
        if self.bits == self.median == 0 and not self.non_local:
            raise ValueError("give bits, median or non_local")

    @property
    def differentiable(self) -> bool:
        """True, straight through the squeezers."""
        return True

    def passes(self, channels: int) -> int:
        """One of the image itself, and one of each squeezed image."""
        return 1 + len(self.squeezers(channels))

    def squeezers(self, channels: int) -> list[Callable[[Tensor], Tensor]]:
        """The squeezers of images of a number of channels."""
        bits = self.bits if self.bits is not None else 1 if channels == 1 else 5
        non_local = self.non_local if self.non_local is not None else channels > 1
        return [
            *([partial(bit_depth, bits=bits)] if bits else []),
            *([partial(median, size=self.median)] if self.median else []),
            *([non_local_means] if non_local else []),
        ]

    def score(self, model: nn.Module, images: Tensor, learnt: Fitted) -> Tensor:
        """Return maxᵢ ‖softmax f(x) - softmax f(squeezeᵢ(x))‖₁, in [0, 2]."""
        probabilities = model(images).softmax(1)
        distances = [
            (probabilities - model(straight_through(squeeze, images)).softmax(1)).abs().sum(1)
            for squeeze in self.squeezers(images.shape[1])
        ]
        return torch.stack(distances).amax(0)
