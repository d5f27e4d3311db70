"""Squeezing in front of a network: bit depth, median and JPEG, attacked through the identity's gradient."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from eadbench.defenses.squeezers import bit_depth, jpeg, median, straight_through
from eadbench.defenses.undefended import Undefended

__all__ = ["Squeezed"]


@dataclass(frozen=True, kw_only=True)
class Squeezed(Undefended):
    """Images are squeezed before the network: the median first, then the bit depth, then JPEG, as far as given.

    The network is trained as usual. Attacks run through the squeezing: the forward pass squeezes, and the gradient is
    that of the identity (BPDA), since none of the squeezers has one.

    Parameters
    ----------
    bits
        Round values to 2 to this power of levels.
    median
        Side of the window whose median a value becomes.
    quality
        Quality of JPEG, 1 to 100.
    """

    LABEL: ClassVar[str] = "squeezed"
    AXES: ClassVar[tuple[str, ...]] = ("bits", "median", "quality")

    bits: int | None = None
    median: int | None = None
    quality: int | None = None

    def __post_init__(self) -> None:
        limits = {"bits": (1, 8), "median": (2, 32), "quality": (1, 100)}
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be {least} to {most}, got {value}")
        if self.bits is self.median is self.quality is None:
            raise ValueError("give bits, median or quality")

    def wrap(self, model: nn.Module) -> nn.Module:
        """The network behind the squeezers."""
        return Behind(self, model)

    def squeeze(self, images: Tensor) -> Tensor:
        """Squeeze images (N, C, H, W) in [0, 1]."""
        if self.median is not None:
            images = median(images, self.median)
        if self.bits is not None:
            images = bit_depth(images, self.bits)
        return images if self.quality is None else jpeg(images, self.quality)


class Behind(nn.Module):
    """A network whose images are squeezed first."""

    def __init__(self, squeezed: Squeezed, network: nn.Module) -> None:
        super().__init__()
        self.squeezed, self.network = squeezed, network

    def forward(self, images: Tensor) -> Tensor:
        """The logits (N, K)."""
        logits: Tensor = self.network(straight_through(self.squeezed.squeeze, images))
        return logits
