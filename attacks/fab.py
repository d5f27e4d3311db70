"""FAB: Minimally Distorted Adversarial Examples with a Fast Adaptive Boundary Attack (Croce, Hein; ICML 2020; arXiv
1907.02044).

Shapes: N examples, B rows of a batch, M classes, C × H × W values of an image.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.criterion import margin
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.distances import unit
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.draws import generator, seeds_of
from eadbench.attacks.engine.hyperplane import step_to_hyperplane
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

DUALS = {"l1": math.inf, "l2": 2, "linf": 1}
"""The order of the dual of each norm."""
START_RADIUS = {"l1": 5.0, "l2": 1.0, "linf": 0.3}
"""ε of the random starts, by norm, unless the attack has one."""
ROUNDING = 1e-5
"""How much longer than ε a perturbation may be by rounding, relatively."""


@dataclass(frozen=True, kw_only=True)
class FAB(InRounds):
    """Step onto the linearised boundary within [0, 1], biased towards the image; go back halfway after each success.

    The nearest adversarial image is kept. With `epsilon`, an example leaves at its first success within ε, and fails
    without one. The paper's final search between that image and the original is left out, as in AutoAttack.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        The norm that is minimised.
    epsilon : float, optional
        ε, within which a success counts. None minimises the norm.
    steps : int
        Iterations of each run.
    targets : int
        Untargeted only: this many of the most likely other classes of the image are considered.
    aim : "each" or "nearest"
        Untargeted only: take a run for each of these classes, as FAB-T does; or, in every step of one run, the class
        whose boundary is the nearest.
    restarts : int
        Runs for each class; the first begins at the image, others at random within half of ε, or of the least distance.
    alpha_max : float
        The greatest weight of the step from the image, against that from the iterate.
    overshoot : float
        η ≥ 1: steps are longer than to the boundary by this factor.
    retreat : float
        β in [0, 1): after a success, the perturbation is multiplied by it.
    seed : int
        Seed of the starts.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own. The boundary is where
        another class leads by κ.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LABEL: ClassVar[str] = "FAB"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "epsilon", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.01
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 15}

    norm: Literal["l1", "l2", "linf"]
    epsilon: float | None = None
    steps: int = 100
    targets: int = 9
    aim: Literal["each", "nearest"] = "each"
    restarts: int = 1
    alpha_max: float = 0.1
    overshoot: float = 1.05
    retreat: float = 0.9
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_choice("aim", self.aim, ("each", "nearest"))
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        for name in ("targets", "restarts", "overshoot"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.alpha_max <= 1:
            raise ValueError(f"alpha_max must be in [0, 1], got {self.alpha_max}")
        if not 0 <= self.retreat < 1:
            raise ValueError(f"retreat must be in [0, 1), got {self.retreat}")
        if self.epsilon is not None and not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")

    @property
    def most_passes(self) -> int:
        """Of each run: two queries a step, for a success and after the retreat, and the gradients; and the tests."""
        gradients = self.targets if self.aim == "nearest" and not self.targeted else 1
        runs = self.restarts * (self.targets if self.aim == "each" and not self.targeted else 1)
        return runs * (self.steps * (4 + gradients) + 2) + 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run algorithm 1 on every example."""
        walk = Walk(self, rounds)
        batch_size = rounds.repeat(walk.look, batch_size)
        walk.restart(rounds.left.nonzero().squeeze(1))
        batch_size = rounds.repeat(walk.play, batch_size)
        if self.epsilon is not None:
            rounds.epsilon = torch.where(rounds.least > 0, self.epsilon, 0.0)
        return batch_size


class Walk:
    """Where each example is near the boundary, and in which of its runs."""

    def __init__(self, attack: FAB, rounds: Rounds) -> None:
        self.attack, self.rounds, self.images = attack, rounds, rounds.images
        self.x = self.images.clone()
        self.taken, self.run = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.retreated = torch.zeros_like(rounds.left)
        """(N,) bool: x is the last success, moved towards the image."""
        self.runs, self.ranked = attack.restarts, rounds.labels[:0, None]
        """Runs of an example, and (N, M) its most likely other classes."""
        self.seeds: list[int] = []

    def look(self, rows: Tensor) -> Tensor:
        """Test the images themselves, and rank the classes to aim at."""
        rounds, attack = self.rounds, self.attack
        answer = rounds.look(rows)
        if not attack.targeted:
            count = min(attack.targets, answer.logits.shape[1] - 1)
            if not len(self.ranked):
                self.ranked = rounds.labels.new_zeros(len(rounds.labels), count)
                self.runs = attack.restarts * (count if attack.aim == "each" else 1)
            others = answer.logits.scatter(1, rounds.labels[rows].unsqueeze(1), -torch.inf)
            self.ranked[rows] = others.topk(count, dim=1).indices
        return torch.ones_like(answer.adversarial)

    def restart(self, rows: Tensor) -> None:
        """Begin the next run of `rows` (B,): each class's first at the image, its others at random."""
        self.taken[rows], self.retreated[rows] = 0, False
        self.x[rows] = self.images[rows]
        if not self.seeds:
            self.seeds = seeds_of(self.images, self.rounds.labels, self.attack.seed)
        norm = self.attack.norm
        for row in rows[self.run[rows] % self.attack.restarts > 0].tolist():
            state = generator(self.seeds[row], int(self.run[row]))
            draw = torch.rand if norm == "linf" else torch.randn
            noise = draw(self.images.shape[1:], generator=state)
            noise = 2 * noise - 1 if norm == "linf" else noise
            direction = unit(noise.to(self.images).unsqueeze(0), distances.NORMS[norm])[0]
            radius = min(self.attack.epsilon or START_RADIUS[norm], self.rounds.least[row].item()) / 2
            self.x[row] = (self.images[row] + radius * direction).clamp(0, 1)

    def play(self, rows: Tensor) -> Tensor:
        """Query each row's iterate and step on, or go back if it is adversarial; return (B,) bool: which are done."""
        rounds, attack, x = self.rounds, self.attack, self.x[rows]
        retreated, is_last = self.retreated[rows], self.taken[rows] >= attack.steps
        answer = rounds.query(
            rows,
            x,
            lambda logits: self.leads(rows, logits),
            asking=lambda answer: (~answer.adversarial | retreated) & ~is_last,
        )
        counts = answer.adversarial
        if attack.epsilon is not None:
            counts = counts & (rounds.measure(x - self.images[rows]) <= (1 + ROUNDING) * attack.epsilon)
        rounds.claim(rows, x, counts)

        back = answer.adversarial & ~retreated & ~is_last
        ahead = self.stepped(rows, x, rounds.kappa[rows, None] - answer.losses, answer.gradients)
        retreat = self.images[rows] + attack.retreat * (x - self.images[rows])
        self.x[rows] = torch.where(per_row(back), retreat, ahead)
        self.taken[rows] += ~back
        self.retreated[rows] = back
        self.run[rows] += is_last
        done = self.run[rows] >= self.runs
        if attack.epsilon is not None:
            done = done | counts
        self.restart(rows[is_last & ~done])
        return done

    def leads(self, rows: Tensor, logits: Tensor) -> Tensor:
        """(B, M) by how much the class to reach leads; or each class that is aimed at, over the one to leave."""
        labels = self.rounds.labels[rows]
        if self.attack.targeted:
            return margin(logits, labels, targeted=True).unsqueeze(1)
        aims = self.ranked[rows]
        if self.attack.aim == "each":
            aims = aims.gather(1, self.run[rows, None] // self.attack.restarts)
        return logits.gather(1, aims) - logits.gather(1, labels[:, None])

    def stepped(self, rows: Tensor, x: Tensor, gaps: Tensor, gradients: Tensor) -> Tensor:
        """(B, C, H, W) the next iterates: overshot steps to the nearest boundary from `x` and the image, weighted.

        Parameters
        ----------
        gaps : Tensor
            (B, M) what each class lacks to κ.
        gradients : Tensor
            (B, M, C, H, W) of the leads.
        """
        attack, images = self.attack, self.images[rows]
        sizes = torch.linalg.vector_norm(gradients.flatten(2), ord=DUALS[attack.norm], dim=2)
        nearest = (gaps.abs() / (sizes + 1e-12)).nan_to_num(torch.inf).argmin(1, keepdim=True)
        w = gradients[torch.arange(len(rows), device=rows.device), nearest.squeeze(1)]
        gap = gaps.gather(1, nearest).squeeze(1).nan_to_num(0.0, 0.0, 0.0)
        from_x = step_to_hyperplane(x, w, gap, attack.norm)
        # The hyperplane is ⟨w, z - x⟩ = gap.
        from_image = step_to_hyperplane(images, w, gap + (w * (x - images)).flatten(1).sum(1), attack.norm)
        near, far = (self.rounds.measure(step).clamp(min=1e-8) for step in (from_x, from_image))
        alpha = per_row((near / (near + far)).clamp(max=attack.alpha_max))
        ahead = (1 - alpha) * (x + attack.overshoot * from_x) + alpha * (images + attack.overshoot * from_image)
        return ahead.clamp(0, 1)
