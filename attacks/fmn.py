"""FMN: Fast Minimum-norm Adversarial Attacks (Pintor, Roli, Brendel, Biggio; NeurIPS 2021; arXiv 2102.12827)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows, unit
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.projections import PROJECTIONS
from eadbench.attacks.engine.walk import Answer, Queries
from eadbench.attacks.minimum_norm import MinimumNorm

DUALS = {"l1": distances.linf, "l2": distances.l2, "linf": distances.l1}
"""The dual of each norm: a linear function falls by at most ε times the dual norm of its slope within an ε-ball."""


@dataclass(frozen=True, kw_only=True)
class FMN(MinimumNorm):
    """Step along the margin's gradient and project to an ε-ball, whose ε shrinks after a success and else grows.

    Parameters
    ----------
    norm : "l0", "l1", "l2" or "linf"
        The norm that is minimised.
    steps : int
        Gradient evaluations of each example.
    step_size, final_step_size : float, optional
        α: length of a step in L2, decayed as a cosine; by default from 1, or from 10 in L∞, to a hundredth of it.
    gamma, final_gamma : float
        γ: relative change of ε after each step, decayed as a cosine.
    projection : "ball" or "sphere"
        Project δ to the ε-ball, as in the paper; or in L2 to its surface, as adv-lib does, which goes on further where
        the gradient is small.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "FMN"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l0", "l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l0": 0.0, "l1": 0.3, "l2": 0.05, "linf": 0.05}
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 50}

    norm: Literal["l0", "l1", "l2", "linf"]
    steps: int = 1000
    step_size: float | None = None
    final_step_size: float | None = None
    gamma: float = 0.05
    final_gamma: float = 0.001
    projection: Literal["ball", "sphere"] = "ball"
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_steps(self.steps)
        check_choice("projection", self.projection, ("ball", "sphere") if self.norm == "l2" else ("ball",))
        check_not_negative("kappa", self.kappa)

    def walk(self, queries: Queries) -> None:
        """Run algorithm 1 on a batch."""
        images, x = queries.images, queries.images
        epsilon = torch.full_like(queries.kappa, 1.0 if self.norm == "l0" else torch.inf)
        first = self.step_size or (10.0 if self.norm == "linf" else 1.0)
        final = first / 100 if self.final_step_size is None else self.final_step_size
        for k in range(self.steps):
            decay = (1 + math.cos(math.pi * k / self.steps)) / 2
            alpha = final + (first - final) * decay
            gamma = self.final_gamma + (self.gamma - self.final_gamma) * decay

            answer = queries(x, lambda _, margin: margin)
            least = torch.minimum(queries.least, queries.greatest)
            if self.norm == "l0":
                epsilon = l0_radius(epsilon, answer, least, gamma)
            else:
                epsilon = self.radius(epsilon, answer, least, gamma, queries)
            epsilon = torch.minimum(epsilon, queries.greatest)

            delta = x + alpha * unit(answer.gradient) - images
            if self.projection == "sphere":
                delta = rows(epsilon) * unit(delta)
            else:
                delta = PROJECTIONS[self.norm](delta, epsilon)
            x = (images + delta).clamp(0, 1)

    def radius(self, epsilon: Tensor, answer: Answer, least: Tensor, gamma: float, queries: Queries) -> Tensor:
        """The next ε: smaller after a success, else larger; before any, as far as the boundary seems to be.

        Close to the boundary it is a little further than in the paper, because rounding decides on the boundary itself.
        """
        slope = DUALS[self.norm](answer.gradient).clamp(min=1e-12)
        missing = (queries.kappa - answer.margin).abs() / slope
        boundary = answer.distance + torch.maximum(missing, self.final_gamma * answer.distance)
        outwards = torch.where(queries.found, epsilon * (1 + gamma), boundary)
        return torch.where(answer.adversarial, torch.minimum(epsilon * (1 - gamma), least), outwards)


def l0_radius(epsilon: Tensor, answer: Answer, least: Tensor, gamma: float) -> Tensor:
    """The next number of values that may change, which moves by one at least."""
    fewer = torch.minimum(torch.minimum(epsilon - 1, (epsilon * (1 - gamma)).floor()), least)
    more = torch.maximum(epsilon + 1, (epsilon * (1 + gamma)).floor())
    return torch.where(answer.adversarial, fewer, more).clamp(min=0)
