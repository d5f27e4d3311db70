"""AutoAttack: Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks (Croce,
Hein; ICML 2020; arXiv 2003.01690); in L1: Croce and Hein (ICML 2021; arXiv 2103.01208).

Shape letters: N examples.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from eadbench.attacks.apgd import APGD
from eadbench.attacks.apgd_l1 import APGDL1
from eadbench.attacks.deepfool import check_untargeted
from eadbench.attacks.engine.checks import check_choice, check_not_negative, check_steps
from eadbench.attacks.engine.rounds import Rounds
from eadbench.attacks.fab import FAB
from eadbench.attacks.in_rounds import InRounds
from eadbench.attacks.square import Square

Member = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"]

ENSEMBLES: Mapping[str, Sequence[Member]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
}
"""The members of each ensemble, in their order."""


@dataclass(frozen=True, kw_only=True)
class AutoAttack(InRounds):
    """Run an ensemble of attacks at a fixed ε, one after the other, each on the images that still stand.

    An image is robust within ε if every member fails. The members are those of the authors' code: APGD on the
    cross-entropy (`apgd-ce`), on the DLR loss (`apgd-dlr`), and on the targeted one (`apgd-t`), FAB (`fab`) and its
    targeted version (`fab-t`), and Square (`square`). In L1, APGD is APGD-L1.

    Parameters
    ----------
    norm : "l1", "l2" or "linf"
        The norm of the ball.
    epsilon : float
        ε, its radius.
    ensemble : "standard", "plus" or a list of members
        `standard` is the paper's: `apgd-ce`, `apgd-t`, `fab-t`, `square`. `plus` is `apgd-ce`, `apgd-dlr`, `fab`,
        `square`, `apgd-t` and `fab-t`, with 5 restarts of the first three. A list runs with 1 restart.
    steps : int
        Iterations of each run of APGD and FAB.
    queries : int
        Queries of Square.
    targets : int, optional
        Classes that `apgd-t` aims at, from the most likely on; by default 9, and 5 for `standard` in L1.
    seed : int
        Seed of every member's draws.
    kappa : float or Tensor
        κ ≥ 0, the margin (in logits) of a success; a tensor (N,) gives each example its own.
    targeted : bool
        False: labels are true classes to leave.
    """

    LABEL: ClassVar[str] = "AutoAttack"
    AXES: ClassVar[tuple[str, ...]] = ("norm", "epsilon", "kappa")
    NORMS: ClassVar[tuple[str, ...]] = ("l1", "l2", "linf")
    TARGETED: ClassVar[bool] = False
    TOLERANCE: ClassVar[float | Mapping[str, float]] = Square.TOLERANCE
    CHECKED_WITH: ClassVar[Mapping[str, Any]] = {"epsilon": 1.0, "steps": 5, "queries": 20}

    norm: Literal["l1", "l2", "linf"]
    epsilon: float
    ensemble: Literal["standard", "plus"] | tuple[Member, ...] = "standard"
    steps: int = 100
    queries: int = 5000
    targets: int | None = None
    seed: int = 0
    kappa: float | Tensor = 0.0
    targeted: bool = False

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_untargeted("AutoAttack", self.targeted)
        check_steps(self.steps)
        check_not_negative("kappa", self.kappa)
        if not 0 < self.epsilon < math.inf:
            raise ValueError(f"epsilon must be above 0, got {self.epsilon}")
        if isinstance(self.ensemble, str):
            check_choice("ensemble", self.ensemble, tuple(ENSEMBLES))
        elif not self.ensemble or len(set(self.ensemble)) < len(self.ensemble):
            raise ValueError(f"ensemble must name some members, each once, got {', '.join(self.ensemble) or 'none'}")
        for name in self.names:
            check_choice("ensemble", name, tuple(_MEMBERS))
        if self.targets is not None and self.targets < 1:
            raise ValueError(f"targets must be at least 1, got {self.targets}")
        self.members()

    @property
    def names(self) -> Sequence[str]:
        """The members' names, in their order."""
        return ENSEMBLES[self.ensemble] if isinstance(self.ensemble, str) else self.ensemble

    @property
    def restarts(self) -> int:
        """The restarts of members without target classes."""
        return 5 if self.ensemble == "plus" or (self.ensemble == "standard" and self.norm == "l1") else 1

    @property
    def most_passes(self) -> int:
        """The passes of an example that no member breaks."""
        return sum(member.most_passes for member in self.members())

    def members(self) -> list[InRounds]:
        """The attacks, in their order."""
        return [_MEMBERS[name](self) for name in self.names]

    def play(self, rounds: Rounds, batch_size: int) -> int:
        """Play the members one after the other, each on what is left."""
        found_by: list[str | None] = [None] * len(rounds.labels)
        for name, member in zip(self.names, self.members(), strict=True):
            batch_size = member.play(rounds, batch_size)
            broken = rounds.least.isfinite()
            found_by = [by or (name if now else None) for by, now in zip(found_by, broken.tolist(), strict=True)]
            rounds.left &= ~broken
        rounds.found_by = found_by
        rounds.epsilon = torch.where(rounds.least > 0, self.epsilon, 0.0)
        return batch_size


def _apgd(attack: AutoAttack, **settings: Any) -> InRounds:
    if attack.norm == "l1":
        return _member(attack, APGDL1, steps=attack.steps, **settings)
    return _member(attack, APGD, norm=attack.norm, steps=attack.steps, **settings)


def _apgd_targeted(attack: AutoAttack) -> InRounds:
    default = 5 if attack.norm == "l1" and attack.ensemble == "standard" else 9
    return _apgd(attack, loss="dlr", targets=attack.targets or default)


def _fab(attack: AutoAttack, **settings: Any) -> InRounds:
    return _member(attack, FAB, norm=attack.norm, steps=attack.steps, **settings)


def _square(attack: AutoAttack) -> InRounds:
    return _member(attack, Square, norm=attack.norm, queries=attack.queries, rescale=False)


def _member(attack: AutoAttack, chosen: Any, **settings: Any) -> InRounds:
    """Build a member with what all members share."""
    member: InRounds = chosen(epsilon=attack.epsilon, seed=attack.seed, targeted=False, **settings)
    return member


_MEMBERS: Mapping[str, Callable[[AutoAttack], InRounds]] = {
    "apgd-ce": lambda attack: _apgd(attack, loss="ce", restarts=attack.restarts),
    "apgd-dlr": lambda attack: _apgd(attack, loss="dlr", restarts=attack.restarts),
    "apgd-t": _apgd_targeted,
    "fab": lambda attack: _fab(attack, aim="nearest", restarts=attack.restarts),
    "fab-t": lambda attack: _fab(attack, aim="each"),
    "square": _square,
}
