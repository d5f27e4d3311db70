"""Universal adversarial perturbations (Moosavi-Dezfooli, Fawzi, Fawzi, Frossard; CVPR 2017; arXiv 1610.08401).

Shapes: N images to attack, X images to learn from, C × H × W values of an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from eadbench.attacks.attack import BATCH_SIZE
from eadbench.attacks.deepfool import DeepFool, check_classes, check_untargeted
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.frozen import frozen
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.ifgm import project
from eadbench.attacks.in_rounds import InRounds

RADIUS = {"l2": 2000 / 255, "linf": 10 / 255}
"""ξ by norm, for images of 224 × 224 × 3 values in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Universal(InRounds):
    """Add one perturbation v of norm ξ to every image; v is learnt from training images, and fools most of them.

    :meth:`learn` learns v, and :meth:`adding` returns the attack that adds it. A sweep learns v once for a victim, from
    images of the training split, and keeps it beside the models. Labels are classes that the victim predicts.

    Parameters
    ----------
    norm : "l2" or "linf"
        The norm that bounds v.
    radius : float, optional
        ξ; by default 2000/255 in L2 and 10/255 in L∞, as for the paper's images of 224 × 224 × 3 values.
    images : int
        Training images that v is learnt from.
    fooling_rate : float
        1 - δ: the search for v ends when v fools this share of the training images.
    passes : int
        Most passes over them.
    steps, classes, overshoot
        Those of :class:`DeepFool` in L2, which extends v by each image that it does not fool yet.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own. v is learnt with κ = 0.
    seed : int
        Seed of the choice of training images, and of their order in each pass.
    targeted : bool
        False: labels are classes to leave.
    """

    LABEL: ClassVar[str] = "universal"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "radius", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l2", "linf")
    TARGETED: ClassVar[bool] = False
    TOLERANCE: ClassVar[float | Mapping[str, float]] = {"l2": 0.5, "linf": 3.5}  # one v for all, made of steps in L2
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {
        "images": 4,
        "radius": 1.0,
        "fooling_rate": 0.9,
        "passes": 2,
    }

    norm: Literal["l2", "linf"]
    radius: float | None = None
    images: int = 500
    fooling_rate: float = 0.8
    passes: int = 10
    steps: int = 50
    classes: int = 10
    overshoot: float = 0.02
    kappa: float | Tensor = 0.0
    seed: int = 0
    targeted: bool = False

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_untargeted("Universal", self.targeted)
        check_steps(self.steps)
        check_classes(self.classes)
        check_not_negative("overshoot", self.overshoot)
        check_not_negative("kappa", self.kappa)
        if self.radius is not None and not 0 < self.radius < torch.inf:
            raise ValueError(f"radius must be above 0 and finite, got {self.radius}")
        if not 0 < self.fooling_rate <= 1:
            raise ValueError(f"fooling_rate must be in (0, 1], got {self.fooling_rate}")
        for name in ("images", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def most_passes(self) -> int:
        """Two tests of the image with v. What v takes to learn is not an example's."""
        return 2

    def learn(self, model: nn.Module, images: Tensor, *, batch_size: int = BATCH_SIZE) -> Mapping[str, Tensor]:
        """Learn v from training images (X, C, H, W) in [0, 1] by algorithm 1.

        Returns
        -------
        mapping of str to Tensor
            `learnt`, which is v (C, H, W), and `fooling_rate`, the share of the training images that v fools.
        """
        radius = torch.tensor(RADIUS[self.norm] if self.radius is None else self.radius).view(1, 1, 1, 1).to(images)
        chosen: Any = DeepFool
        deepfool = chosen(norm="l2", steps=self.steps, classes=self.classes, overshoot=self.overshoot)
        classes = predicted(model, images, batch_size)
        v = torch.zeros_like(images[:1])
        order = torch.Generator().manual_seed(self.seed)
        rate = torch.tensor(0.0)
        for _ in range(self.passes):
            for i in torch.randperm(len(images), generator=order).tolist():
                x = (images[i : i + 1] + v).clamp(0, 1)
                kept = deepfool(model, x, classes[i : i + 1])["l2"]  # nothing is added where v fools already
                if kept.success:
                    v = project(v + kept.images - x, radius, self.norm)
            rate = (predicted(model, (images + v).clamp(0, 1), batch_size) != classes).double().mean()
            if rate >= self.fooling_rate:
                break
        return {"learnt": v[0], "fooling_rate": rate}

    def adding(self, learnt: Mapping[str, Tensor]) -> "Perturbed":
        """The attack that adds a v that :meth:`learn` has learnt."""
        made: Any = Perturbed
        perturbed: Perturbed = made(norm=self.norm, perturbation=learnt["learnt"], kappa=self.kappa)
        return perturbed

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Raise a ValueError: there is no v yet."""
        raise ValueError("a universal perturbation is learnt first: attack.adding(attack.learn(model, images))")


@dataclass(frozen=True, kw_only=True)
class Perturbed(InRounds):
    """Add a given perturbation to every image, clipped to [0, 1].

    Parameters
    ----------
    norm
        The norm by which the images are reported.
    perturbation
        (C, H, W).
    kappa, targeted
        Those of :class:`Universal`.
    """

    LABEL: ClassVar[str] = Universal.LABEL
    NORMS: ClassVar[tuple[str, ...]] = Universal.NORMS
    TARGETED: ClassVar[bool] = False

    norm: Literal["l2", "linf"]
    perturbation: Tensor
    kappa: float | Tensor = 0.0
    targeted: bool = False

    @property
    def most_passes(self) -> int:
        """Two tests: before the image is claimed, and after."""
        return 2

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Test every image with v."""

        def add(rows: Tensor) -> Tensor:
            x = (rounds.images[rows] + self.perturbation.to(rounds.images)).clamp(0, 1)
            rounds.claim(rows, x, rounds.test(rows, x).adversarial)
            return torch.ones_like(rows, dtype=torch.bool)

        return rounds.repeat(add, batch_size)


@torch.no_grad()
def predicted(model: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """(X,) the classes of images (X, C, H, W)."""
    with frozen(model):
        return torch.cat([model(part).argmax(1) for part in torch.split(images, batch_size)])
