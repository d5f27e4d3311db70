"""Attacks in a ball of radius ε: at a given ε, or at the smallest one of each example, found by bisection.

Shapes: N examples, B rows of a batch, K classes.
"""

from typing import Any, Protocol

import torch
from torch import Tensor

from eadbench.attacks.criterion import log_odds, logit_range, margin
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.progress import advance
from eadbench.attacks.engine.rounds import Rounds

__all__ = ["INITIAL_EPSILON", "Ascending", "BallSearch", "check_ball", "most_passes"]

INITIAL_EPSILON = {"l1": 10.0, "l2": 1.0, "linf": 0.1}
"""The first ε of a bisection, by norm; it doubles until one succeeds."""
RESOLUTION = 1e-3
"""A bisection ends when its bounds differ by less than this, relatively."""
ROUNDING = 1e-5
"""How much longer than ε a perturbation may be by rounding, relatively."""


class Ascending(Protocol):
    """The ascent of a loss in a ball, for each example."""

    x: Tensor
    """(N, C, H, W) the iterates to be queried next."""

    def start(self, rows: Tensor, radius: Tensor, noise: Tensor | None) -> None:
        """Begin in the ball of `radius` (B,), at the image or at random."""

    def advance(self, rows: Tensor, loss: Tensor, gradient: Tensor) -> Tensor:
        """Move on from `x`; return (B,) bool: whether that was the last iterate."""


def check_ball(attack: Any) -> None:
    """Check the fields that a :class:`BallSearch` reads; raise a ValueError otherwise."""
    check_steps(attack.steps)
    check_choice("loss", attack.loss, ("ce", "dlr"))
    check_not_negative("kappa", attack.kappa)
    check_not_negative("targets", attack.targets)
    for name in ("restarts", "search_steps"):
        if getattr(attack, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(attack, name)}")
    for name in ("epsilon", "initial_epsilon"):
        value = getattr(attack, name)
        if value is not None and not 0 < value < torch.inf:
            raise ValueError(f"{name} must be above 0, got {value}")
    if attack.targeted and attack.targets:
        raise ValueError("targets is for untargeted attacks: with targeted, the labels are the classes to aim at")


def most_passes(attack: Any, queries: int) -> int:
    """Return the passes of an example that no ε breaks, whose runs have `queries` each."""
    runs = attack.restarts * max(1, attack.targets)
    return int(3 * queries * runs * (attack.search_steps if attack.epsilon is None else 1)) + 2


class BallSearch:
    """The runs of an ascent, at each ε of each example.

    Parameters
    ----------
    attack
        Its fields are those of :class:`eadbench.attacks.APGD`.
    ascent
        The state of its runs.
    """

    def __init__(self, attack: Any, rounds: Rounds, ascent: Ascending) -> None:
        self.attack, self.rounds, self.ascent = attack, rounds, ascent
        first = attack.epsilon or attack.initial_epsilon or INITIAL_EPSILON[attack.norm]
        self.epsilon, self.lower = torch.full_like(rounds.kappa, first), torch.zeros_like(rounds.kappa)
        self.won = torch.full_like(rounds.kappa, torch.nan)
        self.tried, self.run_index = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.over = torch.zeros_like(rounds.labels, dtype=torch.bool)
        self.runs, self.ranked = attack.restarts, torch.zeros(0, dtype=torch.int64)
        self.seeds: list[int] = []

    def run(self, batch_size: int) -> int:
        """Attack every example; return the batch size that fitted into memory."""
        rounds = self.rounds
        batch_size = rounds.repeat(self.look, batch_size)
        self.restart(rounds.left.nonzero().squeeze(1))
        batch_size = rounds.repeat(self.play, batch_size)
        rounds.epsilon = self.won
        return batch_size

    def look(self, rows: Tensor) -> Tensor:
        """Test the images themselves, and rank the classes to aim at."""
        rounds = self.rounds
        answer = rounds.look(rows)
        self.won[rows[answer.adversarial]] = 0.0
        if self.attack.targets:
            count = min(self.attack.targets, answer.logits.shape[1] - 1)
            if not len(self.ranked):
                self.ranked = rounds.labels.new_zeros(len(rounds.labels), count)
                self.runs = self.attack.restarts * count
            others = answer.logits.scatter(1, rounds.labels[rows].unsqueeze(1), -torch.inf)
            self.ranked[rows] = others.topk(count, dim=1).indices
        return torch.ones_like(answer.adversarial)

    def draw(self, rows: Tensor) -> Tensor:
        """(B, C, H, W) the noise at the start of each row's run, which depends on the example, run and seed alone."""
        if not self.seeds:
            self.seeds = seeds_of(self.rounds.images, self.rounds.labels, self.attack.seed)
        shape, draws = self.rounds.images.shape[1:], []
        for row, run in zip(rows.tolist(), self.run_index[rows].tolist(), strict=True):
            state, is_cube = generator(self.seeds[row], run), self.attack.norm == "linf"
            noise = torch.rand(shape, generator=state) if is_cube else torch.randn(shape, generator=state)
            draws.append(2 * noise - 1 if is_cube else noise)
        return torch.stack(draws).to(self.rounds.images)

    def restart(self, rows: Tensor) -> None:
        """Begin the next run of `rows` (B,)."""
        if len(rows):
            noise = self.draw(rows) if self.attack.random_start else None
            self.ascent.start(rows, self.epsilon[rows], noise)

    def play(self, rows: Tensor) -> Tensor:
        """Query an iterate of each row, and move on; return which rows are done."""
        rounds, x, epsilon = self.rounds, self.ascent.x[rows], self.epsilon[rows]
        near = rounds.measure(x - rounds.images[rows]) <= (1 + ROUNDING) * epsilon
        answer = rounds.query(
            rows,
            x,
            lambda logits: self.losses(rows, logits),
            asking=lambda answer: ~(answer.adversarial & near),
        )
        inside = answer.adversarial & near
        rounds.claim(rows, x, inside if self.attack.epsilon else answer.adversarial)
        self.won[rows] = torch.where(inside, epsilon, self.won[rows])
        is_last = self.ascent.advance(rows, answer.losses[:, 0], answer.gradients[:, 0])

        ended = inside | is_last
        self.run_index[rows[ended]] += 1
        over = inside | (ended & (self.run_index[rows] >= self.runs))
        done = torch.zeros_like(over)
        done[over] = self.end_epsilon(rows[over], inside[over])
        self.restart(rows[ended & ~done])
        self.over[rows] = done
        advance(self.share_done)
        return done

    def share_done(self) -> float:
        """Return the share of the runs that are done, over the examples."""
        searches = 1 if self.attack.epsilon else self.attack.search_steps
        share = (self.tried + self.run_index / self.runs) / searches
        return float(torch.where(self.over, 1.0, share).mean())

    def end_epsilon(self, rows: Tensor, succeeded: Tensor) -> Tensor:
        """Choose the next ε; return (n,) bool: whether there is none."""
        self.run_index[rows] = 0
        self.tried[rows] += 1
        if self.attack.epsilon:
            return torch.ones_like(succeeded)
        epsilon, upper, greatest = self.epsilon[rows], self.rounds.least[rows], self.rounds.greatest[rows]
        lower = torch.where(succeeded, self.lower[rows], epsilon)
        self.lower[rows] = torch.minimum(lower, upper)
        wider = torch.minimum(2 * epsilon, greatest)
        self.epsilon[rows] = torch.where(upper.isfinite(), (self.lower[rows] + upper) / 2, wider)
        is_narrow = upper.isfinite() & (upper - self.lower[rows] <= RESOLUTION * upper)
        hopeless = upper.isinf() & (epsilon >= greatest)
        done: Tensor = is_narrow | hopeless | (self.tried[rows] >= self.attack.search_steps)
        return done

    def losses(self, rows: Tensor, logits: Tensor) -> Tensor:
        """(B, 1) the loss that is raised; log odds stand for the cross-entropy, whose order they share.

        Equation 7 has the true class, which a targeted attack is not told: the greatest other logit stands for it.
        """
        attack, labels = self.attack, self.rounds.labels[rows]
        if attack.targets:
            aims = self.ranked[rows].gather(1, self.run_index[rows, None] // attack.restarts)
            lead = (logits.gather(1, aims) - logits.gather(1, labels[:, None])).squeeze(1)
            odds, towards = log_odds(logits, aims.squeeze(1)), True
        else:
            lead, towards = margin(logits, labels, targeted=attack.targeted), attack.targeted
            odds = log_odds(logits, labels) * (1 if towards else -1)
        loss = odds if attack.loss == "ce" else lead / (logit_range(logits, targeted=towards) + 1e-12)
        return loss.unsqueeze(1)
