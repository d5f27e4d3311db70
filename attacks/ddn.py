"""DDN: Decoupling Direction and Norm (Rony, Hafemann, Oliveira, Ben Ayed, Sabourin, Granger; CVPR 2019; arXiv
1811.09600)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import log_odds
from eadbench.attacks.distances import rows, unit
from eadbench.attacks.engine.checks import check_not_negative, check_steps
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm


@dataclass(frozen=True, kw_only=True)
class DDN(MinimumNorm):
    """Turn the perturbation by a step along the loss's gradient, and set its L2 norm: less after a success, else more.

    Parameters
    ----------
    steps : int
        Gradient evaluations of each example.
    gamma : float
        γ: relative change of the norm after each step.
    initial_norm : float
        ε₀: the first norm.
    step_size, final_step_size : float
        α: length of a step in L2, decayed as a cosine.
    levels : int, optional
        Round pixels to this number of levels, as the paper does (256 for 8 bits); None keeps them as they are.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "DDN"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.05
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 100, "levels": None}

    steps: int = 1000
    gamma: float = 0.05
    initial_norm: float = 1.0
    step_size: float = 1.0
    final_step_size: float = 0.01
    levels: int | None = 256
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        if self.levels is not None and self.levels < 2:
            raise ValueError(f"levels must be at least 2, or none; got {self.levels}")

    def walk(self, queries: Queries) -> None:
        """Run algorithm 1 on a batch.

        The gradient is that of the log odds. Only its direction counts, which is that of the cross-entropy's gradient,
        but it does not vanish when a softmax rounds to 0 or 1.
        """
        images, x = queries.images, queries.images
        norm = torch.full_like(queries.kappa, self.initial_norm)
        uphill = 1 if self.targeted else -1
        for k in range(self.steps):
            alpha = (
                self.final_step_size
                + (self.step_size - self.final_step_size) * (1 + math.cos(math.pi * k / self.steps)) / 2
            )
            answer = queries(x, lambda logits, _: uphill * log_odds(logits, queries.labels))
            delta = x - images + alpha * unit(answer.gradient)
            norm = norm * torch.where(answer.adversarial, 1 - self.gamma, 1 + self.gamma)
            norm = torch.minimum(norm, queries.greatest)
            length = rows(distances.l2(delta))
            x = (images + delta * torch.where(length > 0, rows(norm) / length, 0)).clamp(0, 1)
            if self.levels is not None:
                x = (x * (self.levels - 1)).round() / (self.levels - 1)
