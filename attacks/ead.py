"""EAD: Elastic-Net Attacks to Deep Neural Networks (Chen, Sharma, Zhang, Yi, Hsieh; AAAI 2018; arXiv 1709.04114)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.budgeted import Budgeted, within
from eadbench.attacks.budgeted_ead import BudgetedEAD
from eadbench.attacks.engine.checks import check_choice, check_not_negative
from eadbench.attacks.engine.minimise import minimise
from eadbench.attacks.engine.projections import shrink
from eadbench.attacks.engine.search import Objective, Rows, Search
from eadbench.attacks.result import AttackResult


@dataclass(frozen=True, kw_only=True)
class EAD(Attack):
    """Minimise c·f(x, t) + β‖x - x₀‖₁ + ‖x - x₀‖₂² over x in [0, 1]ᵖ (equation 7) by algorithm 1.

    One run serves every decision rule: ``result["en"]`` keeps the successful iterate of least β‖δ‖₁ + ‖δ‖₂²,
    ``result["l1"]`` of least ‖δ‖₁, ``result["l2"]`` of least ‖δ‖₂.

    Parameters
    ----------
    beta : float or Tensor
        β ≥ 0, the weight of the L1 distance; a tensor (N,) gives each example its own.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    learning_rate : float
        α₀ of the step size αₖ = α₀·√(1 - k/I).
    binary_search_steps : int
        Number of search steps over c.
    max_iterations : int
        I, the iterations of one search step.
    initial_const : float
        The first c.
    abort_early : bool
        End an example's search step if, over a tenth of the iterations, its loss fell by less than 0.01 % and no
        success had less than twice the least distance of the earlier search steps. Before the first success, its loss
        must also have risen by less than 1 %.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    method : "fista" or "ista"
        With the momentum of algorithm 1, or without.
    threshold : "beta" or "scaled"
        The shrinkage threshold: β as in equation 8, or αₖ·β as in the proximal step of β‖·‖₁.
    momentum : "paper" or "code"
        k/(k+3) as in algorithm 1, or (k+1)/(k+4) as in the authors' code.
    l2_gradient : "always" or "while_failing"
        Whether the gradient of ‖x - x₀‖₂² enters every step, as in algorithm 1, or only steps from a y⁽ᵏ⁾ whose margin
        is at most κ, as in ART. The latter gives less L1 under the L1 rule at the same cost.
    """

    LABEL: ClassVar[str] = "EAD"
    AXES: ClassVar[tuple[str, ...]] = ("beta", "kappa")
    RULES: ClassVar[tuple[str, ...]] = ("en", "l1", "l2")
    DEFAULT_RULES: ClassVar[tuple[str, ...]] = ("en", "l1")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 0.3, "l2": 0.05}  # at 9 × 1,000: 0.003 and 0.03
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"binary_search_steps": 4, "max_iterations": 100, "initial_const": 0.1}

    UNWRITTEN: ClassVar[Mapping[str, Any]] = {"l2_gradient": "always"}
    """Fields that came later: at these values a spec leaves them out, and its digests stay what they were."""
    ADAPTIVE: ClassVar[bool] = True
    """Whether it can attack a victim with its detector: see :class:`eadbench.attacks.guarded.Guarded`."""
    WITHIN: ClassVar[type] = BudgetedEAD
    """The class that a spec runs on a budget."""

    patience: ClassVar[float] = 2.0
    """As its learning rate decays, the distance of its successes still falls long after its loss has settled."""

    beta: float | Tensor = 1e-3
    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    initial_const: float = 1e-3
    abort_early: bool = True
    targeted: bool = True
    method: Literal["fista", "ista"] = "fista"
    threshold: Literal["beta", "scaled"] = "beta"
    momentum: Literal["paper", "code"] = "paper"
    l2_gradient: Literal["always", "while_failing"] = "always"

    def __post_init__(self) -> None:
        Search.from_attack(self)
        check_choice("method", self.method, ("fista", "ista"))
        check_choice("threshold", self.threshold, ("beta", "scaled"))
        check_choice("momentum", self.momentum, ("paper", "code"))
        check_choice("l2_gradient", self.l2_gradient, ("always", "while_failing"))
        check_not_negative("beta", self.beta)

    @classmethod
    def within(cls, budget: int, norm: Literal["l1", "l2"] = "l1", **hyperparameters: Any) -> Budgeted:
        """Build the EAD that spends a budget of passes as well as can be; see :class:`BudgetedEAD`."""
        return within(cls, budget, norm=norm, **hyperparameters)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations of an example without an abort."""
        return self.binary_search_steps * self.max_iterations

    @property
    def most_passes(self) -> int:
        """Forward and backward at y, and a test of x, in every iteration and once at x₀; a last test by every rule."""
        return 3 * (self.most_iterations + 1) + len(self.RULES)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        return minimise(
            self,
            Search.from_attack(self),
            model,
            images,
            labels,
            rules=self.RULES,
            beta=self.beta,
            batch_size=batch_size,
        )

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """Algorithm 1, initialisation: x⁽⁰⁾ = y⁽⁰⁾ = x₀."""
        return images.clone(), images.clone()

    def idle_const(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) the greatest c at which equation 8 shrinks the first step to nothing.

        Then x⁽¹⁾ = y⁽¹⁾ = x₀. The next gradient is the same, and αₖ is smaller: the row never moves.
        """
        _, gradient = objective.gradient(rows.image, rows)
        outwards = torch.where(gradient > 0, rows.image == 0, rows.image == 1)
        steepest = distances.linf(gradient.masked_fill(outwards, 0)) / rows.const
        threshold = rows.beta if self.threshold == "beta" else self.learning_rate * rows.beta
        idle_const = threshold / (self.learning_rate * steepest) * (1 - 1e-6)  # below rounding: no moving row is idle
        return idle_const.masked_fill(steepest == 0, torch.inf)

    def under_way(self, rows: Rows, x: Tensor) -> Tensor:
        """(B,) false: a row that moves at all moves at its first iteration."""
        return torch.zeros_like(rows.competed)

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, None]:
        """Run one pass of algorithm 1's loop; return x⁽ᵏ⁺¹⁾ (B, C, H, W), whose logits are not known."""
        x, y = rows.state
        k = rows.iteration.to(x.dtype)[:, None, None, None]
        beta = rows.beta[:, None, None, None]
        rate = self.learning_rate * (1 - k / self.max_iterations).clamp(min=0).sqrt()

        # x(k+1) = S_beta(y(k) - a_k grad g(y(k))),  g(y) = c f(y) + |y - x0|^2
        logits, gradient = objective.gradient(y, rows)
        pull = 2 * (y - rows.image)
        if self.l2_gradient == "while_failing":
            settled = objective.margin(logits, rows.label) > rows.kappa
            pull = pull.masked_fill(settled[:, None, None, None], 0)
        z = y - rate * (gradient + pull)
        x_next = shrink(z, rows.image, beta if self.threshold == "beta" else rate * beta)

        # y(k+1) = x(k+1) + k/(k+3) (x(k+1) - x(k))
        if self.method == "ista":
            y.copy_(x_next)
        else:
            count = k if self.momentum == "paper" else k + 1
            y.copy_(x_next + count / (count + 3) * (x_next - x))
        x.copy_(x_next)
        return x, None
