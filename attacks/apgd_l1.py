"""APGD-L1: Mind the Box: l1-APGD for Sparse Adversarial Attacks on Image Classifiers (Croce, Hein; ICML 2021; arXiv
2103.01208)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.engine.ball import BallSearch, check_ball, most_passes
from eadbench.attacks.engine.projections import l1_in_box
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

PHASES = ((3, 0.3), (2, 0.3), (1, 0.4))
"""The radius over ε, and the share of the steps, of each phase."""
FIRST_SHARE = 0.2
"""The share of values that a step changes at first, if a run begins at the image."""
CHECK_EVERY = 0.04
"""The share of steps between two checkpoints."""
SPARSER = 0.95
"""The ratio of changed values, between two checkpoints, below which a run goes on from its best iterate."""
DECREASE, LEAST_SIZE = 1.5, 0.1
"""Divisor of the step size and of the number of values; and the least step size over ε."""


@dataclass(frozen=True, kw_only=True)
class APGDL1(InRounds):
    """Ascend a loss by sparse steps, each projected to the intersection of the L1 ball with [0, 1].

    Without `epsilon`, find the smallest ε of each example by bisection. An example leaves at its first success.

    Parameters
    ----------
    epsilon : float, optional
        ε, the radius. None minimises it.
    steps : int
        Iterations of each run, a gradient each, beside that of each start.
    larger_radii : bool
        Begin in the ball of 3ε, then 2ε, as in the paper's multi-ε scheme; or stay in that of ε.
    loss, targets, restarts, random_start, search_steps, initial_epsilon, seed
        Those of :class:`APGD`; the first ε is 10.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "APGD-L1"
    AXES: ClassVar[tuple[str, ...]] = ("epsilon", "loss", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.4  # a step changes two of 36 values at least
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 25, "search_steps": 10, "random_start": False}

    norm: ClassVar[str] = "l1"
    epsilon: float | None = None
    steps: int = 100
    larger_radii: bool = True
    loss: Literal["ce", "dlr"] = "dlr"
    targets: int = 0
    restarts: int = 1
    random_start: bool = True
    search_steps: int = 20
    initial_epsilon: float | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_ball(self)

    @property
    def phases(self) -> list[tuple[int, int]]:
        """The radius over ε, and the steps, of each phase."""
        if not self.larger_radii:
            return [(1, self.steps)]
        lengths = [math.ceil(share * self.steps) for _, share in PHASES[:-1]]
        left = self.steps - sum(lengths)
        return [(1, self.steps)] if left < 1 else [*zip((3, 2, 1), [*lengths, left], strict=True)]

    @property
    def most_passes(self) -> int:
        """The passes of an example that no ε breaks."""
        return most_passes(self, self.steps + len(self.phases))

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run the ascent in balls around every example."""
        return BallSearch(self, rounds, SparseAscent(rounds, self.phases)).run(batch_size)


class SparseAscent:
    """The ascent by sparse steps, for each example from where it started.

    Attributes
    ----------
    x : Tensor
        (N, C, H, W) x⁽ⁱ⁾, to be queried next.
    """

    def __init__(self, rounds: Rounds, phases: list[tuple[int, int]]) -> None:
        images, labels = rounds.images, rounds.labels
        self.images, self.values = images, images[0].numel() if len(images) else 1
        self.factors = torch.tensor([factor for factor, _ in phases], device=images.device)
        self.lengths = torch.tensor([length for _, length in phases], device=images.device)
        self.x, self.best, self.best_gradient = images.clone(), images.clone(), torch.zeros_like(images)
        self.epsilon, self.size, self.best_loss = (torch.zeros_like(rounds.kappa) for _ in range(3))
        self.share, self.changed = torch.zeros_like(rounds.kappa), torch.zeros_like(rounds.kappa)
        """(N,) the share of values that a step changes; and how many differ, at the last checkpoint."""
        self.phase, self.i = torch.zeros_like(labels), torch.zeros_like(labels)

    def start(self, rows: Tensor, radius: Tensor, noise: Tensor | None) -> None:
        """Begin in the first phase's ball, at x₀ or at x₀ + noise, projected to the ball."""
        self.epsilon[rows], self.phase[rows] = radius, 0
        x = self.images[rows]
        self.begin_phase(rows, x if noise is None else x + noise)
        if noise is None:
            self.share[rows], self.changed[rows] = FIRST_SHARE, float(self.values)

    def begin_phase(self, rows: Tensor, x: Tensor) -> None:
        """Begin a phase at `x`, projected to its ball."""
        radius = self.radius(rows)
        x = self.projected(rows, x)
        changed = distances.l0(x - self.images[rows])
        self.x[rows] = self.best[rows] = x
        self.size[rows], self.i[rows], self.best_loss[rows] = radius, 0, -torch.inf
        self.changed[rows], self.share[rows] = changed, changed / self.values / DECREASE

    def radius(self, rows: Tensor) -> Tensor:
        """(B,) the radius of the phase's ball."""
        return self.factors[self.phase[rows]] * self.epsilon[rows]

    def advance(self, rows: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Move on from x⁽ⁱ⁾, given its loss (B,) and gradient; return (B,) bool: whether that was the last iterate."""
        x, i, length = self.x[rows], self.i[rows], self.lengths[self.phase[rows]]
        better = loss > self.best_loss[rows]
        self.best_loss[rows] = torch.where(better, loss, self.best_loss[rows])
        self.best[rows] = torch.where(per_row(better), x, self.best[rows])
        self.best_gradient[rows] = torch.where(per_row(better), gradient, self.best_gradient[rows])

        window = (CHECK_EVERY * length).long().clamp(min=1)
        again = self.check(rows, (i > 0) & (i % window == 0))
        x = torch.where(per_row(again), self.best[rows], x)
        gradient = torch.where(per_row(again), self.best_gradient[rows], gradient)
        self.x[rows] = self.projected(rows, x + self.step(rows, gradient))
        self.i[rows] += 1

        ends = i >= length
        is_last = ends & (self.phase[rows] + 1 >= len(self.lengths))
        moving = rows[ends & ~is_last]
        if len(moving):
            self.phase[moving] += 1
            self.begin_phase(moving, self.best[moving])
        return is_last

    def check(self, rows: Tensor, is_checkpoint: Tensor) -> Tensor:
        """Adapt the step size and the number of values at a checkpoint; return which rows go on from their best."""
        radius, changed = self.radius(rows), distances.l0(self.best[rows] - self.images[rows])
        is_sparser = changed < SPARSER * self.changed[rows]
        size = torch.where(is_sparser, radius, (self.size[rows] / DECREASE).clamp(min=LEAST_SIZE * radius))
        self.size[rows] = torch.where(is_checkpoint, size, self.size[rows])
        self.share[rows] = torch.where(is_checkpoint, changed / self.values / DECREASE, self.share[rows])
        self.changed[rows] = torch.where(is_checkpoint, changed, self.changed[rows])
        return is_checkpoint & is_sparser

    def step(self, rows: Tensor, gradient: Tensor) -> Tensor:
        """Return a step of L1 norm η along the signs of the greatest derivatives."""
        size = gradient.abs().flatten(1)
        index = ((1 - self.share[rows]) * self.values).clamp(0, self.values - 1).long()
        least = size.sort(dim=1).values.gather(1, index[:, None])
        signs = torch.where(size >= least, gradient.flatten(1).sign(), 0).view_as(gradient)
        return per_row(self.size[rows] / (distances.l1(signs) + 1e-10)) * signs

    def projected(self, rows: Tensor, x: Tensor) -> Tensor:
        """Project to the intersection of the phase's ball and [0, 1]."""
        images = self.images[rows]
        return (images + l1_in_box(x - images, self.radius(rows), images)).clamp(0, 1)
