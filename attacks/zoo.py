"""ZOO: Zeroth Order Optimization Based Black-box Attacks to Deep Neural Networks without Training Substitute Models
(Chen, Zhang, Sharma, Yi, Hsieh; AISec 2017; arXiv 1708.03999).

Shapes: N examples, B rows of a batch, K classes, P = C·H·W values of an image, M coordinates of a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from eadbench.attacks.criterion import attack_loss, margin, succeeds
from eadbench.attacks.engine.const_search import UNBOUNDED, next_const
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.ledger import rounding_of
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.engine.search import Search
from eadbench.attacks.in_rounds import InRounds

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's constants."""


@dataclass(frozen=True, kw_only=True)
class ZOO(InRounds):
    """Minimise ‖x - x₀‖₂² + c·f(x, t) by Adam on a few coordinates at a time, whose slopes are differences of queries.

    It sees the model's outputs alone. f is C&W's loss of log-probabilities, max(max_{j ≠ t} log Fⱼ - log Fₜ, -κ), in
    which the normalisation of F cancels. Queries stay in [0, 1]: where x + h or x - h would not, the difference is
    one-sided. The paper's importance sampling, and its smaller attack space for large images, are not here.

    Parameters
    ----------
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    learning_rate : float
        Adam's learning rate.
    binary_search_steps : int
        Number of search steps over c.
    max_iterations : int
        I, the iterations of one search step: 3,000 on MNIST, 1,000 on CIFAR-10.
    initial_const : float
        The first c.
    abort_early : bool
        End a search step if its loss fell by less than 0.01 % over a tenth of the iterations.
    coordinates : int
        Coordinates of a step, drawn afresh each time; two queries each, beside one at x.
    h : float
        h, half of the symmetric difference.
    seed : int
        Seed of the draws.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "ZOO"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.1
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "binary_search_steps": 3,
        "max_iterations": 40,
        "initial_const": 0.3,
        "learning_rate": 0.03,
        "h": 1e-3,
    }

    kappa: float | Tensor = 0.0
    learning_rate: float = 1e-2
    binary_search_steps: int = 9
    max_iterations: int = 3000
    initial_const: float = 1e-2
    abort_early: bool = True
    coordinates: int = 128
    h: float = 1e-4
    seed: int = 0
    targeted: bool = True

    def __post_init__(self) -> None:
        Search.from_attack(self)
        if self.coordinates < 1:
            raise ValueError(f"coordinates must be at least 1, got {self.coordinates}")
        if not 0 < self.h < 1:
            raise ValueError(f"h must be in (0, 1), got {self.h}")

    @property
    def most_passes(self) -> int:
        """The queries of all iterations, and the last test."""
        return self.binary_search_steps * self.max_iterations * (2 * self.coordinates + 1) + 1

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithms 1 and 2 on every example, by every c."""
        descent = Descent(self, rounds)
        rounds.repeat(descent.step, max(1, batch_size // (2 * descent.count + 1)))
        return rounds.room


class Descent:
    """The iterates of ZOO, Adam's state of each coordinate, and the search over c."""

    def __init__(self, attack: ZOO, rounds: Rounds) -> None:
        self.attack, self.rounds = attack, rounds
        self.window = Search.from_attack(attack).window
        self.images = rounds.images.flatten(1)
        self.x = self.images.clone()
        self.mean, self.square, self.taken = (torch.zeros_like(self.x) for _ in range(3))
        """(N, P) Adam's averages, and the steps that each coordinate has taken."""
        self.const, self.before = (torch.full_like(rounds.kappa, value) for value in (attack.initial_const, torch.inf))
        self.lower, self.upper = torch.zeros_like(self.const), torch.full_like(self.const, UNBOUNDED)
        self.iteration, self.searches = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.succeeded = torch.zeros_like(rounds.labels, dtype=torch.bool)
        self.count = min(attack.coordinates, self.x.shape[1])
        self.seeds: list[int] = []

    def step(self, rows: Tensor) -> Tensor:
        """Take an iteration of each row; return (B,) bool: which have ended their search over c."""
        attack, rounds = self.attack, self.rounds
        x, const, coordinates = self.x[rows], self.const[rows], self.draw(rows)
        value = x.gather(1, coordinates)
        above, below = (value + attack.h).clamp(max=1), (value - attack.h).clamp(min=0)
        loss, slope, adversarial = self.query(rows, x, coordinates, above, below)
        rounds.claim(rows, x.view_as(rounds.images[rows]), adversarial)
        self.succeeded[rows] |= adversarial

        loss = const * loss + (x - self.images[rows]).square().sum(1)
        slope = const[:, None] * slope + 2 * (value - self.images[rows].gather(1, coordinates))
        at = (rows[:, None], coordinates)
        taken = self.taken[at] + 1
        mean = BETA1 * self.mean[at] + (1 - BETA1) * slope
        square = BETA2 * self.square[at] + (1 - BETA2) * slope.square()
        self.taken[at], self.mean[at], self.square[at] = taken, mean, square
        root = (square / (1 - BETA2**taken)).sqrt() + EPSILON
        self.x[at] = (value - attack.learning_rate * mean / (1 - BETA1**taken) / root).clamp(0, 1)
        return self.next_search(rows, loss)

    def query(
        self, rows: Tensor, x: Tensor, coordinates: Tensor, above: Tensor, below: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query `x` (B, P), and its `coordinates` (B, M) at the values `above` and `below` (B, M).

        Returns
        -------
        tuple of Tensor
            (B,) f at x, (B, M) the slopes of f, and (B,) bool: whether x is adversarial.
        """
        rounds, count = self.rounds, 2 * self.count + 1
        points = x.unsqueeze(1).repeat(1, count, 1)
        moved = torch.cat([above, below], 1)
        points[:, 1:].scatter_(2, coordinates.repeat(1, 2).unsqueeze(2), moved.unsqueeze(2))
        logits = rounds.logits_at(rows, points.view(*points.shape[:2], *rounds.images.shape[1:]))
        labels = rounds.labels[rows].repeat_interleave(count)
        # In float64 the difference of two losses loses no digits but those of the logits themselves.
        lead = margin(logits.double().flatten(0, 1), labels, targeted=rounds.targeted).view(-1, count)
        loss = attack_loss(lead, rounds.kappa[rows, None])
        fall, rise = torch.split(loss[:, 1:], self.count, dim=1)
        slope = ((fall - rise) / (above - below)).nan_to_num(0.0, 0.0, 0.0)
        adversarial = succeeds(lead[:, 0] - rounding_of(logits[:, 0]), rounds.kappa[rows])
        return loss[:, 0].to(x), slope.to(x), adversarial

    def draw(self, rows: Tensor) -> Tensor:
        """(B, M) different coordinates of each row, which depend on the example, the iteration and the seed alone."""
        values = self.x.shape[1]
        if self.count == values:
            return torch.arange(values, device=self.x.device).expand(len(rows), -1)
        if not self.seeds:
            self.seeds = seeds_of(self.rounds.images, self.rounds.labels, self.attack.seed)
        index = (self.searches * self.attack.max_iterations + self.iteration)[rows].tolist()
        states = [generator(self.seeds[row], i) for row, i in zip(rows.tolist(), index, strict=True)]
        return torch.stack([torch.randperm(values, generator=state)[: self.count] for state in states]).to(rows)

    def next_search(self, rows: Tensor, loss: Tensor) -> Tensor:
        """Begin the next search step of the rows that have ended theirs; return (B,) bool: which had the last one."""
        attack = self.attack
        self.iteration[rows] += 1
        ended = self.iteration[rows] >= attack.max_iterations
        if attack.abort_early:
            looked = self.iteration[rows] % self.window == 0
            ended |= looked & (loss > 0.9999 * self.before[rows])
            self.before[rows] = torch.where(looked, loss, self.before[rows])
        new = rows[ended]
        self.const[new], self.lower[new], self.upper[new] = next_const(
            self.const[new], self.lower[new], self.upper[new], self.succeeded[new]
        )
        self.x[new] = self.images[new]
        self.mean[new] = self.square[new] = self.taken[new] = 0
        self.before[new], self.iteration[new], self.succeeded[new] = torch.inf, 0, False
        self.searches[new] += 1
        return self.searches[rows] >= attack.binary_search_steps
