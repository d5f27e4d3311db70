"""C&W's L2 attack for a budget of passes: the loss and the change of variable of Carlini & Wagner (2017).

Shapes: B rows of a batch, C × H × W values of an image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows
from eadbench.attacks.engine.adam import Adam
from eadbench.attacks.engine.checks import check_not_negative, check_steps
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm

INSIDE = 1 - 1e-6
"""Images are shrunk towards grey by this factor before arctanh, so that pixels at exactly 0 or 1 can move."""


@dataclass(frozen=True, kw_only=True)
class BudgetedCarliniWagner(MinimumNorm):
    """Minimise c·f(x, t) + ‖x - x₀‖₂² under x = (tanh(w) + 1)/2, over w by Adam, and keep the nearest query.

    What differs from the published search, and what it is for:

    - Adam's learning rate falls to 0 as a cosine, so that every search step settles.
    - c starts in units of 1/‖∇f(x₀)‖₂, and so does not depend on the scale of the logits.
    - Within a search step, c falls by a fixed factor in each iteration at which x⁽ᵏ⁾ succeeds, and rises by it where
      x⁽ᵏ⁾ fails. Between the steps it is bisected.
    - Every search step but the first starts at the nearest image found, and not at x₀.

    Parameters
    ----------
    steps : int
        Gradient evaluations of each example; on a budget, half of it by default.
    searches : int
        Search steps over c, of equally many iterations.
    learning_rate : float
        Adam's first learning rate.
    initial_const : float
        The first c, in units of 1/‖∇f(x₀)‖₂.
    adaptation : float
        c changes by the factor exp(±adaptation/I) in each of the I iterations of a search step.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "C&W"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.1
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 200}

    steps: int = 1000
    searches: int = 2
    learning_rate: float = 0.1
    initial_const: float = 1.0
    adaptation: float = 16.0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        if not 1 <= self.searches <= self.steps:
            raise ValueError(f"searches must be from 1 to the number of steps, {self.steps}, got {self.searches}")
        check_not_negative("adaptation", self.adaptation)
        for name in ("learning_rate", "initial_const"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def walk(self, queries: Queries) -> None:
        """Search over c, every step from the nearest image found so far."""
        const: Tensor | None = None
        lower, upper = torch.zeros_like(queries.kappa), torch.full_like(queries.kappa, UNBOUNDED)
        for search in range(self.searches):
            iterations = self.steps * (search + 1) // self.searches - self.steps * search // self.searches
            w, adam = torch.atanh((2 * queries.nearest - 1) * INSIDE), Adam(queries.images)
            succeeded = torch.zeros_like(queries.found)
            for k in range(iterations):
                x = torch.sigmoid(2 * w)  # (tanh(w) + 1) / 2
                answer = queries(x, lambda _, margin: -margin)
                succeeded |= answer.adversarial
                if const is None:
                    const = self.initial_const / distances.l2(answer.gradient).clamp(min=1e-12)
                push = torch.where(rows(answer.adversarial), 0, rows(const) * answer.gradient)
                mean, root = adam.update((push + 2 * (x - queries.images)) * 2 * x * (1 - x))
                w = w - self.learning_rate * (1 + math.cos(math.pi * k / iterations)) / 2 * mean / root
                factor = math.exp(self.adaptation / iterations)
                const = torch.where(answer.adversarial, const / factor, const * factor)
            assert const is not None
            const, lower, upper = next_const(const, lower, upper, succeeded)
