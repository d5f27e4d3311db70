"""σ-zero: Gradient-based Optimization of ℓ₀-norm Adversarial Examples (Cinà, Villani, Pintor, Schönherr, Biggio,
Pelillo; ICLR 2025; arXiv 2402.01879)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows, unit
from eadbench.attacks.engine.adam import Adam
from eadbench.attacks.engine.checks import check_not_negative, check_steps
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm


@dataclass(frozen=True, kw_only=True)
class SigmaZero(MinimumNorm):
    """Minimise max(κ - margin, 0) + mean(δ²/(δ² + σ)) by Adam, and drop values of δ that are below a moving threshold.

    Parameters
    ----------
    steps : int
        Gradient evaluations of each example.
    learning_rate : float
        η₀, which decays as a cosine to a tenth.
    sigma : float
        σ: how smooth the count of changed values is; less is sharper.
    threshold, threshold_step : float
        The first threshold τ₀, and its step as a fraction of η: up after a success, else down.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "σ-zero"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l0",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.34
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 130}

    steps: int = 1000
    learning_rate: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3
    threshold_step: float = 0.01
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        if not self.sigma > 0:
            raise ValueError(f"sigma must be above 0, got {self.sigma}")

    def walk(self, queries: Queries) -> None:
        """Run algorithm 1 on a batch."""
        images, adam = queries.images, Adam(queries.images)
        delta = torch.zeros_like(images)
        threshold = torch.full_like(queries.kappa, self.threshold)
        rate = self.learning_rate
        for k in range(self.steps):
            answer = queries((images + delta).clamp(0, 1), lambda _, margin: (queries.kappa - margin).clamp(min=0))
            square = delta.square()
            sparsity = 2 * self.sigma * delta / (square + self.sigma).square() / delta[0].numel()
            mean, root = adam.update(unit(answer.gradient + sparsity, distances.linf))
            delta = (images + delta - rate * mean / root).clamp(0, 1) - images

            rate = self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * k / self.steps)))
            threshold = threshold + self.threshold_step * rate * torch.where(answer.adversarial, 1.0, -1.0)
            threshold = threshold.clamp(0, 1)
            delta = torch.where(delta.abs() < rows(threshold), 0, delta)
