"""What minimum-norm attacks share: the call, and the bound of their passes."""

from torch import Tensor, nn

from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.engine.walk import Queries, nearest
from eadbench.attacks.result import AttackResult

__all__ = ["MinimumNorm"]


class MinimumNorm(Attack):
    """An attack that keeps the nearest adversarial image of its queries; a field `norm` picks among several NORMS."""

    steps: int
    kappa: float | Tensor

    @property
    def most_passes(self) -> int:
        """Forward and backward in each step, and a last test; a test more in each step in lower precision."""
        return 3 * self.steps + 1

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        norm = getattr(self, "norm", self.NORMS[0])
        return nearest(self, model, images, labels, norm=norm, batch_size=batch_size)

    def walk(self, queries: Queries) -> None:
        """Query a batch `steps` times."""
        raise NotImplementedError
