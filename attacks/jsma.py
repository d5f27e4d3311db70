"""JSMA: The Limitations of Deep Learning in Adversarial Settings (Papernot, McDaniel, Jha, Fredrikson, Celik, Swami;
EuroS&P 2016; arXiv 1511.07528).

Shapes: N examples, B rows of a batch, K classes, P = C·H·W values of an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from eadbench.attacks.engine.checks import check_not_negative, check_steps
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

PAIRS = 2**22
"""Pairs that are compared at a time, over all rows of a batch."""


@dataclass(frozen=True, kw_only=True)
class JSMA(InRounds):
    """Change the pair of values that the saliency map favours most, again and again, until the target is reached.

    It is targeted only. A value is a pixel of a grey image, or one channel of a pixel.

    Parameters
    ----------
    theta : float
        θ, the change of each value of a pair: 1 as in the paper, or -1 to darken pixels. A value at 1 (at 0 if θ < 0)
        is not changed.
    gamma : float
        γ in (0, 1], the share of an image's values that may change: there are at most ⌊γP/2⌋ steps.
    steps : int
        Most steps, whatever γ says. The default is more than γ = 0.145 allows for images of fewer than 13,800 values.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        True: labels are classes to reach.
    """

    LABEL: ClassVar[str] = "JSMA"
    AXES: ClassVar[tuple[str, ...]] = ("theta", "gamma", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l0",)
    UNTARGETED: ClassVar[bool] = False
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 1.7  # only up, and in pairs; the least is 3 values
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"gamma": 0.5, "steps": 20}

    theta: float = 1.0
    gamma: float = 0.145
    steps: int = 1000
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        if not self.targeted:
            raise ValueError("JSMA is targeted only; set targeted to true")
        if not 0 < abs(self.theta) <= 1:
            raise ValueError(f"theta must be in [-1, 1] and not 0, got {self.theta}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {self.gamma}")
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)

    @property
    def most_passes(self) -> int:
        """A forward pass and two gradients in each step, and two tests of its end."""
        return 3 * self.steps + 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 3 on every example."""
        x = rounds.images.flatten(1).clone()
        free = self.movable(x)  # Γ
        taken = torch.zeros_like(rounds.labels)
        most = min(self.steps, int(self.gamma * x.shape[1]) // 2)

        def step(rows: Tensor) -> Tensor:
            image = x[rows].view_as(rounds.images[rows])
            answer = rounds.query(
                rows,
                image,
                lambda logits: target_and_others(logits, rounds.labels[rows]),
                asking=lambda answer: ~answer.adversarial & (taken[rows] < most),
            )
            rounds.claim(rows, image, answer.adversarial)
            up = answer.gradients.flatten(2) * (1.0 if self.theta > 0 else -1.0)
            pair, exists = salient_pair(up[:, 0], -up[:, 1], free[rows])
            moved = exists & ~answer.adversarial & (taken[rows] < most)
            index, pair = rows[moved, None], pair[moved]
            x[index, pair] = (x[index, pair] + self.theta).clamp(0, 1)
            free[index, pair] = self.movable(x[index, pair])
            taken[rows] += moved
            return ~moved

        return rounds.repeat(step, batch_size)

    def movable(self, x: Tensor) -> Tensor:
        """Bool, as `x`: the values that θ can still change."""
        return x < 1 if self.theta > 0 else x > 0


def target_and_others(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, 2) Zₜ and Σ_{j ≠ t} Zⱼ, whose gradients are all that the saliency map needs of the Jacobian."""
    own = logits.gather(1, labels.unsqueeze(1))
    return torch.cat([own, logits.sum(1, keepdim=True) - own], 1)


def salient_pair(gain: Tensor, loss: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pair (p, q) of greatest -αβ, where α = Σ ∂Zₜ > 0 and β = Σ Σ_{j ≠ t} ∂Zⱼ < 0 (algorithm 2).

    The search is exact, without looking at all P² pairs: -αβ grows with ∂Zₜ and -Σ∂Zⱼ of either value, so a value that
    two others exceed in both is in no pair that one of them would not better.

    Parameters
    ----------
    gain : Tensor
        (B, P) ∂Zₜ/∂xₚ.
    loss : Tensor
        (B, P) -Σ_{j ≠ t} ∂Zⱼ/∂xₚ.
    free : Tensor
        (B, P) bool, Γ: the values that may change.

    Returns
    -------
    tuple of Tensor
        (B, 2) the pair, and (B,) bool: whether there is one.
    """
    gain, loss = (values / values.abs().amax(1, keepdim=True).clamp_min(1e-30) for values in (gain, loss))
    first = maxima(gain, loss, free)
    layers = first | maxima(gain, loss, free & ~first)
    count = max(2, int(layers.sum(1).max()))
    kept, index = layers.float().sort(dim=1, descending=True, stable=True)
    kept, index = kept[:, :count] > 0, index[:, :count]
    gain, loss = (values.gather(1, index).masked_fill(~kept, -torch.inf) for values in (gain, loss))

    pair, greatest = index[:, :2].clone(), torch.zeros_like(gain[:, 0])
    block = max(1, PAIRS // (len(gain) * count))
    for begin in range(0, count, block):
        p = torch.arange(begin, min(begin + block, count), device=gain.device)
        alpha, beta = gain[:, p, None] + gain[:, None], -(loss[:, p, None] + loss[:, None])
        alpha[:, p - begin, p] = -torch.inf
        score = torch.where((alpha > 0) & (beta < 0), -alpha * beta, 0).flatten(1)
        best, where = score.max(1)
        both = index.gather(1, torch.stack([begin + where // count, where % count], 1))
        pair = torch.where((best > greatest)[:, None], both, pair)
        greatest = torch.maximum(best, greatest)
    return pair, greatest > 0


def maxima(first: Tensor, second: Tensor, among: Tensor) -> Tensor:
    """(B, P) bool: the values `among` (B, P) that no other one exceeds in both `first` and `second` (B, P)."""
    first, second = (values.masked_fill(~among, -torch.inf) for values in (first, second))
    order = second.argsort(dim=1, descending=True, stable=True)
    order = order.gather(1, first.gather(1, order).argsort(dim=1, descending=True, stable=True))
    second = second.gather(1, order)
    before = torch.cat([torch.full_like(second[:, :1], -torch.inf), second.cummax(1).values[:, :-1]], 1)
    return torch.zeros_like(among).scatter(1, order, second > before)
