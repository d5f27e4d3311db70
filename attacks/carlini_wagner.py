"""C&W's L2 attack (Carlini & Wagner 2017) and the paper's change-of-variable variant of EAD, COV.

Both minimise c·f(x, t) + β‖x - x₀‖₁ + ‖x - x₀‖₂² under x = (tanh(w) + 1)/2, over w by Adam; C&W has β = 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks import distances
from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.budgeted import Budgeted, within
from eadbench.attacks.budgeted_cw import BudgetedCarliniWagner
from eadbench.attacks.engine.checks import check_not_negative
from eadbench.attacks.engine.minimise import minimise
from eadbench.attacks.engine.search import Objective, Rows, Search
from eadbench.attacks.result import AttackResult

INSIDE = 1 - 1e-6
"""Images are shrunk towards grey by this factor before arctanh, so that pixels at exactly 0 or 1 can move."""

MOVED = 1e-3
"""A search step is not aborted before a pixel has moved this far, while w travels there."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants (Kingma & Ba 2015)."""


@dataclass(frozen=True, kw_only=True)
class CarliniWagner(Attack):
    """C&W's L2 attack: ``result["l2"]`` keeps the successful iterate of least ‖δ‖₂.

    Parameters
    ----------
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    learning_rate : float
        Adam's learning rate; its moments are reset at every search step.
    binary_search_steps : int
        Number of search steps over c.
    max_iterations : int
        I, the iterations of one search step.
    initial_const : float
        The first c.
    abort_early : bool
        End an example's search step if, over a tenth of the iterations, its loss fell by less than 0.01 % and no
        success had less than the least distance of the earlier search steps. Before the first success, its loss must
        also have risen by less than 1 %.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "C&W"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.1
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "binary_search_steps": 3,
        "max_iterations": 50,
        "initial_const": 0.1,
        "learning_rate": 0.03,
    }
    ADAPTIVE: ClassVar[bool] = True
    """Whether it can attack a victim with its detector: see :class:`eadbench.attacks.guarded.Guarded`."""
    WITHIN: ClassVar[type] = BudgetedCarliniWagner
    """The class that a spec runs on a budget."""

    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    initial_const: float = 1e-3
    abort_early: bool = True
    targeted: bool = True

    def __post_init__(self) -> None:
        Search.from_attack(self)

    @classmethod
    def within(cls, budget: int, **hyperparameters: Any) -> Budgeted:
        """Build the C&W that spends a budget of passes as well as can be; see :class:`BudgetedCarliniWagner`."""
        return within(cls, budget, **hyperparameters)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations of an example without an abort."""
        return self.binary_search_steps * self.max_iterations

    @property
    def most_passes(self) -> int:
        """Forward and backward at every iterate, a test at x₀, and a last test."""
        return 2 * self.most_iterations + 1 + 1

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        descent = AdamInTanhSpace(self.learning_rate)
        return minimise(
            descent, Search.from_attack(self), model, images, labels, rules=("l2",), beta=0.0, batch_size=batch_size
        )


@dataclass(frozen=True, kw_only=True)
class COV(Attack):
    """EAD's objective by C&W's change of variable, β > 0 (paper, tables 1 and 5); rules "en", "l1" and "l2".

    Parameters
    ----------
    beta : float or Tensor
        β > 0, the weight of the L1 distance; a tensor (N,) gives each example its own.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    learning_rate : float
        Adam's learning rate.
    binary_search_steps : int
        Number of search steps over c.
    max_iterations : int
        I, the iterations of one search step.
    initial_const : float
        The first c.
    abort_early : bool
        End an example's search step if, over a tenth of the iterations, its loss fell by less than 0.01 % and no
        success had less than the least distance of the earlier search steps. Before the first success, its loss must
        also have risen by less than 1 %.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "COV"
    AXES: ClassVar[tuple[str, ...]] = ("beta", "kappa")
    RULES: ClassVar[tuple[str, ...]] = ("en", "l1", "l2")
    DEFAULT_RULES: ClassVar[tuple[str, ...]] = ("en", "l1")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 1.8, "l2": 0.1}  # no pixel returns to its original value
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "binary_search_steps": 3,
        "max_iterations": 50,
        "initial_const": 0.1,
        "learning_rate": 0.03,
    }
    ADAPTIVE: ClassVar[bool] = True

    beta: float | Tensor = 1e-3
    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 1000
    initial_const: float = 1e-3
    abort_early: bool = True
    targeted: bool = True

    def __post_init__(self) -> None:
        Search.from_attack(self)
        check_not_negative("beta", self.beta)

    @property
    def most_iterations(self) -> int:
        """The gradient evaluations of an example without an abort."""
        return self.binary_search_steps * self.max_iterations

    @property
    def most_passes(self) -> int:
        """Forward and backward at every iterate, a test at x₀, and a last test by every rule."""
        return 2 * self.most_iterations + 1 + len(self.RULES)

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time."""
        descent = AdamInTanhSpace(self.learning_rate)
        return minimise(
            descent,
            Search.from_attack(self),
            model,
            images,
            labels,
            rules=self.RULES,
            beta=self.beta,
            batch_size=batch_size,
        )


@dataclass(frozen=True)
class AdamInTanhSpace:
    """The descent of both attacks; the state of a row is w and Adam's two moments.

    `learning_rate` is constant: once the loss has settled, only a step with better successes than before is of use.
    """

    patience: ClassVar[float] = 1.0

    learning_rate: float

    def start(self, images: Tensor) -> tuple[Tensor, ...]:
        """w⁽⁰⁾ = arctanh of x₀, moments zero."""
        w = torch.atanh((2 * images - 1) * INSIDE)
        return w, torch.zeros_like(w), torch.zeros_like(w)

    def idle_const(self, objective: Objective, rows: Rows) -> Tensor:
        """(B,) zero: Adam's first step has the length of its learning rate, however small the gradient."""
        return torch.zeros_like(rows.const)

    def under_way(self, rows: Rows, x: Tensor) -> Tensor:
        """(B,) bool: no pixel has moved by MOVED yet, and the w of one has gone inwards at half of Adam's pace.

        At a pixel of exactly 0 or 1, w starts at ∓7.25. Adam takes hundreds of iterations from there to where x depends
        on w, and the loss hardly falls until then.
        """
        w, w_start = rows.state[0], self.start(rows.image)[0]
        inwards = (w_start.sign() * (w_start - w)).flatten(1).amax(1)
        return (distances.linf(x - rows.image) < MOVED) & (inwards >= 0.5 * self.learning_rate * rows.iteration)

    def iterate(self, objective: Objective, rows: Rows) -> tuple[Tensor, Tensor]:
        """Take one step of Adam; return x⁽ᵏ⁾ (B, C, H, W), where the gradient was computed, and its logits (B, K)."""
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
