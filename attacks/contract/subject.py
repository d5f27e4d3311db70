"""The attack that is checked, and runs of it that several checks look at."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from eadbench.attacks.attack import BATCH_SIZE, Attack, Traits, traits_of
from eadbench.attacks.contract.victims import (
    Constant,
    Counting,
    Linear,
    Watched,
    half_space,
    labels_to_attack,
    mirrored,
    small_images,
    small_net,
)
from eadbench.attacks.learning import learner, with_learnt
from eadbench.attacks.result import Adversarial, AttackResult


class Breach(AssertionError):
    """A rule of the contract is broken; the message says how."""


class NotApplicable(Exception):
    """A rule says nothing about this attack; the message says why."""


def require(holds: object, breach: str) -> None:
    """Raise a Breach unless a condition holds."""
    if not holds:
        raise Breach(breach)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of an attack."""

    name: str
    victim: nn.Module
    images: Tensor
    labels: Tensor
    targeted: bool
    result: AttackResult
    given: tuple[Tensor, Tensor]
    """The copies of `images` and `labels` that the attack was given."""

    def entries(self) -> Iterator[tuple[str, Adversarial]]:
        """What each decision rule kept, and words for it: ``small net, targeted, rule l1``."""
        for rule, kept in self.result.items():
            yield f"{self.name}, rule {rule}", kept


class Subject:
    """The attack that is checked."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack

    @property
    def traits(self) -> Traits:
        """What its class declares."""
        return traits_of(type(self.attack))

    @property
    def kappa(self) -> float:
        """The margin of a success: its field `kappa`, or 0."""
        return float(getattr(self.attack, "kappa", 0.0))

    @property
    def norms(self) -> tuple[str, ...]:
        """The norms that it minimises: its field `norm` if it has one, or all of NORMS."""
        chosen = getattr(self.attack, "norm", None)
        return tuple(norm for norm in self.traits.norms if chosen in (None, norm))

    @property
    def modes(self) -> list[bool]:
        """The values of `targeted` that it supports."""
        return [
            mode for mode, supported in ((True, self.traits.targeted), (False, self.traits.untargeted)) if supported
        ]

    @cached_property
    def dtype(self) -> torch.dtype:
        """float64, where rounding hides nothing, if the attack works in it; else float32."""
        mode, model, images = self.modes[0], small_net(), small_images(1)
        labels = labels_to_attack(model, images, targeted=mode)
        try:
            trial = self.run("float64", model.double(), images.double(), labels, targeted=mode)
        except Exception:  # whatever libraries raise about types
            return torch.float32
        exact = all(kept.l1.dtype == torch.float64 for kept in trial.result.values())
        return torch.float64 if exact else torch.float32

    def variant(self, **hyperparameters: Any) -> Attack:
        """The attack with some hyperparameters changed."""
        changed: Attack = replace(self.attack, **hyperparameters)  # type: ignore[type-var]
        return changed

    @cached_property
    def trials(self) -> list[Trial]:
        """Runs in every supported mode: the solvable and the hopeless ones."""
        return [*self.solvable, *self.hopeless]

    @cached_property
    def solvable(self) -> list[Trial]:
        """Runs on a small network and on an easy half-space."""
        plane, near_images, _ = half_space("linf", self.kappa, distance=0.005)
        return [
            *self._in_every_mode("small net", small_net(), small_images()),
            *self._in_every_mode("half-space", plane, near_images),
        ]

    @cached_property
    def hopeless(self) -> list[Trial]:
        """Runs on a constant model."""
        constant = Constant(torch.tensor([1.0, 0.0, 0.5]))
        return self._in_every_mode("constant model", constant, small_images(3))

    @cached_property
    def counted(self) -> list[tuple[Counting, Trial]]:
        """Runs on one image each, with victims that count their passes."""
        mode, images = self.modes[0], small_images(2)
        labels = labels_to_attack(small_net(), images, targeted=mode)
        runs = []
        for row in range(len(images)):
            victim, one = Counting(small_net()), slice(row, row + 1)
            name = f"image {row} of the small net"
            runs.append((victim, self.run(name, victim, images[one], labels[one], targeted=mode, batch_size=1)))
        return runs

    @cached_property
    def watched(self) -> Watched:
        """A watched model after an attack, before which the gradient of each parameter was 0.5."""
        model, images = Watched(), small_images()
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
        self.run("watched model", model, images, torch.arange(len(images)) % 4, targeted=self.modes[0])
        return model

    def run(
        self,
        name: str,
        victim: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        targeted: bool,
        batch_size: int = BATCH_SIZE,
    ) -> Trial:
        """Run the attack on copies of `images` and `labels`."""
        attack = self.ready(self.variant(targeted=targeted), victim, images)
        given = images.clone(), labels.clone()
        result = attack(victim, *given, batch_size=batch_size)
        name = f"{name}, {'targeted' if targeted else 'untargeted'}"
        return Trial(
            name=name, victim=victim, images=images, labels=labels, targeted=targeted, result=result, given=given
        )

    def _in_every_mode(self, name: str, victim: nn.Module, images: Tensor) -> list[Trial]:
        """Run the attack targeted and untargeted, as far as it supports them."""
        return [
            self.run(name, victim, images, labels_to_attack(victim, images, targeted=mode), targeted=mode)
            for mode in self.modes
        ]

    @staticmethod
    def ready(attack: Any, victim: nn.Module, images: Tensor) -> Any:
        """Return the attack, which has learnt what it learns on a copy of the victim, where no pass is counted.

        On the half-space it learns from the images themselves, and then from their mirror images beyond the plane;
        elsewhere always from the same ones.
        """
        own = learner(attack)
        if own is None:
            return attack
        training = small_images().to(images)
        if isinstance(victim, Linear):
            training = torch.cat([images, mirrored(victim, images)])
        return with_learnt(attack, own.learn(deepcopy(victim), training[: own.images]))
