"""Minimum-norm attacks: walks of a fixed number of queries, which keep the nearest adversarial image that they meet.

Such an attack walks back and forth across the decision boundary, so each query counts, and not the last one alone.

Shapes: N images, B rows of a batch, K classes, C × H × W values of an image.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.engine.checks import per_example
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.inputs import attacked
from eadbench.attacks.engine.precision import exact_model, gradient_precision
from eadbench.attacks.result import AttackResult

__all__ = ["Answer", "Queries", "nearest"]

ROUNDING = 16
"""Units in the last place of the greatest logit by which a margin may differ in the last test, in another batch.

The nearest images lie on the decision boundary: without this, half of them would fail that test.
"""

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
        rounding = ROUNDING * torch.finfo(logits.dtype).eps * logits.detach().abs().amax(1)
        distance, adversarial = self.measure(x - self.images), succeeds(lead - rounding, self.kappa)
        nearer = adversarial & (distance < self.least)
        self.nearest[nearer], self.least = x[nearer], torch.where(nearer, distance, self.least)
        return Answer(lead, adversarial, distance, gradient.nan_to_num(0.0, 0.0, 0.0))


class Walker(Protocol):
    """An attack that queries a batch a fixed number of times."""

    @property
    def kappa(self) -> float | Tensor:
        """κ, the margin of a success."""

    @property
    def steps(self) -> int:
        """The queries of each example."""

    @property
    def targeted(self) -> bool:
        """Whether labels are classes to reach."""

    def walk(self, queries: Queries) -> None:
        """Query a batch `steps` times."""


def nearest(
    attack: Walker, model: nn.Module, images: Tensor, labels: Tensor, *, norm: str, batch_size: int
) -> AttackResult:
    """Attack every example by its walk, and keep the nearest adversarial image that it queried.

    Raises
    ------
    ValueError
        Wrong images, labels or κ, or a model that does not return logits.
    """
    with attacked(model, images, labels, batch_size, targeted=attack.targeted) as call:
        kappa = per_example("kappa", attack.kappa, call.images)
        candidates, least = call.images.clone(), torch.full_like(kappa, torch.inf)
        nonfinite = torch.zeros_like(call.labels)
        begin = 0
        while begin < len(call.images):
            part = slice(begin, begin + batch_size)
            queries = Queries(
                call.model, call.images[part], call.labels[part], kappa[part], norm=norm, targeted=attack.targeted
            )
            try:
                attack.walk(queries)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size = batch_size // 2
                continue
            candidates[part], least[part], nonfinite[part] = queries.nearest, queries.least, queries.nonfinite
            begin += batch_size
        kept = confirmed(
            call.model,
            call.images,
            call.labels,
            least.isfinite(),
            candidates,
            kappa=kappa,
            targeted=attack.targeted,
            batch_size=batch_size,
        )
        tests = 1 if exact_model(call.model) is call.model else 2
    steps = torch.full_like(call.labels, attack.steps)
    return AttackResult(
        kept={norm: kept},
        iterations=steps,
        forward_passes=tests * steps + 1,
        computed=attack.steps * len(call.images),
        nonfinite_gradients=nonfinite,
    )
