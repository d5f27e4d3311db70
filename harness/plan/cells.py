"""Victims, settings and cells: what the rows of a sweep are about.

A cell is one line of a table: victim × attack × β × κ × decision rule. The digest of its content identifies it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from typing import Any, NamedTuple

import torch

from eadbench.attacks.budgeted import ACCOUNTING, class_within, with_budget
from eadbench.attacks.engine.precision import Precision
from eadbench.harness.registry import ATTACKS
from eadbench.harness.spec.parameters import takes_tensor
from eadbench.models import canonical_json, digest_of

__all__ = ["FORMAT", "Cell", "CellKey", "Example", "Setting", "Victim", "detector_digest", "other_parameters"]


FORMAT = 3
"""The version of the results folder's layout, of the rows' columns, and of what the digests of cells and shards hold.

2: structured columns of defences and attacks. 3: precision and the choice of targets in the digests; checksums; columns
of what searches met.
"""


class Example(NamedTuple):
    """One image and target class, attacked at one β and κ. None: untargeted, or an attack without β."""

    image: int
    label: int
    target: int | None
    beta: float | None
    kappa: float


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A victim in rows and cells, and the images of it that a sweep attacks."""

    digest: str
    name: str | None
    """Name in the spec, if any."""
    arch: str
    defense: str
    """Name of the defence."""
    defense_parameters: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The fields of its training; empty for given weights."""
    siblings: str = field(default="", repr=False)
    """What victims share that differ in the seed of their training alone: a digest; empty for given weights."""
    trained_on: str
    accuracy: float | None
    """Accuracy on the attacked split, in [0, 1]; None before it is known."""
    images: Sequence[int] = field(repr=False)
    labels: Sequence[int] = field(repr=False)
    targets: Sequence[Sequence[int]] = field(default=(), repr=False)
    """The target classes of each image in a file of targets, if the spec names one."""
    attacked: bool = True
    """False if examples are only tested on the victim."""
    evaluated_on: Sequence[str] = field(default=(), repr=False)
    """Digests of the other victims on which the spec tests its examples."""
    detectors: Sequence[Mapping[str, Any]] = field(default=(), repr=False)
    """The resolved entries of its detectors."""
    warnings: Sequence[str] = field(default=(), repr=False)
    """What is suspicious about it, each in one line with cause and remedy."""
    examples: Sequence[int] = ()
    """How many adversarial examples it learned from, and how many its training asked for; empty for other trainings."""
    held_out: Mapping[str, Sequence[float]] = field(default_factory=dict, repr=False)
    """The accuracy or robust accuracy on held-out images after each epoch, in [0, 1]; empty if none were held out."""
    figures: Mapping[str, float] = field(default_factory=dict, repr=False)
    """What :func:`eadbench.attacks.figures_of` measured on it; empty if it was tested by an earlier version."""

    @property
    def temperature(self) -> float | None:
        """Temperature of the distillation; None for other defences."""
        value = self.defense_parameters.get("temperature")
        return value if isinstance(value, int | float) else None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One setting of the grid. Its digest does not depend on the attacked images."""

    dataset: str
    """Identity of the data set."""
    split: str
    victim: str
    targets: str | Mapping[str, Any]
    """How the target classes of an image are chosen: ``all``, ``untargeted``, ``{"random": 3, "seed": 0}``, or
    ``{"file": DIGEST}`` with the digest of the file's rows."""
    attack: str
    parameters: Mapping[str, Any]
    beta: float | None
    kappa: float
    decision_rule: str | None
    precision: Precision

    @cached_property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of({"format": FORMAT, **asdict(self)})

    @property
    def other_parameters(self) -> str:
        """Hyperparameters without a column of their own in the rows, as JSON."""
        return other_parameters(self.parameters)


def other_parameters(parameters: Mapping[str, Any]) -> str:
    """Return an attack's hyperparameters as JSON, without the norm, which has a column of its own."""
    return canonical_json({name: value for name, value in parameters.items() if name != "norm"})


def detector_digest(entry: Mapping[str, Any]) -> str:
    """Return 16 hex digits that identify a detector: the resolved entry of a spec."""
    return digest_of({"detector": dict(entry)})


CellKey = tuple[float | None, float, str | None]
"""β, κ and decision rule, which identify a cell of a setting."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """An attack with its fixed hyperparameters, and the values of β and κ in the grid.

    An attack without β has `betas` (None,). An attack without κ has `kappas` (0,), the margin of its successes.
    """

    attack: str
    parameters: Mapping[str, Any]
    betas: Sequence[float | None]
    kappas: Sequence[float]
    decision_rules: Sequence[str | None]
    precision: Precision
    """The precision of the gradients of a search; successes are confirmed in float32."""

    @property
    def points(self) -> int:
        """Number of pairs of β and κ."""
        return len(self.betas) * len(self.kappas)

    @cached_property
    def digest(self) -> str:
        """16 hex digits. Two settings are equal if their digests are."""
        return digest_of([self.attack, self.parameters, self.betas, self.kappas, self.decision_rules, self.precision])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Setting) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def cells(self, dataset: str, split: str, victim: str, targets: str | Mapping[str, Any]) -> Iterator[Cell]:
        """Yield every cell of the setting on a victim, given the digest of the victim and the choice of targets."""
        for beta, kappa, decision_rule in product(self.betas, self.kappas, self.decision_rules):
            yield Cell(
                dataset=dataset,
                split=split,
                victim=victim,
                targets=targets,
                attack=self.attack,
                parameters=self.parameters,
                beta=beta,
                kappa=kappa,
                decision_rule=decision_rule,
                precision=self.precision,
            )

    def build(self, examples: Sequence[Example], device: torch.device | str = "cpu") -> Any:
        """Return the attack for `examples`, on its budget if it has one.

        β and κ are tensors of one value per example, if it takes tensors.
        """
        attack: Any = class_within(ATTACKS.look_up(self.attack), self.parameters)
        own = {name: value for name, value in self.parameters.items() if name not in ACCOUNTING}
        axes: dict[str, Any] = {}
        for name, values in (("beta", self.betas), ("kappa", self.kappas)):
            if takes_tensor(attack, name):
                axes[name] = torch.tensor([getattr(example, name) for example in examples], device=device)
            elif name in attack.__dataclass_fields__:
                [axes[name]] = values
        return with_budget(attack(**own, **axes), self.parameters)
