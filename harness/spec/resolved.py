"""A spec as resolved: every name is known, every default filled in, every value tried.

:mod:`eadbench.harness.spec.schema` has the spec as a user writes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import PurePath
from typing import Any, Literal

from eadbench.attacks.engine.precision import Precision
from eadbench.harness.spec.schema import FileTargets, Images, RandomTargets, Resources
from eadbench.models import Training, digest_of

__all__ = ["AttackEntry", "DatasetEntry", "DefenseEntry", "Spec", "VictimEntry"]

Parameters = Mapping[str, Any]
Axes = Mapping[str, Sequence[Any]]
"""Values by parameter, in the order of the spec."""


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """A data set and its parameters."""

    name: str
    parameters: Parameters = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """Return the entry as a spec has it."""
        return {"name": self.name, **self.parameters}


@dataclass(frozen=True, kw_only=True)
class AttackEntry:
    """An attack: its fixed hyperparameters, the axes of the grid, and the decision rules that are kept."""

    name: str
    parameters: Parameters
    axes: Axes
    decision_rules: Sequence[str]
    varying: Sequence[str] = ()
    """The axes whose value may differ within a batch."""

    def written(self) -> dict[str, Any]:
        """Return the entry as a spec has it."""
        rules = {"decision_rules": list(self.decision_rules)} if self.decision_rules else {}
        axes = {name: list(values) for name, values in self.axes.items()}
        return {"name": self.name, **self.parameters, **axes, **rules}


@dataclass(frozen=True, kw_only=True)
class DefenseEntry:
    """A defence: its fixed parameters, and those whose values make a victim each."""

    name: str
    parameters: Parameters
    axes: Axes

    def combinations(self) -> list[dict[str, Any]]:
        """Return the defence's parameters with one value of each axis, for every combination."""
        return [
            {**self.parameters, **dict(zip(self.axes, values, strict=True))} for values in product(*self.axes.values())
        ]

    def written(self) -> dict[str, Any]:
        """Return the entry as a spec has it."""
        return {self.name: {**self.parameters, **{name: list(values) for name, values in self.axes.items()}}}


@dataclass(frozen=True, kw_only=True)
class VictimEntry:
    """How victims are made: trained, or given by a file of weights."""

    name: str | None
    arch: str
    parameters: Parameters
    defense: DefenseEntry
    training: Training | None
    weights: str | None
    strict: bool
    outputs: Literal["logits", "probabilities"]
    normalise: Mapping[str, Sequence[float]] | None
    class_map: Sequence[int] | Mapping[str, int] | str | None
    network_classes: int | None
    attacked: bool
    evaluated_on: Literal["all"] | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One sweep; :class:`eadbench.harness.spec.schema.SpecFile` describes the fields."""

    name: str
    seed: int
    dataset: DatasetEntry
    images: Images
    targets: Literal["all", "untargeted"] | RandomTargets | FileTargets
    evaluated: Literal["both_correct", "all"]
    victims: Sequence[VictimEntry]
    attacks: Sequence[AttackEntry]
    save_images: Literal["none", "successes"]
    shard_size: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    precision: Precision
    confirmations: int
    resources: Resources

    @property
    def targeted(self) -> bool:
        """Whether the attacks aim at target classes."""
        return self.targets != "untargeted"

    @property
    def target_choice(self) -> str | dict[str, Any]:
        """How the target classes of an image are chosen, as cells and shards are identified by it."""
        if isinstance(self.targets, RandomTargets):
            return {"random": self.targets.random, "seed": self.seed}
        if isinstance(self.targets, FileTargets):
            return {"file": digest_of(self.targets.rows)}
        return self.targets

    @property
    def target_kind(self) -> str:
        """How the target classes of an image are chosen: all, random, untargeted, or file and its name."""
        if isinstance(self.targets, FileTargets):
            return f"file {PurePath(self.targets.file).name}"
        return next(iter(self.target_choice)) if isinstance(self.target_choice, dict) else self.target_choice
