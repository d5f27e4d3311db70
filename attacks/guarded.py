"""A victim behind a detector, for attacks that know the detector (Carlini & Wagner 2017a, arXiv 1705.07263).

Shapes: B rows, K classes.
"""

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["Guarded"]


class Guarded(nn.Module):
    """A victim that rejects some images. An attack on it succeeds with images that fool it and that it accepts.

    EAD, C&W and COV minimise c·(f(x, t) + :meth:`penalty`) + β‖δ‖₁ + ‖δ‖₂². Other attacks take it for the victim alone.

    Parameters
    ----------
    victim : nn.Module
        Images (B, C, H, W) in [0, 1] to logits (B, K).
    excess : callable
        Images to (B,) the detector's score less its threshold, with gradients; above 0 an image is rejected.
    weight : float
        Weight of the excess beside f.
    passes : int
        Forward passes of the victim that `excess` takes on an image.
    """

    def __init__(
        self, victim: nn.Module, excess: Callable[[Tensor], Tensor], *, weight: float = 1.0, passes: int = 0
    ) -> None:
        super().__init__()
        if not 0 < weight < float("inf"):
            raise ValueError(f"weight must be above 0 and finite, got {weight}")
        self.victim, self.excess, self.weight, self.passes = victim, excess, weight, passes

    def forward(self, images: Tensor) -> Tensor:
        """Return the victim's logits (B, K)."""
        logits: Tensor = self.victim(images)
        return logits

    def penalty(self, images: Tensor) -> Tensor:
        """(B,) weight · max(score - threshold, 0): 0 where an image is accepted."""
        return self.weight * self.excess(images).to(images.dtype).clamp(min=0)
