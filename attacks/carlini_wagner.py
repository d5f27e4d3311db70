"""C&W's L2 attack (Carlini & Wagner 2017) and the paper's change-of-variable variant of EAD, COV.

Both minimise c·f(x, t) + β‖x - x₀‖₁ + ‖x - x₀‖₂² under x = (tanh(w) + 1)/2, over w by Adam; C&W has β = 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.engine.checks import check_not_negative
from eadbench.attacks.engine.minimise import BATCH_SIZE, minimise
from eadbench.attacks.engine.search import Objective, Rows, Search
from eadbench.attacks.result import AttackResult

INSIDE = 1 - 1e-6
"""Images are drawn this much towards grey before arctanh, so that pixels at exactly 0 or 1 can move."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015)."""


@dataclass(frozen=True, kw_only=True)
class CarliniWagner:
    """C&W's L2 attack: ``result["l2"]`` keeps the successful iterate of least ‖δ‖₂.

    Parameters are those of :class:`attacks.EAD`, without β; `learning_rate` is Adam's, whose moments start afresh
    at every search step.
    """

    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    initial_const: float = 1e-3
    abort_early: bool = True
    targeted: bool = True

    def __post_init__(self) -> None:
        Search.of(self)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations that an example takes without an abort."""
        return self.binary_search_steps * self.max_iterations

    def __call__(
        self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] towards `targets` (N,), at most `batch_size` rows at a time."""
        descent = AdamInTanhSpace(self.learning_rate)
        return minimise(
            descent, Search.of(self), model, images, targets, rules=("l2",), beta=0.0, batch_size=batch_size
        )


@dataclass(frozen=True, kw_only=True)
class COV:
    """EAD's objective by C&W's change of variable, β > 0 (paper, tables 1 and 5); rules "en", "l1" and "l2".

    Parameters are those of :class:`attacks.EAD`; `learning_rate` is Adam's.
    """

    beta: float | Tensor = 1e-3
    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    initial_const: float = 1e-3
    abort_early: bool = True
    targeted: bool = True

    RULES: ClassVar = ("en", "l1", "l2")

    def __post_init__(self) -> None:
        Search.of(self)
        check_not_negative("beta", self.beta)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations that an example takes without an abort."""
        return self.binary_search_steps * self.max_iterations

    def __call__(
        self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] towards `targets` (N,), at most `batch_size` rows at a time."""
        descent = AdamInTanhSpace(self.learning_rate)
        return minimise(
            descent,
            Search.of(self),
            model,
            images,
            targets,
            rules=self.RULES,
            beta=self.beta,
            batch_size=batch_size,
        )


@dataclass(frozen=True)
class AdamInTanhSpace:
    """The descent of both: the state of a row is w and Adam's two moments."""

    learning_rate: float

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """w⁽⁰⁾ = arctanh of x₀, moments zero."""
        w = torch.atanh((2 * images - 1) * INSIDE)
        return w, torch.zeros_like(w), torch.zeros_like(w)

    def still(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) zero: Adam's first step has the length of its learning rate, however small the gradient."""
        return torch.zeros_like(rows.const)

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, Tensor]:
        """One step of Adam; returns x⁽ᵏ⁾ (B, C, H, W), at which the gradient was taken, and its logits (B, K)."""
        w, mean, square = rows.state
        x = torch.sigmoid(2 * w)  # (tanh(w) + 1) / 2, without its cancellation near 0
        logits, gradient = objective.gradient(x, rows)
        delta = x - rows.image
        gradient = gradient + 2 * delta + rows.beta[:, None, None, None] * delta.sign()
        gradient *= 2 * x * (1 - x)  # dx/dw

        count = (rows.iteration + 1).to(w.dtype)[:, None, None, None]
        mean.lerp_(gradient, 1 - BETA1)
        square.lerp_(gradient.square_(), 1 - BETA2)
        step = self.learning_rate / (1 - BETA1**count)
        w -= step * mean / ((square / (1 - BETA2**count)).sqrt_() + EPSILON)
        return x, logits
