"""EAD for a budget of passes: equation 7 of Chen et al. (2018), minimised by FISTA, from several starts.

Shapes: B rows of a batch, C × H × W values of an image.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows, unit
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.projections import shrink
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm


class Descent(NamedTuple):
    """How a run of FISTA moves; see the fields of :class:`BudgetedEAD`."""

    learning_rate: float
    initial_const: float
    adaptation: float


BETA = {"l1": 30.0, "l2": 0.0}
"""β by the norm that is minimised."""
SEARCH = {"l1": Descent(0.004, 100.0, 26.0), "l2": Descent(0.07, 9.0, 10.0)}
"""By norm, the runs that search."""
REFINEMENT = {"l1": Descent(0.0005, 3.0, 5.0), "l2": Descent(0.01, 2.0, 3.0)}
"""By norm, the last run; its first c is in units of (β + 2‖δ‖)/‖∇f‖, at which c·∇f balances the distance's gradient."""
SEARCH_STEPS = 160
"""The steps of a search, unless the number of searches is given, or a class is to be reached in L1."""
REFINEMENT_LENGTH = 0.5
"""The length of the last run over that of a search."""
DUALS = {"l1": distances.linf, "l2": distances.l2}
"""The dual of each norm, for ∇f."""


@dataclass(frozen=True, kw_only=True)
class BudgetedEAD(MinimumNorm):
    """Minimise c·f(x, t) + β‖x - x₀‖₁ + ‖x - x₀‖₂² over x in [0, 1]ᵖ (equation 7) by FISTA, and keep the nearest query.

    Each iteration projects, shrinks and extrapolates as algorithm 1 does. What differs, and what it gains: how much
    greater the mean L1 is without it, at 500 passes, on 8 training images of each of three MNIST networks that
    nothing else is measured on (an undefended one, and two trained on PGD examples in L2 and L∞), while αₖ fell as a
    cosine. With the paper's decay it is 3 to 5 % less at 500 passes, and 1 % more at 2,000.

    - Several short searches replace one long one, each from another start: the first from x₀, the others from the
      middle between x₀ and a random image. A single search: +1.9 %, -2.9 %, +17.9 %; at 2,000 passes, one search of
      1,000 iterations against four of 250: +9.7 %, +1.7 %, +34.1 %. Towards a class, in L1, a single search is nearer:
      on 28 training images of another undefended network by 5 % at 2,000 passes, and on 16 of them by 39 % at 500,
      where short searches ended far away.
    - c starts far above the least one that moves a pixel. The first steps change many pixels, which are shrunk
      afterwards. From a tenth of it: +2.6 %, -0.1 %, +2.2 %; with a single search, 0 %, +18 %, +31 %.
    - c is counted in units of β/‖∇f(y⁽ᵏ⁾)‖∞, or without β of 1/‖∇f(y⁽ᵏ⁾)‖₂, so that it does not depend on the scale of
      the logits. In units of each search's first gradient, with the paper's decay, on 12 images: +3 %, +3 %, +9 %.
    - c falls by a fixed factor in each iteration at which y⁽ᵏ⁾ succeeds, and rises by it where y⁽ᵏ⁾ fails; there is no
      bisection. With a fixed c: +41 %, +26 %, -14 %.
    - Only y⁽ᵏ⁾, clipped to [0, 1], is queried. Its forward pass is also the test of success: an iteration costs two
      passes, and not three. With two thirds of the iterations: +2.3 %, -3.7 %, +17.5 %.
    - A last run, half as long as a search, refines the nearest image found by small steps. Without it: +0.2 %, -0.4 %,
      +3.9 %.
    - β is large in L1, so that the L2 term hardly counts. With β = 1: +20 %, +7 %, +6 %.
    - The shrinkage threshold is αₖ·β, the proximal step, so that it falls with αₖ.

    Parameters
    ----------
    norm : "l1" or "l2"
        The norm by which the nearest image is kept; it chooses the defaults below.
    steps : int
        Gradient evaluations of each example; on a budget, half of it by default.
    searches : int, optional
        Searches, of equally many iterations; by default one for every 160 steps, and towards a class in L1 one in all.
    beta : float, optional
        β, the weight of the L1 distance; 30 in L1 and 0 in L2 by default.
    learning_rate : float, optional
        α₀ of the step size αₖ = α₀·√(1 - k/I), over the I iterations of a search.
    initial_const : float, optional
        The first c of a search, in its units.
    adaptation : float, optional
        c changes by the factor exp(±adaptation/I) in each iteration.
    seed : int
        Seed of the random images, which all examples share.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "EAD"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 0.05, "l2": 0.02}
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 100}

    norm: Literal["l1", "l2"] = "l1"
    steps: int = 1000
    searches: int | None = None
    beta: float | None = None
    learning_rate: float | None = None
    initial_const: float | None = None
    adaptation: float | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        check_not_negative("beta", self.beta or 0.0)
        check_not_negative("adaptation", self.adaptation or 0.0)
        if self.searches is not None and not 1 <= self.searches <= self.steps:
            raise ValueError(f"searches must be from 1 to the number of steps, {self.steps}, got {self.searches}")
        for name in ("learning_rate", "initial_const"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value}")

    def walk(self, queries: Queries) -> None:
        """Search from every start, and refine the nearest image found."""
        *searches, last = self.lengths()
        for search, iterations in enumerate(searches):
            const = torch.full_like(queries.kappa, self.descent.initial_const * (self.weight or 1.0))
            self.descend(queries, self.start(queries.images, search), const, self.descent, iterations)
        refinement, nearest = REFINEMENT[self.norm], queries.nearest
        pull = self.weight + 2 * DUALS[self.norm](nearest - queries.images)
        self.descend(queries, nearest, refinement.initial_const * pull, refinement, last)

    @property
    def weight(self) -> float:
        """β."""
        return BETA[self.norm] if self.beta is None else self.beta

    @property
    def descent(self) -> Descent:
        """How a search moves."""
        own, defaults = (self.learning_rate, self.initial_const, self.adaptation), SEARCH[self.norm]
        return Descent(*(known if value is None else value for value, known in zip(own, defaults, strict=True)))

    def lengths(self) -> Iterator[int]:
        """Yield the iterations of each search, and of the last run."""
        alone = self.targeted and self.norm == "l1"
        searches = self.searches or (1 if alone else max(1, round(self.steps / SEARCH_STEPS)))
        ends = [round(self.steps * end / (searches + REFINEMENT_LENGTH)) for end in range(searches + 1)]
        return (end - begin for begin, end in pairwise([*ends, self.steps]))

    def start(self, images: Tensor, search: int) -> Tensor:
        """(B, C, H, W) x₀ for the first search, and the middle between x₀ and a random image for others."""
        if search == 0:
            return images
        generator = torch.Generator().manual_seed(self.seed + search)
        return (images + torch.rand(images.shape[1:], generator=generator).to(images)) / 2

    def descend(self, queries: Queries, start: Tensor, const: Tensor, descent: Descent, iterations: int) -> None:
        """Run FISTA from a start (B, C, H, W) with a first c (B,), times ‖∇f‖."""
        x = y = start
        factor = math.exp(descent.adaptation / max(iterations, 1))
        for k in range(iterations):
            rate = descent.learning_rate * math.sqrt(1 - k / iterations)
            answer = queries(y, lambda _, margin: -margin)
            # f is constant from the margin κ on, where its gradient is 0
            push = rows(const.masked_fill(answer.adversarial, 0.0)) * unit(answer.gradient, DUALS[self.norm])
            z = y - rate * (push + 2 * (y - queries.images))
            x_next = shrink(z, queries.images, torch.full_like(rows(const), rate * self.weight))
            y, x = (x_next + k / (k + 3) * (x_next - x)).clamp(0, 1), x_next
            const = torch.where(answer.adversarial, const / factor, const * factor)
