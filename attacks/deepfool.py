"""DeepFool: a simple and accurate method to fool deep neural networks (Moosavi-Dezfooli, Fawzi, Frossard; CVPR 2016;
arXiv 1511.04599)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.rounds import Answer, Rounds
from eadbench.attacks.in_rounds import InRounds

ON_BOUNDARY = 1e-4
"""A margin that falls short of κ by less than this share of what it did at the image is on the boundary."""
EXTRA = 1e-4
"""What the authors' code adds to the distance of each step, if every step overshoots."""


@dataclass(frozen=True, kw_only=True)
class DeepFool(InRounds):
    """Step to the nearest boundary of the linearised classifier until the class changes, then overshoot a little.

    It is untargeted only. Every iterate is clipped to [0, 1], which the paper does not do.

    Parameters
    ----------
    norm : "l2" or "linf"
        The norm in which the nearest boundary is sought.
    steps : int
        Most steps.
    classes : int
        Classes considered, the image's own among them: those of the greatest logits of the image. A step takes a
        gradient for each of the others.
    overshoot : float
        η: the perturbation is multiplied by 1 + η.
    overshoot_at : "end" or "steps"
        When: once at the end, as in the paper, or in every step, as in the authors' code, foolbox and adv-lib.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own. The boundary is where
        another class leads by κ.
    targeted : bool
        False: labels are true classes to leave.
    """

    LABEL: ClassVar[str] = "DeepFool"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l2", "linf")
    TARGETED: ClassVar[bool] = False
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.022
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {}

    norm: Literal["l2", "linf"]
    steps: int = 50
    classes: int = 10
    overshoot: float = 0.02
    overshoot_at: Literal["end", "steps"] = "end"
    kappa: float | Tensor = 0.0
    targeted: bool = False

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_choice("overshoot_at", self.overshoot_at, ("end", "steps"))
        check_untargeted(type(self).__name__, self.targeted)
        check_steps(self.steps)
        check_classes(self.classes)
        check_not_negative("kappa", self.kappa)
        check_not_negative("overshoot", self.overshoot)

    @property
    def most_passes(self) -> int:
        """A forward pass and a gradient for each other class in each step, a test, and the last one."""
        return self.steps * (1 + self.classes) + 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 2 on every example."""
        walk = Walk(rounds, self.classes, self.norm)
        taken = torch.zeros_like(rounds.labels)
        beyond = self.overshoot if self.overshoot_at == "steps" else 0.0

        def step(rows: Tensor) -> Tensor:
            arrived = walk.step(rows, beyond)
            taken[rows] += 1
            return arrived | (taken[rows] >= self.steps)

        def finish(rows: Tensor) -> Tensor:
            images, x = rounds.images[rows], walk.x[rows]
            if self.overshoot_at == "end":
                x = (images + (1 + self.overshoot) * (x - images)).clamp(0, 1)
            rounds.claim(rows, x, rounds.test(rows, x).adversarial)
            return torch.ones_like(rows, dtype=torch.bool)

        return rounds.repeat(finish, rounds.repeat(step, batch_size))


class Walk:
    """The iterates of DeepFool, and the classes that each example considers."""

    def __init__(self, rounds: Rounds, classes: int, norm: str) -> None:
        self.rounds, self.classes, self.norm = rounds, classes, norm
        self.x = rounds.images.clone()
        self.others: Tensor | None = None
        """(N, M) the classes of the greatest logits of the image, without its own."""
        self.adversarial = torch.zeros(0, dtype=torch.bool)
        """(B,) bool: whether the last query of each row was adversarial."""
        self.stuck = self.adversarial
        """(B,) bool: whether no gradient led anywhere from it."""
        self.gap = torch.full_like(rounds.kappa, torch.nan)
        """(N,) by how much the margin at the image falls short of κ."""

    def step(self, rows: Tensor, overshoot: float = 0.0) -> Tensor:
        """Query `rows` (B,), and move those that have not arrived; return (B,) bool: which have, or cannot move.

        Without an overshoot, rows arrive on the boundary, where rounding decides on the class.
        """
        rounds, x = self.rounds, self.x[rows]
        tolerance = 0.0 if overshoot else ON_BOUNDARY
        answer = rounds.query(
            rows,
            x,
            lambda logits: self.leads(rows, logits),
            asking=lambda answer: ~self.has_arrived(rows, answer, tolerance),
        )
        self.adversarial, arrived = answer.adversarial, self.has_arrived(rows, answer, tolerance)
        gaps = rounds.kappa[rows, None] - answer.losses
        step = nearest_step(gaps, answer.gradients, self.norm, extra=EXTRA if overshoot else 0.0)
        self.x[rows] = torch.where(per_row(arrived), x, (x + (1 + overshoot) * step).clamp(0, 1))
        self.stuck = ~arrived & ~(step != 0).flatten(1).any(1)
        return arrived | self.stuck

    def has_arrived(self, rows: Tensor, answer: Answer, tolerance: float) -> Tensor:
        """(B,) bool: the row is adversarial, or on the boundary if a `tolerance` is given."""
        gap = self.rounds.kappa[rows] - answer.margin
        self.gap[rows] = torch.where(self.gap[rows].isnan(), gap, self.gap[rows])
        on_boundary = gap <= torch.maximum(answer.rounding, tolerance * self.gap[rows])
        return answer.adversarial | (on_boundary & (tolerance > 0))

    def leads(self, rows: Tensor, logits: Tensor) -> Tensor:
        """(B, M) f'ₖ: by how much each of the other classes leads that of the image."""
        rounds, own = self.rounds, self.rounds.labels[rows].unsqueeze(1)
        if self.others is None:
            count = min(self.classes, logits.shape[1]) - 1
            self.others = torch.full((len(rounds.labels), count), -1, device=logits.device)
        fresh = self.others[rows, :1] < 0
        greatest = logits.detach().scatter(1, own, -torch.inf).topk(self.others.shape[1], dim=1).indices
        self.others[rows] = torch.where(fresh, greatest, self.others[rows])
        return logits.gather(1, self.others[rows]) - logits.gather(1, own)


def nearest_step(gaps: Tensor, gradients: Tensor, norm: str, *, extra: float = 0.0) -> Tensor:
    """(B, C, H, W) r: the least step to the nearest boundary; 0 if no gradient leads there.

    Equations 8 and 9 of the paper for L2, 11 and 12 for L∞.

    Parameters
    ----------
    gaps : Tensor
        (B, M) |f'ₖ|, what each class lacks.
    gradients : Tensor
        (B, M, C, H, W) w'ₖ.
    extra : float
        Added to the distance.
    """
    order = 2 if norm == "l2" else 1
    sizes = torch.linalg.vector_norm(gradients.flatten(2), ord=order, dim=2)
    far = torch.where(sizes > 0, gaps.abs() / sizes, torch.inf).nan_to_num(torch.inf, torch.inf)
    distance, nearest = far.min(1)
    w = gradients[torch.arange(len(gaps), device=gaps.device), nearest]
    size = sizes.gather(1, nearest[:, None]).squeeze(1)
    direction = w / per_row(size) if norm == "l2" else w.sign()
    return torch.where(per_row(distance.isfinite()), per_row(distance + extra) * direction, 0)


def check_untargeted(name: str, targeted: bool) -> None:
    """Raise a ValueError if a targeted attack is asked for."""
    if targeted:
        raise ValueError(f"{name} is untargeted only; set targeted to false")


def check_classes(classes: int) -> None:
    """Check that a number of classes is at least 2; raise a ValueError otherwise."""
    if classes < 2:
        raise ValueError(f"classes must be at least 2, got {classes}")
