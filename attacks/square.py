"""Square Attack: a query-efficient black-box adversarial attack via random search (Andriushchenko, Croce, Flammarion,
Hein; ECCV 2020; arXiv 1912.00049); in L1 as extended by Croce and Hein (ICML 2021; arXiv 2103.01208).

Shapes: N examples, B rows of a batch, C × H × W values of an image, S windows' sizes, V draws of a query.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import log_odds
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.engine.checks import check_choice, check_not_negative
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.projections import l1_in_box
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

HALVED_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""The proposals after which p halves, of 10,000."""
BLOCK = 128
"""Queries whose draws are made at a time."""
TINY = 1e-12
"""Added to divisors that may be 0."""


@dataclass(frozen=True, kw_only=True)
class Square(InRounds):
    """Change a random square of the image, and keep the change if the loss rises; the squares shrink.

    It sees the model's outputs alone. Every query lies in the ball of radius ε and in [0, 1]. An example leaves at its
    first success.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        The norm of the ball.
    epsilon : float
        ε, its radius.
    queries : int
        Queries of an example, beside that of the image itself. The first is of stripes (L∞) or tiles (L1, L2).
    p_init : float
        p, the share of an image's values that a square changes at first.
    rescale : bool
        Shrink the squares on the paper's schedule for 10,000 queries, scaled to `queries`; or not scaled, as AutoAttack
        does.
    loss : "margin" or "ce", optional
        The margin, or the cross-entropy; by default, as in the paper, the latter towards a target.
    seed : int
        Seed of the draws.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "Square"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "epsilon", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l1": 3.0, "l2": 1.5, "linf": 5.5}  # ε is given
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"epsilon": 1.0, "queries": 150}

    norm: Literal["l1", "l2", "linf"]
    epsilon: float
    queries: int = 5000
    p_init: float = 0.8
    rescale: bool = True
    loss: Literal["margin", "ce"] | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_not_negative("kappa", self.kappa)
        if self.loss is not None:
            check_choice("loss", self.loss, ("margin", "ce"))
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")
        if self.queries < 1:
            raise ValueError(f"queries must be at least 1, got {self.queries}")
        if not 0 < self.p_init <= 1:
            raise ValueError(f"p_init must be in (0, 1], got {self.p_init}")

    @property
    def most_passes(self) -> int:
        """The queries, that of the image, and the last test."""
        return self.queries + 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 1 on every example."""
        search = (Squares if self.norm == "linf" else Pyramids)(self, rounds)
        batch_size = rounds.repeat(search.play, rounds.repeat(search.look, batch_size))
        rounds.epsilon = torch.where(rounds.least > 0, self.epsilon, 0.0)
        return batch_size


class Squares:
    """The random search of each example; in L∞, by squares of ±ε."""

    def __init__(self, attack: Square, rounds: Rounds) -> None:
        self.attack, self.rounds, self.images = attack, rounds, rounds.images
        _, self.channels, self.height, self.width = self.images.shape
        self.x = self.images.clone()
        """(N, C, H, W) the best iterate."""
        self.loss = torch.full_like(rounds.kappa, -torch.inf)
        self.asked = torch.zeros_like(rounds.labels)
        """(N,) the queries so far."""
        self.seeds = seeds_of(self.images, rounds.labels, attack.seed)
        self.draws = self.images.new_zeros(len(self.images), BLOCK, 5 + self.channels)
        """(N, BLOCK, V) uniform numbers: where two windows are, which way the pattern lies, and its signs."""
        per_halving = [self.side(attack.p_init / 2**halvings) for halvings in range(len(HALVED_AFTER) + 1)]
        self.sides = sorted(set(per_halving))
        self.side_at = torch.tensor([self.sides.index(side) for side in per_halving], device=self.images.device)
        """By halvings of p, the index of the window's side among `sides`."""
        scale = attack.queries / 10_000 if attack.rescale else 1.0
        self.ends = torch.tensor([int(end * scale) for end in HALVED_AFTER], device=self.images.device)

    def side(self, p: float) -> int:
        """The side of a window of the share p of an image."""
        side = max(1, round(math.sqrt(p * self.height * self.width)))
        return min(side, self.height, self.width)

    def look(self, rows: Tensor) -> Tensor:
        """Test the images themselves."""
        return torch.ones_like(self.rounds.look(rows).adversarial)

    def play(self, rows: Tensor) -> Tensor:
        """Query a proposal of each row, and keep it if it is better; return (B,) bool: which rows are done."""
        x, rounds = self.proposed(rows), self.rounds
        answer = rounds.test(rows, x)
        rounds.claim(rows, x, answer.adversarial)
        loss = self.losses(rows, answer.logits, answer.margin)
        better = loss > self.loss[rows]
        self.x[rows] = torch.where(per_row(better), x, self.x[rows])
        self.loss[rows] = torch.where(better, loss, self.loss[rows])
        self.asked[rows] += 1
        return answer.adversarial | (self.asked[rows] >= self.attack.queries)

    def losses(self, rows: Tensor, logits: Tensor, margin: Tensor) -> Tensor:
        """(B,) the loss that is raised; log odds stand for the cross-entropy, whose order they share."""
        attack = self.attack
        if (attack.loss or ("ce" if attack.targeted else "margin")) == "margin":
            return margin
        return log_odds(logits, self.rounds.labels[rows]) * (1 if attack.targeted else -1)

    def proposed(self, rows: Tensor) -> Tensor:
        """(B, C, H, W) what each row queries next, which depends on the example, its queries so far and the seed."""
        asked = self.asked[rows]
        for row in rows[asked % BLOCK == 0].tolist():
            state = generator(self.seeds[row], 1 + int(self.asked[row]) // BLOCK)
            self.draws[row] = torch.rand(self.draws.shape[1:], generator=state).to(self.draws)
        x = self.changed(rows, self.draws[rows, asked % BLOCK])
        for i in (asked == 0).nonzero().flatten().tolist():
            x[i] = self.start(int(rows[i]))
        return x

    def start(self, row: int) -> Tensor:
        """(C, H, W) the first query: vertical stripes of ±ε."""
        draws = torch.rand(self.channels, 1, self.width, generator=generator(self.seeds[row], 0))
        return (self.images[row] + self.attack.epsilon * _sign(draws).to(self.images)).clamp(0, 1)

    def changed(self, rows: Tensor, draws: Tensor) -> Tensor:
        """(B, C, H, W) the iterates with a square of each replaced, by `draws` (B, V)."""
        images, epsilon = self.images[rows], self.attack.epsilon
        side, _ = self.window_sides(rows)
        change = 2 * epsilon * _sign(draws[:, 5:, None, None]) * self.window(draws[:, 0], draws[:, 1], side)[0]
        return (self.x[rows] + change).clamp(images - epsilon, images + epsilon).clamp(0, 1)

    def window_sides(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) the side of each row's window, and (B,) its index among `sides`."""
        proposals = self.asked[rows] - 1
        index = self.side_at[(proposals[:, None] > self.ends).sum(1)]
        return torch.tensor(self.sides, device=rows.device)[index], index

    def window(self, across: Tensor, down: Tensor, side: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 1, H, W) bool: the squares at uniform positions; and the rows (B, H) and columns (B, W) within them."""
        top, left = (across * (self.height - side + 1)).long(), (down * (self.width - side + 1)).long()
        i = torch.arange(self.height, device=side.device) - top[:, None]
        j = torch.arange(self.width, device=side.device) - left[:, None]
        in_rows, in_columns = (i >= 0) & (i < side[:, None]), (j >= 0) & (j < side[:, None])
        return (in_rows[:, :, None] & in_columns[:, None, :]).unsqueeze(1), i, j


class Pyramids(Squares):
    """The random search in L1 and L2: a window takes what is left of ε and of another one, in two opposite bumps."""

    def __init__(self, attack: Square, rounds: Rounds) -> None:
        self.measure = distances.NORMS[attack.norm]
        self.power = 2 if attack.norm == "l2" else 4
        super().__init__(attack, rounds)
        images = self.images
        self.patterns = images.new_zeros(len(self.sides), 2, self.height, self.width)
        """(S, 2, H, W) η of each side and its transpose, in the upper left corner."""
        for index, side in enumerate(self.sides):
            pattern = self.bumps(side)
            self.patterns[index, 0, :side, :side], self.patterns[index, 1, :side, :side] = pattern, pattern.T

    def side(self, p: float) -> int:
        """The side of a window: odd, and at least 3."""
        side = max(3, round(math.sqrt(p * self.height * self.width)))
        return min(side + 1 - side % 2, self.height, self.width)

    def bumps(self, side: int) -> Tensor:
        """(side, side) η: a bump above its negative, of norm 1 (equation 2 of the paper)."""
        upper = self.bump(side // 2, side)
        eta = torch.cat([upper, -self.bump(side - side // 2, side)])
        return eta / self.length(eta)

    def bump(self, height: int, width: int) -> Tensor:
        """(height, width) rectangles around the centre, one upon the other, of norm 1."""
        eta = self.images.new_zeros(height, width)
        for k in range(max(height // 2, width // 2) + 1):
            top, left = height // 2 - k, width // 2 - k
            eta[max(top, 0) : top + 2 * k + 1, max(left, 0) : left + 2 * k + 1] += 1 / (k + 1) ** self.power
        return eta / self.length(eta) if height else eta

    def length(self, eta: Tensor) -> Tensor:
        """The norm of a pattern (H, W)."""
        return self.measure(eta.unsqueeze(0))[0]

    def lengths(self, delta: Tensor) -> Tensor:
        """(B, C, 1, 1) the norm of each channel."""
        return self.measure(delta.flatten(0, 1)).view(*delta.shape[:2], 1, 1)

    def start(self, row: int) -> Tensor:
        """(C, H, W) the first query: tiles of bumps, five to a side in large images."""
        side = max(1, min(self.height, self.width) // 5)
        down, across = self.height // side, self.width // side
        draws = torch.rand(down, across, 1 + self.channels, generator=generator(self.seeds[row], 0)).to(self.images)
        pattern, delta = self.bumps(side), torch.zeros_like(self.images[row])
        first_row, first_column = (self.height - down * side) // 2, (self.width - across * side) // 2
        for i in range(down):
            for j in range(across):
                turned = pattern.T if draws[i, j, 0] > 0.5 else pattern
                top, left = first_row + i * side, first_column + j * side
                delta[:, top : top + side, left : left + side] = _sign(draws[i, j, 1:])[:, None, None] * turned
        return self.in_ball(self.images[row, None], delta.unsqueeze(0))[0]

    def changed(self, rows: Tensor, draws: Tensor) -> Tensor:
        """(B, C, H, W) the iterates with a window of each changed and another one emptied (algorithm 3)."""
        images = self.images[rows]
        delta = self.x[rows] - images
        side, index = self.window_sides(rows)
        first, i, j = self.window(draws[:, 0], draws[:, 1], side)
        second, _, _ = self.window(draws[:, 2], draws[:, 3], side)
        turned = (draws[:, 4] > 0.5).long()
        i, j = i.clamp(0, self.height - 1), j.clamp(0, self.width - 1)
        pattern = self.patterns[index[:, None, None], turned[:, None, None], i[:, :, None], j[:, None, :]]
        within = delta * first
        moved = _sign(draws[:, 5:, None, None]) * pattern.unsqueeze(1) * first + within / (TINY + self.lengths(within))
        moved = moved / (TINY + self.lengths(moved)) * self.available(delta, delta * (first | second))
        return self.in_ball(images, torch.where(first, moved, torch.where(second, 0, delta)))

    def available(self, delta: Tensor, within: Tensor) -> Tensor:
        """(B, C, 1, 1) the norm that a window may take: that `within` both windows, and a share of what ε leaves."""
        epsilon, used = self.attack.epsilon, per_row(self.measure(delta))
        if self.attack.norm == "l2":
            return ((epsilon**2 - used**2).clamp(min=0) / self.channels + self.lengths(within) ** 2).sqrt()
        return (epsilon - used).clamp(min=0) + self.channels * self.lengths(within)

    def in_ball(self, images: Tensor, delta: Tensor) -> Tensor:
        """(B, C, H, W) images + δ, brought to the sphere and then into [0, 1]; in L1, projected to both."""
        epsilon = torch.full_like(delta[:, 0, 0, 0], self.attack.epsilon)
        in_l1 = self.attack.norm == "l1"
        delta = l1_in_box(delta, epsilon, images) if in_l1 else per_row(epsilon) * distances.unit(delta)
        return (images + delta).clamp(0, 1)


def _sign(draws: Tensor) -> Tensor:
    """±1 by uniform draws."""
    return torch.where(draws < 0.5, -1.0, 1.0)
