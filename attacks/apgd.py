"""APGD: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks (Croce, Hein;
ICML 2020; arXiv 2003.01690)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.distances import unit
from eadbench.attacks.engine.ball import BallSearch, check_ball, most_passes
from eadbench.attacks.engine.checks import check_choice
from eadbench.attacks.engine.projections import PROJECTIONS
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

MOMENTUM = 0.75
"""α: weight of the step in each iterate after the first; that of the last step is 1 - α."""


@dataclass(frozen=True, kw_only=True)
class APGD(InRounds):
    """Ascend a loss in an ε-ball by projected gradients with momentum; halve the step size where progress ends.

    Without `epsilon`, find the smallest ε of each example by bisection. An example leaves at its first success.

    Parameters
    ----------
    norm : "l2" or "linf"
        The norm of the ball; :class:`APGDL1` is for L1.
    epsilon : float, optional
        ε, the radius. None minimises it.
    steps : int
        Iterations of each run, a gradient each, beside that of the start.
    loss : "ce" or "dlr"
        The cross-entropy, or the difference of logits ratio: equation 6, and equation 7 towards a target.
    targets : int
        Untargeted only: aim at this many classes, one after the other, from the most likely on. 9 is the paper's
        APGD-T. 0 moves away from the true class.
    restarts : int
        Runs from different starts, for each target.
    random_start : bool
        Start at random on the sphere (L2) or in the cube (L∞), by the example and `seed`; or at the image.
    rho : float
        ρ: the least share of steps between two checkpoints that must raise the loss.
    search_steps, initial_epsilon : int, float
        Most ε that are tried if `epsilon` is None, and the first one. By default, 1 in L2 and 0.1 in L∞.
    seed : int
        Seed of the starts.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "APGD"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "epsilon", "loss", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.01
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 8, "search_steps": 9, "random_start": False}

    norm: Literal["l2", "linf"]
    epsilon: float | None = None
    steps: int = 100
    loss: Literal["ce", "dlr"] = "dlr"
    targets: int = 0
    restarts: int = 1
    random_start: bool = True
    rho: float = 0.75
    search_steps: int = 20
    initial_epsilon: float | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_ball(self)

    @property
    def most_passes(self) -> int:
        """The passes of an example that no ε breaks."""
        return most_passes(self, self.steps + 1)

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 1 in balls around every example."""
        return BallSearch(self, rounds, Ascent(rounds, self.norm, self.steps, self.rho)).run(batch_size)


def checkpoints(steps: int) -> list[int]:
    """W: ⌈pⱼ·steps⌉ with p₀ = 0, p₁ = 0.22 and pⱼ₊₁ = pⱼ + max(pⱼ - pⱼ₋₁ - 0.03, 0.06), in hundredths."""
    shares = [0, 22]
    while shares[-1] < 100:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 3, 6))
    return sorted({-(-share * steps // 100) for share in shares if share <= 100})


class Ascent:
    """Algorithm 1, for each example from where it started.

    Attributes
    ----------
    x : Tensor
        (N, C, H, W) x⁽ᵏ⁾, to be queried next.
    """

    def __init__(self, rounds: Rounds, norm: str, steps: int, rho: float) -> None:
        self.images, self.norm, self.steps, self.rho = rounds.images, norm, steps, rho
        self.x, self.old, self.best = (self.images.clone() for _ in range(3))
        self.best_gradient = torch.zeros_like(self.images)
        self.radius, self.size, self.last, self.best_loss, self.checked = (
            torch.zeros_like(rounds.kappa) for _ in range(5)
        )
        self.k, self.rises = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.reduced = torch.zeros_like(rounds.labels, dtype=torch.bool)
        self.window = torch.zeros(steps + 2, dtype=torch.int64, device=self.images.device)
        """For each k in W, the steps since the checkpoint before it; else 0."""
        points = checkpoints(steps)
        for before, point in pairwise(points):
            self.window[point] = point - before

    def start(self, rows: Tensor, radius: Tensor, noise: Tensor | None) -> None:
        """Begin in the ball of `radius` (B,) at x₀, or at x₀ + noise, scaled to the ball."""
        images = self.images[rows]
        self.x[rows] = images if noise is None else self.projected(rows, images + self.scaled(noise, radius), radius)
        self.old[rows] = self.best[rows] = self.x[rows]
        self.radius[rows], self.size[rows] = radius, 2 * radius
        self.best_loss[rows] = self.checked[rows] = self.last[rows] = -torch.inf
        self.k[rows] = self.rises[rows] = 0
        self.reduced[rows] = False

    def advance(self, rows: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Move on from x⁽ᵏ⁾, given its loss (B,) and gradient; return (B,) bool: whether that was the last iterate."""
        x, k = self.x[rows], self.k[rows]
        self.keep_best(rows, x, loss, gradient)
        rises = self.rises[rows] + ((loss > self.last[rows]) & (k > 0))
        best_loss, window = self.best_loss[rows], self.window[k]
        is_start, is_checkpoint = k == 0, window > 0
        few = rises < self.rho * window  # condition 1
        stale = ~self.reduced[rows] & (best_loss <= self.checked[rows])  # condition 2
        reduce = is_checkpoint & (few | stale)

        self.size[rows] = torch.where(reduce, self.size[rows] / 2, self.size[rows])
        self.last[rows] = torch.where(reduce, best_loss, loss)
        self.reduced[rows] = torch.where(is_checkpoint, reduce, self.reduced[rows])
        self.checked[rows] = torch.where(is_checkpoint | is_start, best_loss, self.checked[rows])
        self.rises[rows] = torch.where(is_checkpoint, 0, rises)
        x = torch.where(per_row(reduce), self.best[rows], x)
        gradient = torch.where(per_row(reduce), self.best_gradient[rows], gradient)

        alpha = per_row(torch.where(is_start, 1.0, MOMENTUM).to(x))
        z = self.projected(rows, x + self.step(rows, gradient), self.radius[rows])
        ahead = self.projected(rows, x + alpha * (z - x) + (1 - alpha) * (x - self.old[rows]), self.radius[rows])
        self.old[rows], self.x[rows] = x, ahead
        self.k[rows] += 1
        return k >= self.steps

    def keep_best(self, rows: Tensor, x: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Update x_max and f_max."""
        better = loss > self.best_loss[rows]
        self.best_loss[rows] = torch.where(better, loss, self.best_loss[rows])
        self.best[rows] = torch.where(per_row(better), x, self.best[rows])
        self.best_gradient[rows] = torch.where(per_row(better), gradient, self.best_gradient[rows])

    def step(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return η times the sign of the gradient, or in L2 its direction."""
        direction = gradient.sign() if self.norm == "linf" else unit(gradient)
        return per_row(self.size[rows]) * direction

    def scaled(self, noise: Tensor, radius: Tensor) -> Tensor:
        """(B, C, H, W) noise of length `radius`."""
        return per_row(radius) * unit(noise, distances.NORMS[self.norm])

    def projected(self, rows: Tensor, x: Tensor, radius: Tensor) -> Tensor:
        """Project to the ball, then to [0, 1]."""
        images = self.images[rows]
        return (images + PROJECTIONS[self.norm](x - images, radius)).clamp(0, 1)
