"""ALMA: Augmented Lagrangian Adversarial Attacks (Rony, Granger, Pedersoli, Ben Ayed; ICCV 2021; arXiv 2011.11857)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import logit_range
from eadbench.attacks.distances import rows
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm

FIRST_DISTANCE = {"l1": 0.5, "l2": 0.1}
"""By norm, the distance that the first step takes."""
DOUBLINGS = 60
"""Most doublings, and most halvings, of the learning rate that takes that step."""


@dataclass(frozen=True, kw_only=True)
class ALMA(MinimumNorm):
    """Minimise ‖δ‖ + P(g(δ), ρ, μ) by RMSProp with momentum, where g ≤ 0 is a success; adapt μ and ρ to each example.

    P is the penalty P₂ of the paper, and g the difference of logits over the range of the greatest ones.

    Parameters
    ----------
    norm : "l1" or "l2"
        The norm that is minimised.
    steps : int
        Gradient evaluations of each example.
    first_distance : float, optional
        The distance that the first step takes, which sets the learning rate; 0.5 in L1 and 0.1 in L2 by default.
    final_rate : float
        The last learning rate over the first; it decays exponentially from the first success on.
    average : float
        α: weight of the past in the averages of μ, of squared gradients, and of the momentum.
    check_every, improvement, penalty_growth : int, float, float
        M, τ and γ: every M steps without a success so far, ρ grows by γ unless g fell to τ times what it was.
    tolerance : float
        Added to the difference of logits, so that a success is not a tie.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "ALMA"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 0.3, "l2": 0.7}  # at 1,000 steps: below 0.001
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 120, "first_distance": 0.5}

    norm: Literal["l1", "l2"]
    steps: int = 1000
    first_distance: float | None = None
    final_rate: float = 0.01
    average: float = 0.9
    check_every: int = 10
    improvement: float = 0.95
    penalty_growth: float = 1.2
    tolerance: float = 1e-4
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        if self.first_distance is not None and not self.first_distance > 0:
            raise ValueError(f"first_distance must be above 0, got {self.first_distance}")

    def walk(self, queries: Queries) -> None:
        """Run algorithm 1 on a batch."""
        images, x = queries.images, queries.images
        square, momentum = torch.ones_like(images), torch.zeros_like(images)
        constraint, rate = Constraint(self, queries), torch.ones_like(queries.kappa)
        first_success = torch.full_like(queries.kappa, self.steps)
        for k in range(self.steps):
            gradient = queries(x, constraint).gradient
            first_success = torch.where(queries.found, first_success.clamp(max=k), first_success)
            if k == 0:
                rate = self.first_rate(images, gradient)
            else:
                gradient = gradient + slope(x - images, self.norm)
            since = (k - first_success).clamp(min=0) / (self.steps - first_success).clamp(min=1)
            square.mul_(self.average).addcmul_(gradient, gradient, value=1 - self.average)
            momentum.mul_(self.average).add_(gradient / (square.sqrt() + 1e-8))
            x = (x - rows(rate * self.final_rate**since) * momentum).clamp(0, 1)

    def first_rate(self, images: Tensor, gradient: Tensor) -> Tensor:
        """(B,) the learning rate at which a step along the gradient takes the first distance, or nearly so."""
        target = self.first_distance or FIRST_DISTANCE[self.norm]
        measure = distances.NORMS[self.norm]

        def is_too_far(rate: Tensor) -> Tensor:
            return measure((images - rows(rate) * gradient).clamp(0, 1) - images) > target

        lower, upper = torch.zeros_like(images[:, 0, 0, 0]), torch.ones_like(images[:, 0, 0, 0])
        for _ in range(DOUBLINGS):
            too_far = is_too_far(upper)
            lower, upper = torch.where(too_far, lower, upper), torch.where(too_far, upper, 2 * upper)
        bounded = is_too_far(upper)  # not if the gradient is zero, or leads out of the box
        for _ in range(DOUBLINGS):
            middle = (lower + upper) / 2
            too_far = is_too_far(middle)
            lower, upper = torch.where(too_far, lower, middle), torch.where(too_far, middle, upper)
        return torch.where(bounded, (lower + upper) / 2, 1)


class Constraint:
    """The loss of each step, P₂(g, ρ, μ), with ρ and μ adapted to each example beforehand."""

    def __init__(self, attack: ALMA, queries: Queries) -> None:
        self.attack, self.queries, self.step = attack, queries, 0
        self.rho, self.mu = torch.ones_like(queries.kappa), torch.ones_like(queries.kappa)
        self.checked = queries.kappa

    def __call__(self, logits: Tensor, margin: Tensor) -> Tensor:
        """Return the penalty of each row."""
        attack = self.attack
        excess = self.queries.kappa - margin + attack.tolerance
        g = excess / (logit_range(logits, targeted=attack.targeted) + 1e-8)
        value = g.detach()
        self.step += 1
        if self.step == 1:
            self.checked = value
        else:
            if self.step % attack.check_every == 0:
                is_better = self.queries.found | (value < attack.improvement * self.checked)
                self.rho = torch.where(is_better, self.rho, attack.penalty_growth * self.rho)
                self.checked = value
            slope_of_penalty = penalty_slope(value, self.rho, self.mu)
            self.mu = torch.lerp(self.mu, slope_of_penalty, 1 - attack.average).clamp(1e-6, 1e12)
        return penalty(g, self.rho, self.mu)


def penalty(y: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    """P₂(y, ρ, μ): μy + μρy² + ρ²y³/6 for y ≥ 0, else μy/(1 - ρy)."""
    above = y * (mu + y * (mu * rho + y * rho.square() / 6))
    return torch.where(y >= 0, above, mu * y / (1 - rho * y.clamp(max=0)))


def penalty_slope(y: Tensor, rho: Tensor, mu: Tensor) -> Tensor:
    """The derivative of P₂ by y."""
    above = mu + y * (2 * mu * rho + y * rho.square() / 2)
    return torch.where(y >= 0, above, mu / (1 - rho * y.clamp(max=0)).square())


def slope(delta: Tensor, norm: str) -> Tensor:
    """The gradient of the norm of δ; 0 where δ is 0."""
    if norm == "l1":
        return delta.sign()
    length = rows(distances.l2(delta))
    return torch.where(length > 0, delta / length, 0)
