"""Adversarial training by projected gradient descent: Madry et al., "Towards Deep Learning Models Resistant to
Adversarial Attacks" (ICLR 2018), equation 2.1.

An untargeted PGD attack on the current weights replaces each batch by adversarial examples. It starts at random in
the ε-ball and takes steps along the sign of the loss's gradient (L2: its direction; L1: the signs of its greatest
hundredth), projected to the ball and to [0, 1]. The network is attacked in eval mode: otherwise dropout's noise would
hide the gradient, and the attack's passes would enter batch normalisation's statistics.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from eadbench.defenses.in_ball import InBall, Norm

__all__ = ["PGDTraining"]


@dataclass(frozen=True, kw_only=True)
class PGDTraining(InBall):
    """Training on examples of projected gradient descent (Madry et al. 2018).

    With `training.held_out`, the weights of the epoch with the best robust accuracy on the held-out images are kept
    (Rice et al. 2020): the share of them that are right, and stay so under the same attack.

    Parameters
    ----------
    norm
        "linf", "l2" or "l1".
    epsilon
        Radius of the ball, for images in [0, 1].
    steps
        Gradient steps per example.
    step_size
        Length of a step; 2.5 ε / `steps` by default.
    """

    LABEL: ClassVar[str] = "PGD training"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon",)

    norm: Norm = "linf"
    epsilon: float
    steps: int
    step_size: float | None = None

    def perturb(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Attack `images` (B, C, H, W) in [0, 1] within ε; the start is drawn from torch's global random state."""
        return self.attack(model, images, labels)
