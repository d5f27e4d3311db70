"""The spec: the YAML file that describes one sweep, read, checked and resolved."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ByteSize, Field, field_validator

from eadbench.attacks.engine.precision import Precision
from eadbench.harness.datasets import DATASETS
from eadbench.harness.errors import UserError
from eadbench.harness.spec.overrides import apply_override, apply_scale
from eadbench.harness.spec.parameters import Strict, named, validated
from eadbench.harness.spec.resolve import resolved_attack, resolved_defense, resolved_training
from eadbench.harness.spec.yaml import parsed, plain, shown
from eadbench.models.code import refuse_code


def _short(amount: object) -> object:
    """A text of so many digits that pydantic fails to make a number of them is refused."""
    if isinstance(amount, str) and len(amount) > 40:
        raise ValueError("too long")
    return amount


class Images(Strict):
    """Which images are attacked: the first `count` of a seeded order that are classified correctly.

    By the victim that is attacked (`each`, as in the paper), or by every victim of the sweep (`all`), which then
    attack the same images.
    """

    count: int = Field(ge=1)
    split: Literal["test", "train"] = "test"
    correct_on: Literal["each", "all"] = "each"


class RandomTargets(Strict):
    """That many incorrect classes per image, drawn from the spec's seed."""

    random: int = Field(ge=1)


class Victim(Strict):
    """How a victim is made: trained by `training`, or given by a file of `weights`.

    A list of a defence's temperature or ε makes as many victims.
    """

    name: str | None = None
    """What `evaluated_on` calls it."""
    arch: str = Field(
        pattern=r"^[A-Za-z0-9_.:]+$", max_length=200, description="an architecture's name, or package.module:function"
    )
    parameters: dict[str, Any] = Field(default={})
    defense: str | dict[str, Any] = Field(
        default="none", description="a defence's name, or {name: {parameter: value}} with its parameters"
    )
    """As resolved: `{name: {parameter: value}}`."""
    training: dict[str, Any] | None = None
    weights: str | None = None
    attacked: bool = True
    """False for a victim that examples are only tested on."""
    evaluated_on: Literal["all"] | list[str] = Field(default=[], description="all, or a list of names of victims")
    """The other victims that the examples crafted on this one are tested on."""


class Resources(Strict):
    """What the workers take. Rows do not depend on how many workers there are."""

    workers: int | None = Field(default=None, ge=1)
    """At most; unless given, as many as the cluster has room for."""
    gpus: float | None = Field(default=None, ge=0, description="GPUs of a worker: a fraction such as 0.5, or 0, 1, 2 …")
    """Of each worker; a fraction shares one. Unless given, 1 where the cluster has any, else 0."""
    cpus: float | None = Field(default=None, gt=0)
    """Cores of each worker; unless given, 1 beside a GPU, else as many as `threads`."""
    memory: Annotated[ByteSize | None, BeforeValidator(_short)] = Field(
        default=None, gt=0, description="memory of a worker, such as 8GiB"
    )
    """Of each worker; Ray places workers by it."""
    threads: int = Field(default=1, ge=1)
    """Of torch, per worker on CPU cores; the spec's to say, because rounding depends on it."""

    @field_validator("gpus")
    @classmethod
    def _whole_beyond_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError("a worker's GPUs beyond one must be whole")
        return gpus


class Spec(Strict):
    """One sweep, with every default filled in."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="letters, digits, '.', '_' and '-', at most 100 of them",
    )
    seed: int = Field(default=0, ge=0)
    dataset: dict[str, Any]
    images: Images
    targets: Literal["all", "untargeted"] | RandomTargets = Field(
        default="all", description="all, untargeted or {random: how many, at least 1}"
    )
    victims: list[Victim] = Field(min_length=1)
    attacks: list[dict[str, Any]] = Field(min_length=1, description="a list of at least one attack")
    save_images: Literal["none", "successes"] | None = Field(default=None, description="none or successes")
    """Whether adversarial images are stored; unless given, those that are tested on other victims."""
    shard_size: int = Field(default=200, ge=1)
    """Examples in a shard: the unit of scheduling, retry and commit."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=128, description="a number of examples, at least 1, or auto"
    )
    """Examples attacked at a time. With auto, each worker finds the fastest: its rows then agree with those of other
    workers to rounding, and not to the bit."""
    precision: Precision = Field(default="float32", description="float32, tf32 or bf16")
    """In which attacks search; every success is confirmed in float32, and is a failure if it does not hold there."""
    resources: Resources = Resources()

    @property
    def targeted(self) -> bool:
        """Whether the attacks aim at target classes."""
        return self.targets != "untargeted"


def load(path: Path, overrides: Sequence[str] = (), *, scale: str | None = None) -> Spec:
    """The spec in the file at `path`, at one of its scales, with overrides.

    Parameters
    ----------
    overrides
        Such as ``images.count=10`` or ``eadbench.attacks.0.beta=[1e-3]``.
    scale
        A key of the file's mapping `scales`, whose values are overrides of their own:
        ``scales: {tiny: {images.count: 10}}``. Unless given, or "full", the spec as it stands.

    Raises
    ------
    UserError
        The file is missing or no YAML, or says what cannot be: one line with the field's path.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: it is no text: {error}") from error
    try:
        return _parsed_at(parsed(text), overrides, scale)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _parsed_at(content: object, overrides: Sequence[str], scale: str | None) -> Spec:
    """The spec that a document describes at one of its scales, with overrides."""
    if not isinstance(content, dict):
        raise UserError(f"must be a mapping with the keys {', '.join(Spec.model_fields)}")
    fields: dict[str, Any] = plain(content)
    apply_scale(fields, scale)
    for override in overrides:
        apply_override(fields, override)
    return parse(fields)


def parse(content: Mapping[str, Any]) -> Spec:
    """The spec that `content` describes.

    Raises
    ------
    UserError
        One line: the field's path, what was given, what would be right.
    """
    spec = validated(Spec, plain(content))
    _check_evaluated_on(spec)
    transfers = any(victim.evaluated_on for victim in spec.victims)
    return spec.model_copy(
        update={
            "dataset": named(spec.dataset, DATASETS, "data set", "dataset"),
            "victims": [_victim(victim, f"victims[{i}]") for i, victim in enumerate(spec.victims)],
            "attacks": [resolved_attack(entry, f"attacks[{i}]") for i, entry in enumerate(spec.attacks)],
            "save_images": spec.save_images or ("successes" if transfers else "none"),
        }
    )


def dump(spec: Spec) -> str:
    """The resolved spec as YAML, which :func:`load` reads back to an equal one."""
    return str(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _victim(victim: Victim, where: str) -> Victim:
    """A victim with the defaults of its defence and its training."""
    try:
        refuse_code(victim.arch)
    except ValueError as error:
        raise UserError(f"{where}.arch: {error}") from error
    defense = resolved_defense(victim.defense, f"{where}.defense")
    if victim.training is None and not (victim.weights or victim.parameters.get("weights")):
        raise UserError(f"{where}: needs training (such as {{epochs: 10}}) or weights (a file)")
    if victim.training is not None and victim.weights:
        raise UserError(f"{where}: has training and weights; given weights are not trained further, leave out one")
    training = None if victim.training is None else resolved_training(victim.training, f"{where}.training")
    return victim.model_copy(update={"defense": defense, "training": training})


def _check_evaluated_on(spec: Spec) -> None:
    """Examples are tested on victims that there are, and that have a name."""
    names = [victim.name for victim in spec.victims if victim.name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"victims: two of them are called {shown(twice)}; give each its own name")
    for i, victim in enumerate(spec.victims):
        unknown = [name for name in victim.evaluated_on if name not in names] if victim.evaluated_on != "all" else []
        if unknown:
            known = ", ".join(names) or "none: give the victim a name"
            raise UserError(f"victims[{i}].evaluated_on: no victim is called {shown(unknown[0])}; there are {known}")
        if victim.evaluated_on and not victim.attacked:
            raise UserError(f"victims[{i}].evaluated_on: has no examples, as attacked is false; leave out one")
        if victim.evaluated_on and spec.save_images == "none":
            raise UserError(f"save_images: must be successes, as victims[{i}] has evaluated_on; got none")
    if not any(victim.attacked for victim in spec.victims):
        raise UserError("victims: at least one must be attacked")
