"""PDPGD: Primal-Dual Proximal Gradient Descent Adversarial Attack (Matyasko, Chau 2021; arXiv 2106.01538)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from eadbench.attacks import distances
from eadbench.attacks.distances import rows
from eadbench.attacks.engine import projections
from eadbench.attacks.engine.adam import Adam
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm

LEAST_RATIO = 1e-6
"""Bound of λ₀/λ₁ and of its inverse."""
CONVERGED = 1e-2
"""A proximal iteration ends when the perturbation changes by less than this, relatively."""


@dataclass(frozen=True, kw_only=True)
class PDPGD(MinimumNorm):
    """Minimise λ₀·‖δ‖ + λ₁·log(1 + exp(-margin)) over δ by proximal Adam, and raise λ₁/λ₀ while there is no success.

    Parameters
    ----------
    norm : "l0", "l1", "l2" or "linf"
        The norm that is minimised.
    steps : int
        Gradient evaluations of each example.
    primal_rate, dual_rate : float
        Learning rates of δ and of λ.
    primal_decay, dual_decay : float
        The last learning rate over the first; that of δ decays exponentially, that of λ linearly.
    dual_ratio : float
        The first λ₀/λ₁.
    dual_average : float
        Weight of the past in the running average of λ.
    proximal_steps : int
        Most iterations of the proximal step in Adam's metric.
    l0_proximal : "l2/3" or "l0"
        The proximal operator for the norm "l0": of ‖δ‖ to the power 2/3, or the hard threshold of L0 itself.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "PDPGD"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l0": 0.67, "l1": 0.3, "l2": 0.08, "linf": 0.05}
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 200}

    norm: Literal["l0", "l1", "l2", "linf"]
    steps: int = 1000
    primal_rate: float = 0.1
    primal_decay: float = 0.01
    dual_rate: float = 0.1
    dual_decay: float = 0.1
    dual_ratio: float = 0.01
    dual_average: float = 0.9
    proximal_steps: int = 5
    l0_proximal: Literal["l2/3", "l0"] = "l2/3"
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_choice("l0_proximal", self.l0_proximal, ("l2/3", "l0"))
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)

    def walk(self, queries: Queries) -> None:
        """Run algorithm 2 on a batch. λ is kept as log(λ₁/λ₀), whose softmax is (λ₀, λ₁)."""
        images, x, adam = queries.images, queries.images, Adam(queries.images)
        dual = torch.full_like(queries.kappa, -math.log(self.dual_ratio))
        average = dual.sigmoid()  # λ₁, averaged
        for k in range(self.steps):
            answer = queries(x, lambda _, margin: softplus(queries.kappa - margin))

            # The primal step: Adam, the box, and the proximal operator in Adam's metric.
            rate = self.primal_rate * self.primal_decay ** (k / self.steps)
            mean, root = adam.update(answer.gradient)
            delta = (x - rate * mean / root).clamp(0, 1) - images
            x = self.proximal_step(images, delta, root, rate * (1 - average) / average)

            # The dual step: towards the constraint while it is broken, away from it while it is met.
            left = (self.steps - 1 - k) / max(self.steps - 1, 1)
            dual_rate = self.dual_rate * (left * (1 - self.dual_decay) + self.dual_decay)
            dual = dual + dual_rate * (queries.kappa - answer.margin).sign()
            dual = dual.clamp(math.log(LEAST_RATIO), -math.log(LEAST_RATIO))
            average = torch.lerp(average, dual.sigmoid(), 1 - self.dual_average)

    def proximal_step(self, images: Tensor, delta: Tensor, metric: Tensor, weight: Tensor) -> Tensor:
        """Return the image nearest to `images + delta` in a diagonal metric, less `weight` (B,) times its norm.

        Proximal gradient descent on the squared distance in that metric (Melchior et al. 2019, algorithm 1).
        """
        largest = distances.linf(metric)
        relative, threshold = metric / rows(largest), weight / largest
        current, moving = delta, torch.ones_like(weight, dtype=torch.bool)
        for _ in range(self.proximal_steps):
            shifted = current - relative * (current - delta)
            moved = (images + self.proximal(shifted, rows(threshold))).clamp(0, 1) - images
            moved = torch.where(rows(moving), moved, current)
            moving = distances.l2(moved - current) > CONVERGED * distances.l2(moved)
            current = moved
            if not moving.any():
                break
        return (images + current).clamp(0, 1)

    @property
    def proximal(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The proximal operator of a multiple of the norm."""
        return PROXIMAL[self.l0_proximal if self.norm == "l0" else self.norm]


def proximal_l0(delta: Tensor, weight: Tensor) -> Tensor:
    """Of weight·‖δ‖₀: keep values from √(2·weight) on."""
    return torch.where(delta.abs() >= (2 * weight).sqrt(), delta, 0)


def proximal_two_thirds(delta: Tensor, weight: Tensor) -> Tensor:
    """Of weight·Σ|δᵢ|^(2/3): the closed form of Cao et al. (2013)."""
    square = delta.square()
    root = (delta.pow(4) / 256 - 8 * weight.pow(3) / 729).clamp(min=0).sqrt()
    sum_of_roots = 2 * ((square / 16 + root).pow(1 / 3) + (square / 16 - root).clamp(min=0).pow(1 / 3))
    half = sum_of_roots.clamp(min=1e-30).sqrt()
    value = ((half + (2 * delta.abs() / half - sum_of_roots).clamp(min=0).sqrt()) / 2).pow(3)
    kept = delta.abs() > 2 * (2 * weight / 3).pow(0.75)
    return torch.where(kept, value.copysign(delta), 0)


def proximal_l1(delta: Tensor, weight: Tensor) -> Tensor:
    """Of weight·‖δ‖₁: move every value towards 0 by the weight, but not past it."""
    return delta - delta.clamp(-weight, weight)


def proximal_l2(delta: Tensor, weight: Tensor) -> Tensor:
    """Of weight·‖δ‖₂: shorten by the weight, but not below 0."""
    length = rows(distances.l2(delta))
    return delta * torch.where(length > weight, 1 - weight / length, 0)


def proximal_linf(delta: Tensor, weight: Tensor) -> Tensor:
    """Of weight·‖δ‖∞: what the projection to the L1 ball of radius `weight` leaves over."""
    return delta - projections.l1(delta, weight.flatten())


PROXIMAL: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l0": proximal_l0,
    "l2/3": proximal_two_thirds,
    "l1": proximal_l1,
    "l2": proximal_l2,
    "linf": proximal_linf,
}
"""(δ (B, C, H, W), weight (B, 1, 1, 1)) to argmin_z ½‖z - δ‖₂² + weight·‖z‖, by norm."""
