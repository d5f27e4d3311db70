"""A spec as resolved: every name is known, every default filled in, every value tried.

:mod:`eadbench.harness.spec.schema` has the spec as a user writes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import PurePath
from typing import Any, Literal

from eadbench.attacks.engine.precision import Precision
from eadbench.harness.spec.schema import FileTargets, Images, RandomTargets, Resources, Targets
from eadbench.models import Training, digest_of

__all__ = ["AttackEntry", "DatasetEntry", "DefenseEntry", "Spec", "TrainingEntry", "VictimEntry", "target_text"]

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
    targeted: bool = True
    """Whether it can aim at target classes."""
    untargeted: bool = True
    """Whether it can do without."""

    def takes(self, targets: Targets) -> bool:
        """Return whether it can run with a choice of targets."""
        return self.untargeted if targets == "untargeted" else self.targeted

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
    later: Parameters = field(default_factory=dict)
    """The defaults of parameters that earlier versions lacked."""

    def combinations(self) -> list[dict[str, Any]]:
        """Return the defence's parameters with one value of each axis, for every combination.

        Parameters that earlier versions lacked are left out at their defaults, so that recipes keep their digests.
        """
        return [
            {
                name: value
                for name, value in {**self.parameters, **dict(zip(self.axes, values, strict=True))}.items()
                if name not in self.later or value != self.later[name]
            }
            for values in product(*self.axes.values())
        ]

    def written(self) -> dict[str, Any]:
        """Return the entry as a spec has it."""
        return {self.name: {**self.parameters, **{name: list(values) for name, values in self.axes.items()}}}


@dataclass(frozen=True, kw_only=True)
class TrainingEntry:
    """How victims are trained: the fixed fields of a training, and those whose values make a victim each."""

    parameters: Parameters
    axes: Axes = field(default_factory=dict)

    def combinations(self) -> list[Training]:
        """Return the trainings of every combination of the axes, in the order of the spec."""
        return [
            Training(**{**self.parameters, **dict(zip(self.axes, values, strict=True))})
            for values in product(*self.axes.values())
        ]

    def written(self) -> dict[str, Any]:
        """Return the entry as a spec has it, with the axes as lists."""
        return asdict(self.combinations()[0]) | {name: list(values) for name, values in self.axes.items()}


@dataclass(frozen=True, kw_only=True)
class VictimEntry:
    """How victims are made: trained, given by a file of weights, or put together from others as an ensemble."""

    name: str | None
    arch: str
    parameters: Parameters
    defense: DefenseEntry
    training: TrainingEntry | None
    weights: str | None
    strict: bool
    outputs: Literal["logits", "probabilities"]
    normalise: Mapping[str, Sequence[float]] | None
    class_map: Sequence[int] | Mapping[str, int] | str | None
    network_classes: int | None
    attacked: bool
    evaluated_on: Literal["all"] | Sequence[str]
    detectors: Sequence[Mapping[str, Any]] = ()
    """Its detectors, each `{name: …, parameter: …}` with every parameter."""
    ensemble: "Sequence[str | VictimEntry]" = ()
    """The members of an ensemble: names of other victims, or entries of its own."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One sweep; :class:`eadbench.harness.spec.schema.SpecFile` describes the fields."""

    name: str
    seed: int
    dataset: DatasetEntry
    images: Images
    targets: Sequence[Targets]
    """The choices of target classes: the grid has cells of each, of the attacks that take it."""
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
        """Whether any attack aims at target classes."""
        return any(targets != "untargeted" for targets in self.targets)

    @property
    def untargeted(self) -> bool:
        """Whether any attack does without target classes."""
        return "untargeted" in self.targets

    @property
    def target_file(self) -> FileTargets | None:
        """The file of target classes, if there is one; no other images are attacked."""
        return next((targets for targets in self.targets if isinstance(targets, FileTargets)), None)

    def by_targets(self) -> "list[Spec]":
        """Return a spec for each choice of targets, with the attacks that take it."""
        return [
            replace(self, targets=[targets], attacks=[attack for attack in self.attacks if attack.takes(targets)])
            for targets in self.targets
        ]

    @property
    def target_choice(self) -> str | dict[str, Any]:
        """The only choice of targets, as cells and shards are identified by it."""
        [targets] = self.targets
        if isinstance(targets, RandomTargets):
            return {"random": targets.random, "seed": self.seed}
        if isinstance(targets, FileTargets):
            return {"file": digest_of(targets.rows)}
        return targets

    @property
    def target_text(self) -> str:
        """The only choice of targets in words: ``all``, ``random 3``, ``untargeted``, or ``file`` and its name."""
        [targets] = self.targets
        return target_text(targets)


def target_text(targets: Targets) -> str:
    """Return a choice of targets in words: ``all``, ``random 3``, ``untargeted``, or ``file`` and its name."""
    if isinstance(targets, RandomTargets):
        return f"random {targets.random}"
    return f"file {PurePath(targets.file).name}" if isinstance(targets, FileTargets) else targets
