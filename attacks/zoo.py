"""ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep Neural Networks without Training Substitute Models
(Chen, Zhang, Sharma, Yi, Hsieh; AISec 2017; arXiv 1708.03999).

Shape letters: N examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor

from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.engine.search import Search
from eadbench.attacks.in_rounds import InRounds
from eadbench.attacks.zoo_descent import Descent, ReducedDescent


@dataclass(frozen=True, kw_only=True)
class ZOO(InRounds):
    """Minimise ‖x - x₀‖₂² + c·f(x, t) by Adam on a few coordinates at a time, whose slopes are differences of queries.

    It sees the model's outputs alone. f is C&W's loss of log-probabilities, max(max_{j ≠ t} log Fⱼ - log Fₜ, -κ), in
    which the normalisation of F cancels. Queries stay in [0, 1]: where x + h or x - h would not, the difference is
    one-sided.

    For large images the paper has a smaller attack space, whose perturbations are resized to the image: on ImageNet
    `size: 32`, `grow_at: [2000, 10000]` and `importance: true`.

    Parameters
    ----------
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    learning_rate : float
        Adam's learning rate.
    binary_search_steps : int
        Number of search steps over c.
    max_iterations : int
        I, the iterations of one search step: 3,000 on MNIST, 1,000 on CIFAR-10.
    initial_const : float
        The first c.
    abort_early : bool
        End a search step if its loss fell by less than 0.01 % over a tenth of the iterations.
    coordinates : int
        Coordinates of a step, drawn afresh each time; two queries each, beside one at x.
    h : float
        h, half of the symmetric difference.
    size : int, optional
        Side of the attack space, whose perturbations are enlarged to the image by bilinear interpolation; by default,
        the image's own. Images outside of [0, 1] are clipped.
    grow_at : sequence of int
        Iterations after which the side of the attack space doubles, as far as the image's; Adam starts again.
    importance : bool
        Once the attack space has grown, draw coordinates by the greatest change in their region of 8 × 8, and not all
        alike.
    seed : int
        Seed of the draws.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "ZOO"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.1
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "binary_search_steps": 3,
        "max_iterations": 40,
        "initial_const": 0.3,
        "learning_rate": 0.03,
        "h": 1e-3,
    }

    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 3000
    initial_const: float = 1e-2
    abort_early: bool = True
    coordinates: int = 128
    h: float = 1e-4
    size: int | None = None
    grow_at: Sequence[int] = ()
    importance: bool = False
    seed: int = 0
    targeted: bool = True

    def __post_init__(self) -> None:
        Search.from_attack(self)
        if self.coordinates < 1:
            raise ValueError(f"coordinates must be at least 1, got {self.coordinates}")
        if not 0 < self.h < 1:
            raise ValueError(f"h must be in (0, 1), got {self.h}")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size must be at least 1, got {self.size}")
        if any(early >= late for early, late in pairwise([0, *self.grow_at])):
            raise ValueError(f"grow_at must ascend from above 0, got {list(self.grow_at)}")
        if self.grow_at and self.size is None:
            raise ValueError("grow_at needs a size that the attack space grows from")
        if self.importance and not self.grow_at:
            raise ValueError("importance needs grow_at: it follows what a smaller attack space has changed")

    @property
    def most_passes(self) -> int:
        """The queries of all iterations, and the last test."""
        return self.binary_search_steps * self.max_iterations * (2 * self.coordinates + 1) + 1

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithms 1 and 2 on every example, by every c."""
        descent = Descent(self, rounds) if self.size is None else ReducedDescent(self, rounds)
        rounds.repeat(descent.step, max(1, batch_size // (2 * descent.count + 1)))
        return rounds.room
