"""The queries of a minimum-norm attack, and the nearest adversarial image among them.

Such an attack walks back and forth across the decision boundary, so each query counts, and not the last one alone.

Shapes: B rows of a batch, K classes, C × H × W values of an image.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.ledger import rounding_of
from eadbench.attacks.engine.precision import exact_model, gradient_precision
from eadbench.attacks.engine.progress import tick

__all__ = ["Answer", "Queries"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, K), margins (B,)) to a loss for each row (B,)."""


class Answer(NamedTuple):
    """What one query tells."""

    margin: Tensor
    """(B,) the lead of the class to reach, or of another class over the one to leave."""
    adversarial: Tensor
    """(B,) bool: the margin is at least κ, by more than the logits' rounding."""
    distance: Tensor
    """(B,) the distance of the query from the image."""
    gradient: Tensor
    """(B, C, H, W) the gradient of the loss; 0 where it is not finite."""


class Queries:
    """A batch of examples, and the nearest adversarial image that each has queried.

    Parameters
    ----------
    model
        Images to logits.
    images, labels, kappa
        (B, C, H, W) in [0, 1], (B,) and (B,).
    norm
        A key of :data:`eadbench.attacks.distances.NORMS`.
    targeted
        Whether labels are classes to reach, or classes to leave.
    """

    def __init__(
        self, model: nn.Module, images: Tensor, labels: Tensor, kappa: Tensor, *, norm: str, targeted: bool
    ) -> None:
        self.model, self.exact_model = model, exact_model(model)
        self.images, self.labels, self.kappa, self.targeted = images, labels, kappa, targeted
        self.measure = distances.NORMS[norm]
        self.nearest = images.clone()
        self.nonfinite = torch.zeros_like(labels)
        """(B,) gradients with a value that is not finite."""
        self.least = torch.full_like(kappa, torch.inf)
        """(B,) the distance of `nearest`; infinite before a query is adversarial."""
        self.greatest = self.measure(torch.maximum(images, 1 - images))
        """(B,) the distance of the furthest corner of [0, 1]ᵖ."""

    @property
    def found(self) -> Tensor:
        """(B,) bool: an adversarial image is known."""
        return self.least.isfinite()

    def __call__(self, x: Tensor, loss: Loss) -> Answer:
        """Query every row at `x` (B, C, H, W): one forward and one backward pass."""
        tick()
        x = x.detach().requires_grad_()
        with torch.enable_grad(), gradient_precision(self.model):
            logits: Tensor = self.model(x)
            lead = margin(logits, self.labels, targeted=self.targeted)
            (gradient,) = torch.autograd.grad(loss(logits, lead).sum(), x)
        x = x.detach()
        self.nonfinite += ~gradient.flatten(1).sum(1).isfinite()
        if self.exact_model is not self.model:
            logits = self.exact_model(x)
        lead = margin(logits.detach(), self.labels, targeted=self.targeted)
        distance, adversarial = self.measure(x - self.images), succeeds(lead - rounding_of(logits.detach()), self.kappa)
        nearer = adversarial & (distance < self.least)
        self.nearest[nearer], self.least = x[nearer], torch.where(nearer, distance, self.least)
        return Answer(lead, adversarial, distance, gradient.nan_to_num(0.0, 0.0, 0.0))
