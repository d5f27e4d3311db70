"""C&W's L2 attack for a budget of passes: the objective of Carlini & Wagner (2017), searched as EAD searches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from eadbench.attacks.budgeted_ead import BudgetedEAD
from eadbench.attacks.engine.walk import Queries
from eadbench.attacks.minimum_norm import MinimumNorm


@dataclass(frozen=True, kw_only=True)
class BudgetedCarliniWagner(MinimumNorm):
    """Minimise c·f(x, t) + ‖x - x₀‖₂² over x in [0, 1]ᵖ, as :class:`BudgetedEAD` does with β = 0.

    The published attack keeps x in [0, 1] by a change of variable, x = (tanh(w) + 1)/2, and moves w by Adam. Projected
    steps, which Carlini and Wagner name first among the ways to keep the box, are nearer at a budget of passes.

    Parameters
    ----------
    steps : int
        Gradient evaluations of each example; on a budget, half of it by default.
    searches : int, optional
        Searches, of equally many iterations; by default one for every 160 steps.
    seed : int
        Seed of the random images from which searches start.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach (equation 3) or true classes to leave (equation 6).
    """

    LABEL: ClassVar[str] = "C&W"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.02
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 100}

    steps: int = 1000
    searches: int | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        self.search()

    def search(self) -> BudgetedEAD:
        """Return the EAD that runs."""
        names = ("steps", "searches", "seed", "kappa", "targeted")
        return BudgetedEAD(norm="l2", beta=0.0, **{name: getattr(self, name) for name in names})

    def walk(self, queries: Queries) -> None:
        """Search from every start, and refine the nearest image found."""
        self.search().walk(queries)
