"""EAD for a budget of passes: equation 7 of Chen et al. (2018), minimised by FISTA, with a search made for few passes.

Shapes: B rows of a batch, C × H × W values of an image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const
from eadbench.attacks.engine.projections import shrink
from eadbench.attacks.engine.walk import Answer, Queries
from eadbench.attacks.minimum_norm import MinimumNorm

BETA = {"l1": 30.0, "l2": 0.0}
"""β by the norm that is minimised."""
RATE = {"l1": 1.2, "l2": 16.0}
"""The learning rate by norm."""
CONST = {"l1": 100.0, "l2": 30.0}
"""The first c by norm."""


@dataclass(frozen=True, kw_only=True)
class BudgetedEAD(MinimumNorm):
    """Minimise c·f(x, t) + β‖x - x₀‖₁ + ‖x - x₀‖₂² over x in [0, 1]ᵖ (equation 7) by FISTA, and keep the nearest query.

    Each iteration projects, shrinks and extrapolates as algorithm 1 does. What differs, and what it is for:

    - Only y⁽ᵏ⁾, clipped to [0, 1], is queried. Its forward pass is also the test of success: an iteration costs two
      passes, and not three.
    - The shrinkage threshold is αₖ·β, the proximal step, so that it falls with αₖ. αₖ falls to 0 as a cosine.
    - c starts in units of β / max|∇f(x₀)|, below which no pixel moves. It starts far above: an image that overshoots
      and is shrunk ends nearer than one that comes from x₀.
    - Within a search step, c falls by a fixed factor in each iteration at which y⁽ᵏ⁾ succeeds, and rises by it where
      y⁽ᵏ⁾ fails. Between the steps it is bisected.
    - Every search step but the first starts at the nearest image found, and not at x₀.
    - β is large in L1, so that the L2 term hardly counts. On 8 training images of each of two MNIST networks, at 500
      passes, 30 in place of 5 lowered the mean L1 from 16.3 to 15.4 and from 6.76 to 6.46, in a variant that leaves out
      the gradient of the L2 distance while an example succeeds. The other defaults have not been tuned yet.

    Parameters
    ----------
    norm : "l1" or "l2"
        The norm by which the nearest image is kept; it chooses the defaults below.
    steps : int
        Gradient evaluations of each example; on a budget, half of it by default.
    searches : int
        Search steps over c, of equally many iterations.
    beta : float, optional
        β, the weight of the L1 distance; 30 in L1 and 0 in L2 by default.
    learning_rate : float, optional
        α₀·I: the step size is αₖ = α₀·(1 + cos(πk/I))/2 over the I iterations of a search step, so that a pixel can
        travel equally far however many there are.
    initial_const : float, optional
        The first c, in units of β / max|∇f(x₀)|, or without β of 1 / max|∇f(x₀)|.
    adaptation : float
        c changes by the factor exp(±adaptation/I) in each iteration.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "EAD"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 0.3, "l2": 0.1}
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 200}

    norm: Literal["l1", "l2"] = "l1"
    steps: int = 1000
    searches: int = 2
    beta: float | None = None
    learning_rate: float | None = None
    initial_const: float | None = None
    adaptation: float = 26.0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        check_not_negative("beta", self.beta or 0.0)
        if not 1 <= self.searches <= self.steps:
            raise ValueError(f"searches must be from 1 to the number of steps, {self.steps}, got {self.searches}")
        check_not_negative("adaptation", self.adaptation)
        for name in ("learning_rate", "initial_const"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value}")

    def walk(self, queries: Queries) -> None:
        """Search over c, every step from the nearest image found so far."""
        beta = BETA[self.norm] if self.beta is None else self.beta
        rate = self.learning_rate or RATE[self.norm]
        const: Tensor | None = None
        lower, upper = torch.zeros_like(queries.kappa), torch.full_like(queries.kappa, UNBOUNDED)
        for search in range(self.searches):
            iterations = self.steps * (search + 1) // self.searches - self.steps * search // self.searches
            x = y = queries.nearest
            succeeded = torch.zeros_like(queries.found)
            for k in range(iterations):
                answer = queries(y, lambda _, margin: -margin)
                succeeded |= answer.adversarial
                if const is None:
                    const = self.first_const(answer, beta)
                step = rate / iterations * (1 + math.cos(math.pi * k / iterations)) / 2
                x_next = self.step(queries.images, y, answer, const, beta, step)
                y, x = (x_next + k / (k + 3) * (x_next - x)).clamp(0, 1), x_next
                factor = math.exp(self.adaptation / iterations)
                const = torch.where(answer.adversarial, const / factor, const * factor)
            assert const is not None
            const, lower, upper = next_const(const, lower, upper, succeeded)

    def first_const(self, answer: Answer, beta: float) -> Tensor:
        """(B,) the first c."""
        units = self.initial_const or CONST[self.norm]
        return units * (beta or 1.0) / distances.linf(answer.gradient).clamp(min=1e-12)

    @staticmethod
    def step(images: Tensor, y: Tensor, answer: Answer, const: Tensor, beta: float, rate: float) -> Tensor:
        """x⁽ᵏ⁺¹⁾ of equation 8: a gradient step on c·f + ‖x - x₀‖₂² at y, then the projected shrinkage by rate·β.

        f is constant from the margin κ on, where its gradient is 0.
        """
        push = torch.where(rows(answer.adversarial), 0, rows(const) * answer.gradient)
        z = y - rate * (push + 2 * (y - images))
        return shrink(z, images, torch.full_like(rows(const), rate * beta))
