"""What attacks that are played in rounds share: the call.

Shapes: N images, C × H × W values of an image.
"""

from abc import abstractmethod

from torch import Tensor, nn

from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.inputs import attacked
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.result import AttackResult

__all__ = ["InRounds"]


class InRounds(Attack):
    """An attack that is played in rounds; a field `norm` picks among several NORMS."""

    kappa: float | Tensor

    @abstractmethod
    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Attack every example by `rounds`, and claim adversarial images; return the batch size that fitted."""

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
            rounds = Rounds(call, norm=norm, targeted=self.targeted, room=batch_size)
            batch_size = self.play(rounds, batch_size)
            kept = confirmed(
                call.victim,
                call.images,
                call.labels,
                rounds.least.isfinite(),
                rounds.nearest,
                kappa=call.kappa,
                targeted=self.targeted,
                batch_size=batch_size,
                epsilon=rounds.epsilon,
            )
        return AttackResult(
            kept={norm: kept},
            iterations=rounds.gradients,
            forward_passes=rounds.forwards + 1,
            computed=rounds.computed,
            nonfinite_gradients=rounds.nonfinite,
            found_by=rounds.found_by,
        )
