"""SuperDeepFool: a new fast and accurate minimal adversarial attack (Abdolahpourrostam, Abroshan, Moosavi-Dezfooli;
NeurIPS 2024; arXiv 2303.12481)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks import distances
from eadbench.attacks.deepfool import Walk, check_classes, check_untargeted
from eadbench.attacks.distances import rows as per_row
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.in_rounds import InRounds

CONVERGED = 1e-3
"""A projection that moves by less than this, relative to the perturbation, is the last."""


@dataclass(frozen=True, kw_only=True)
class SuperDeepFool(InRounds):
    """SDF(∞, 1): run DeepFool to the boundary, project the image onto the boundary's tangent plane there, and repeat.

    It is untargeted only. A bisection between the image and the nearest adversarial one ends it.

    Parameters
    ----------
    steps : int
        Most projections.
    deepfool_steps : int
        Most steps of DeepFool before each projection.
    classes, overshoot : int, float
        Those of DeepFool.
    variant : "paper" or "code"
        The paper projects the image. The authors' code, and adv-lib, add the projection to the last iterate, and every
        step of DeepFool overshoots: it needs fewer passes, and ends further away.
    search_steps : int
        Bisections at the end.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        False: labels are true classes to leave.
    """

    LABEL: ClassVar[str] = "SuperDeepFool"
    AXES: ClassVar[tuple[str, ...]] = ("kappa",)
    NORMS: ClassVar[tuple[str, ...]] = ("l2",)
    TARGETED: ClassVar[bool] = False
    TOLERANCE: ClassVar[float | Mapping[str, float]] = 0.005
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"steps": 10}

    steps: int = 100
    deepfool_steps: int = 50
    classes: int = 10
    overshoot: float = 0.02
    variant: Literal["paper", "code"] = "paper"
    search_steps: int = 10
    kappa: float | Tensor = 0.0
    targeted: bool = False

    def __post_init__(self) -> None:
        check_untargeted(type(self).__name__, self.targeted)
        check_steps(self.steps)
        check_steps(self.deepfool_steps)
        check_classes(self.classes)
        check_choice("variant", self.variant, ("paper", "code"))
        check_not_negative("kappa", self.kappa)
        check_not_negative("overshoot", self.overshoot)
        check_not_negative("search_steps", self.search_steps)

    @property
    def most_passes(self) -> int:
        """The passes of an example that needs every step."""
        return self.steps * (self.deepfool_steps * (1 + self.classes) + 4) + self.search_steps + 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Run the algorithm on every example."""
        projections = Projections(self, rounds)
        batch_size = rounds.repeat(projections.play, batch_size)
        return Bisection(rounds, projections.ends(), self.search_steps).run(batch_size)


class Projections:
    """Runs of DeepFool, and a projection after each."""

    def __init__(self, attack: SuperDeepFool, rounds: Rounds) -> None:
        self.attack, self.rounds, self.is_paper = attack, rounds, attack.variant == "paper"
        self.walk = Walk(rounds, attack.classes, "l2")
        self.start = rounds.images.clone()
        """(N, C, H, W) where the run of DeepFool began."""
        self.walked, self.projected = torch.zeros_like(rounds.labels), torch.zeros_like(rounds.labels)
        self.at_boundary, self.converged, self.succeeded = (
            torch.zeros_like(rounds.labels, dtype=torch.bool) for _ in range(3)
        )

    def play(self, rows: Tensor) -> Tensor:
        """Take a step of DeepFool, or project, as each row needs it."""
        done, projecting = torch.zeros_like(rows, dtype=torch.bool), self.at_boundary[rows]
        if projecting.any():
            self.project(rows[projecting])
        if not projecting.all():
            done[~projecting] = self.step(rows[~projecting])
        return done

    def step(self, rows: Tensor) -> Tensor:
        """Take a step of DeepFool; return which rows are done.

        A row is done where the last projection is adversarial, lies on the boundary, or is where the one before it was.
        """
        attack, walk, x = self.attack, self.walk, self.walk.x[rows]
        is_first = self.walked[rows] == 0
        arrived = walk.step(rows, 0.0 if self.is_paper else attack.overshoot)
        self.rounds.claim(rows, x, walk.adversarial)
        self.walked[rows] += 1
        settled = is_first & (arrived | (self.converged[rows] & self.is_paper))
        done = settled | (self.projected[rows] >= attack.steps) | walk.stuck
        self.at_boundary[rows] = (arrived | (self.walked[rows] >= attack.deepfool_steps)) & ~done

        start = torch.where(per_row(done), self.rounds.images[rows], self.start[rows])
        overshot = (start + (1 + attack.overshoot) * (walk.x[rows] - start)).clamp(0, 1)
        ended = self.at_boundary[rows] | done
        if self.is_paper:
            walk.x[rows] = torch.where(per_row(ended), overshot, walk.x[rows])
        self.succeeded[rows] = walk.adversarial & is_first
        last = done & ~walk.adversarial & ~walk.stuck
        if last.any():
            tested, x = rows[last], overshot[last]
            self.succeeded[tested] = self.rounds.test(tested, x).adversarial
            self.rounds.claim(tested, x, self.succeeded[tested])
            walk.x[tested] = x
        return done

    def ends(self) -> Tensor:
        """(N, C, H, W) the last projection where it is adversarial, or else the nearest adversarial image."""
        return torch.where(per_row(self.succeeded), self.walk.x, self.rounds.nearest)

    def project(self, rows: Tensor) -> None:
        """Query the end x̃ of DeepFool, and move to x₀ + ((x̃ - x₀)ᵀw / ‖w‖²)·w, where w is the margin's gradient."""
        rounds, x = self.rounds, self.walk.x[rows]
        every = torch.ones_like(rows, dtype=torch.bool)
        answer = rounds.query(rows, x, lambda logits: self.lead(rows, logits), asking=lambda _: every)
        rounds.claim(rows, x, answer.adversarial)
        images = rounds.images[rows]
        w = distances.unit(answer.gradients[:, 0])
        length = ((x - images) * w).flatten(1).sum(1)
        base = images if self.is_paper else self.start[rows]
        x = (base + per_row(length) * w).clamp(0, 1)
        self.converged[rows] = distances.l2(x - self.start[rows]) <= CONVERGED * distances.l2(x - images)
        self.walk.x[rows] = self.start[rows] = x
        self.walked[rows] = 0
        self.projected[rows] += 1
        self.at_boundary[rows] = False

    def lead(self, rows: Tensor, logits: Tensor) -> Tensor:
        """(B, 1) by how much the class at x̃, or the next best one, leads that of the image."""
        return self.walk.leads(rows, logits).amax(1, keepdim=True)


class Bisection:
    """A search for the boundary between each image and an adversarial one."""

    def __init__(self, rounds: Rounds, adversarial: Tensor, steps: int) -> None:
        self.rounds, self.steps = rounds, steps
        self.far = adversarial - rounds.images
        self.lower, self.upper = torch.zeros_like(rounds.kappa), torch.ones_like(rounds.kappa)
        self.taken = torch.zeros_like(rounds.labels)

    def run(self, batch_size: int) -> int:
        """Bisect `steps` times; return the batch size that fitted into memory."""
        return self.rounds.repeat(self.play, batch_size) if self.steps else batch_size

    def play(self, rows: Tensor) -> Tensor:
        """Test the middle."""
        rounds, needed = self.rounds, self.rounds.least[rows].isfinite() & (self.rounds.least[rows] > 0)
        rows = rows[needed]
        if len(rows):
            middle = (self.lower[rows] + self.upper[rows]) / 2
            x = rounds.images[rows] + per_row(middle) * self.far[rows]
            adversarial = rounds.test(rows, x).adversarial
            rounds.claim(rows, x, adversarial)
            self.upper[rows] = torch.where(adversarial, middle, self.upper[rows])
            self.lower[rows] = torch.where(adversarial, self.lower[rows], middle)
            self.taken[rows] += 1
        done = ~needed
        done[needed] = self.taken[rows] >= self.steps
        return done
