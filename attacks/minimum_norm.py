"""What minimum-norm attacks share: the call, and the bound of their passes.

Shapes: N images, C × H × W values of an image.
"""

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.inputs import attacked
from eadbench.attacks.engine.ledger import Spent
from eadbench.attacks.engine.precision import exact_model
from eadbench.attacks.engine.progress import begin_part
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.result import AttackResult

__all__ = ["MinimumNorm"]


class MinimumNorm(Attack):
    """An attack that keeps the nearest adversarial image of its queries; a field `norm` picks among several NORMS."""

    DEFAULT_RULES: ClassVar[tuple[str, ...]] = ()

    steps: int
    kappa: float | Tensor

    @classmethod
    def defaults_within(cls, budget: int) -> Mapping[str, Any]:
        """Take as many steps as a budget pays for, at a forward and a backward pass each."""
        return {"steps": max(1, budget // 2)}

    @property
    def most_passes(self) -> int:
        """Forward and backward in each step, and a last test; a test more in each step in lower precision."""
        return 3 * self.steps + 1

    @abstractmethod
    def walk(self, queries: Queries) -> None:
        """Query a batch `steps` times."""

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time.

        Raises
        ------
        ValueError
            Wrong images, labels or κ, or a model that does not return logits.
        """
        norm = getattr(self, "norm", self.NORMS[0])
        with attacked(model, images, labels, batch_size, targeted=self.targeted, kappa=self.kappa) as call:
            kappa, examples = call.kappa, torch.arange(len(call.images), device=call.images.device)
            candidates, least = call.images.clone(), torch.full_like(kappa, torch.inf)
            nonfinite = torch.zeros_like(call.labels)
            begin = 0
            while begin < len(call.images):
                part = slice(begin, begin + batch_size)
                begin_part(begin, batch_size, len(call.images), ticks=self.steps)
                queries = Queries(
                    call.model, call.images[part], call.labels[part], kappa[part], norm=norm, targeted=self.targeted
                )
                call.serve(examples[part])
                try:
                    with suppress(Spent):
                        self.walk(queries)
                except torch.OutOfMemoryError:
                    if batch_size == 1:
                        raise
                    call.forget(examples[part])
                    batch_size = batch_size // 2
                    continue
                candidates[part], least[part], nonfinite[part] = queries.nearest, queries.least, queries.nonfinite
                begin += batch_size
            kept = confirmed(
                call.victim,
                call.images,
                call.labels,
                least.isfinite(),
                candidates,
                kappa=kappa,
                targeted=self.targeted,
                batch_size=batch_size,
            )
            tests = 1 if exact_model(call.victim) is call.victim else 2
        steps = torch.full_like(call.labels, self.steps)
        return AttackResult(
            kept={norm: kept},
            iterations=steps,
            forward_passes=tests * steps + 1,
            computed=self.steps * len(call.images),
            nonfinite_gradients=nonfinite,
        )
