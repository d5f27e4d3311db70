"""HopSkipJumpAttack: A Query-Efficient Decision-Based Attack (Chen, Jordan, Wainwright; IEEE S&P 2020;
arXiv 1904.02144).

Shapes: N examples, B rows of a batch, M queries, C × H × W = d values of an image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin, succeeds
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

HALVINGS = 40
"""Most halvings of a binary search or a step, where rounding ends them."""
FIRST_RADIUS = 0.1
"""δ₁: the radius of the first estimate."""
DRAW, SEARCH, ESTIMATE, STEP = range(4)
"""What a row does next: draw a start, search for the boundary, estimate its normal, or step along it."""


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(InRounds):
    """Walk along the boundary by decisions alone: estimate its normal, step along it, and search back to the boundary.

    It starts from a random image that is adversarial. Towards a target none may be found; then the example fails. (The
    paper starts from an image of the target class.) The nearest adversarial image that was queried one by
    one is kept.

    Parameters
    ----------
    norm : "l2" or "linf"
        The norm that is minimised.
    steps : int
        T, the steps along the boundary; 40 in the authors' code.
    initial_queries : int
        B₀: step t estimates the normal by ⌊B₀√t⌋ queries.
    starts : int
        Most random images that are tried as a start.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own. With κ = 0, decisions
        are all that the attack sees.
    seed : int
        Seed of the draws.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "HopSkipJump"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l2": 0.05, "linf": 0.25}
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 6, "starts": 200}

    norm: Literal["l2", "linf"]
    steps: int = 40
    initial_queries: int = 100
    starts: int = 1000
    kappa: float | Tensor = 0.0
    seed: int = 0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        for name in ("initial_queries", "starts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def most_passes(self) -> int:
        """The queries of starts, searches, estimates and steps, and the last test."""
        estimates = sum(int(self.initial_queries * math.sqrt(t)) for t in range(1, self.steps + 1))
        return self.starts + 1 + estimates + (2 * self.steps + 1) * (HALVINGS + 1) + 1

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 2 on every example."""
        return rounds.repeat(Walk(self, rounds).play, batch_size)


class Walk:
    """Where each example is on the boundary, and what it does next."""

    def __init__(self, attack: HopSkipJump, rounds: Rounds) -> None:
        self.attack, self.rounds, self.images = attack, rounds, rounds.images
        self.dimension = self.images.shape[1:].numel()
        self.theta = self.dimension ** (-1.5 if attack.norm == "l2" else -2.0)
        self.phase, self.count, self.taken = (torch.zeros_like(rounds.labels) for _ in range(3))
        """(N,) the phase, the queries of this phase so far, and t."""
        self.x, self.boundary, self.normal = (self.images.clone() for _ in range(3))
        """(N, C, H, W) x̃, the adversarial image from which the search starts; xₜ; and vₜ."""
        self.low, self.high, self.limit, self.size = (torch.zeros_like(rounds.kappa) for _ in range(4))
        """(N,) the bounds of the search, the gap between them at which it ends, and ξₜ."""
        self.seeds = seeds_of(self.images, rounds.labels, attack.seed)

    def play(self, rows: Tensor) -> Tensor:
        """Query each row once, or as often as its estimate needs; return (B,) bool: which are done."""
        done = torch.zeros_like(rows, dtype=torch.bool)
        phase = self.phase[rows]
        for row in rows[phase == ESTIMATE].unsqueeze(1):
            self.estimate(row)
        single = (phase != ESTIMATE).nonzero().squeeze(1)
        if len(single):
            point = self.point(rows[single])
            adversarial = self.rounds.test(rows[single], point).adversarial
            self.rounds.claim(rows[single], point, adversarial)
            self.count[rows[single]] += 1
            for number, move in ((DRAW, self.drawn), (SEARCH, self.searched), (STEP, self.stepped)):
                own = phase[single] == number
                done[single[own]] = move(rows[single[own]], point[own], adversarial[own])
        return done

    def point(self, rows: Tensor) -> Tensor:
        """(B, C, H, W) the image that each row queries next."""
        images, middle = self.images[rows], (self.low + self.high)[rows] / 2
        searched = self.blended(rows, middle)
        stepped = (self.boundary[rows] + per_row(self.size[rows]) * self.normal[rows]).clamp(0, 1)
        point = torch.where(per_row(self.phase[rows] == STEP), stepped, searched)
        for i in (self.phase[rows] == DRAW).nonzero().flatten().tolist():
            drawn = int(self.count[rows[i]])
            state = generator(self.seeds[int(rows[i])], drawn)
            point[i] = torch.rand(images.shape[1:], generator=state).to(images) if drawn else images[i]
        return point

    def blended(self, rows: Tensor, share: Tensor) -> Tensor:
        """(B, C, H, W) between the image (a `share` (B,) of 0) and x̃: on a line, or x̃ clipped to an L∞ ball."""
        images, x, share = self.images[rows], self.x[rows], per_row(share)
        if self.attack.norm == "l2":
            return (1 - share) * images + share * x
        return torch.minimum(torch.maximum(x, images - share), images + share)

    def drawn(self, rows: Tensor, point: Tensor, adversarial: Tensor) -> Tensor:
        """Search from a random image that is adversarial; the image itself, queried first, is done if it is."""
        is_image = self.count[rows] == 1
        self.search_from(rows[adversarial], point[adversarial])
        return torch.where(adversarial, is_image, self.count[rows] > self.attack.starts)

    def search_from(self, rows: Tensor, x: Tensor) -> None:
        """Begin the binary search between the image and `x` (B, C, H, W)."""
        self.x[rows], self.phase[rows], self.count[rows], self.low[rows] = x, SEARCH, 0, 0.0
        is_line = self.attack.norm == "l2"
        longest = distances.linf(x - self.images[rows])
        self.high[rows] = torch.ones_like(longest) if is_line else longest
        self.limit[rows] = self.theta * self.high[rows].clamp(max=1)

    def searched(self, rows: Tensor, point: Tensor, adversarial: Tensor) -> Tensor:
        """Halve the search; at the boundary, estimate its normal, unless the last step is taken."""
        middle = (self.low + self.high)[rows] / 2
        self.high[rows] = torch.where(adversarial, middle, self.high[rows])
        self.low[rows] = torch.where(adversarial, self.low[rows], middle)
        arrived = ((self.high - self.low)[rows] <= self.limit[rows]) | (self.count[rows] >= HALVINGS)
        there = rows[arrived]
        self.boundary[there] = self.blended(there, self.high[there])
        self.taken[there] += 1
        self.phase[there] = ESTIMATE
        done: Tensor = arrived & (self.taken[rows] > self.attack.steps)
        return done

    def estimate(self, row: Tensor) -> None:
        """Estimate the normal at the boundary from decisions around it (equation 16), for one row (1,)."""
        rounds, t = self.rounds, int(self.taken[row])
        boundary, image = self.boundary[row], self.images[row]
        radius = FIRST_RADIUS if t == 1 else rounds.measure(self.x[row] - image).item() / self.dimension
        shape = (int(self.attack.initial_queries * math.sqrt(t)), *image.shape[1:])
        state = generator(self.seeds[int(row)], self.attack.starts + t)
        is_ball = self.attack.norm == "l2"
        noise = torch.randn(shape, generator=state) if is_ball else 2 * torch.rand(shape, generator=state) - 1
        points = (boundary + radius * distances.unit(noise.to(image))).clamp(0, 1)
        logits = rounds.logits_at(row, points.unsqueeze(0))[0]
        label, kappa = rounds.labels[row].expand(len(points)), rounds.kappa[row].expand(len(points))
        decisions = succeeds(margin(logits, label, targeted=rounds.targeted), kappa)
        normal = normal_of((points - boundary) / radius, decisions)
        self.normal[row] = normal.sign() if self.attack.norm == "linf" else distances.unit(normal.unsqueeze(0))
        self.size[row] = rounds.measure(boundary - image) / math.sqrt(t)
        self.phase[row], self.count[row] = STEP, 0

    def stepped(self, rows: Tensor, point: Tensor, adversarial: Tensor) -> Tensor:
        """Search from where the step arrived if that is adversarial; else halve the step."""
        stuck = ~adversarial & (self.count[rows] >= HALVINGS)
        self.size[rows] /= 2
        self.search_from(rows[adversarial], point[adversarial])
        self.search_from(rows[stuck], self.boundary[rows[stuck]])
        return torch.zeros_like(adversarial)


def normal_of(directions: Tensor, decisions: Tensor) -> Tensor:
    """(C, H, W) the mean of `directions` (M, C, H, W) by φ = ±1, less its own mean unless all decisions (M,) agree."""
    phi = torch.where(decisions, 1.0, -1.0).to(directions)
    if not (decisions.all() or not decisions.any()):
        phi = phi - phi.mean()
    return (per_row(phi) * directions).mean(0)
