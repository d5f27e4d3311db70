"""The spec: the YAML file that describes one sweep, read, checked and resolved."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from attacks import ATTACKS
from defenses import DEFENSES
from harness.datasets import DATASETS
from harness.entries import AXES, Strict, look_up, named, parameters_of, validated
from harness.errors import UserError
from models import Training


class Images(Strict):
    """Which images are attacked: the first `count` of a seeded order that the victim classifies correctly."""

    count: int = Field(ge=1)
    split: Literal["test", "train"] = "test"


class RandomTargets(Strict):
    """That many incorrect classes per image, drawn from the spec's seed."""

    random: int = Field(ge=1)


class Victim(Strict):
    """How a victim is made: trained by `training`, or given by a file of `weights`."""

    arch: str
    parameters: dict[str, Any] = Field(default={})
    defense: str = "none"
    training: dict[str, Any] | None = None
    weights: str | None = None


class Resources(Strict):
    """What the workers take. Rows do not depend on how many workers there are."""

    workers: int | None = Field(default=None, ge=1)
    """Unless given: one per GPU, or as many as fit on the CPU cores."""
    threads: int = Field(default=1, ge=1)
    """Of torch, per worker on CPU cores; the spec's to say, because rounding depends on it."""


class Spec(Strict):
    """One sweep, with every default filled in."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="letters, digits, '.', '_' and '-'")
    seed: int = Field(default=0, ge=0)
    dataset: dict[str, Any]
    images: Images
    targets: Literal["all", "untargeted"] | RandomTargets = Field(
        default="all", description="all, untargeted or {random: how many, at least 1}"
    )
    victims: list[Victim] = Field(min_length=1)
    attacks: list[dict[str, Any]] = Field(min_length=1, description="a list of at least one attack")
    shard_size: int = Field(default=200, ge=1)
    """Examples in a shard: the unit of scheduling, retry and commit."""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=128, description="a number of examples, at least 1, or auto"
    )
    """Examples attacked at a time. With auto, each worker finds the fastest: its rows then agree with those of other
    workers to rounding, and not to the bit."""
    resources: Resources = Resources()

    @property
    def targeted(self) -> bool:
        """Whether the attacks aim at target classes."""
        return self.targets != "untargeted"


def load(path: Path, overrides: Sequence[str] = ()) -> Spec:
    """The spec in the file at `path`, with `overrides` such as ``images.count=10`` or ``attacks.0.beta=[1e-3]``.

    Raises
    ------
    UserError
        The file is missing or no YAML, or says what cannot be: one line with the field's path.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a mapping with the keys {', '.join(Spec.model_fields)}")
    for override in overrides:
        _set(content, override)
    try:
        return parse(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse(content: Mapping[str, Any]) -> Spec:
    """The spec that `content` describes.

    Raises
    ------
    UserError
        One line: the field's path, what was given, what would be right.
    """
    spec = validated(Spec, content)
    return spec.model_copy(
        update={
            "dataset": named(spec.dataset, DATASETS, "data set", "dataset"),
            "victims": [_victim(victim, f"victims[{i}]") for i, victim in enumerate(spec.victims)],
            "attacks": [_attack(entry, f"attacks[{i}]") for i, entry in enumerate(spec.attacks)],
        }
    )


def dump(spec: Spec) -> str:
    """The resolved spec as YAML, which :func:`load` reads back to an equal one."""
    return str(yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _victim(victim: Victim, where: str) -> Victim:
    """A victim with the defaults of its training."""
    if victim.defense not in DEFENSES:
        raise UserError(f"{where}.defense: must be one of {', '.join(DEFENSES)}, got {victim.defense!r}")
    if victim.training is None:
        if not (victim.weights or victim.parameters.get("weights")):
            raise UserError(f"{where}: needs training (such as {{epochs: 10}}) or weights (a file)")
        return victim
    if victim.weights:
        raise UserError(f"{where}: has training and weights; given weights are not trained further, leave out one")
    training = validated(parameters_of(Training), victim.training, f"{where}.training").model_dump(mode="json")
    try:
        Training(**training)
    except ValueError as error:
        raise UserError(f"{where}.{error}") from error
    return victim.model_copy(update={"training": training})


def _attack(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An attack with its defaults, known to be right: each value of its axes is tried on its class."""
    entry = dict(entry)
    chosen = entry.pop("decision_rules", None)
    resolved = named(entry, ATTACKS, "attack", where, leave_out=("targeted",))
    attack = look_up(resolved["name"], ATTACKS, "attack")
    rules = getattr(attack, "RULES", ())
    if chosen is not None and not (rules and isinstance(chosen, list) and chosen and set(chosen) <= set(rules)):
        right = f"a list from {', '.join(rules)}" if rules else f"left out: {resolved['name']} has none"
        raise UserError(f"{where}.decision_rules: must be {right}; got {chosen!r}")

    fixed = {name: value for name, value in resolved.items() if name not in ("name", *AXES)}
    axes = {axis: resolved[axis] for axis in AXES if axis in resolved}
    for axis, values in axes.items() or [("", [None])]:
        for value in values:
            setting = {other: first[0] for other, first in axes.items()} | ({axis: value} if axis else {})
            try:
                attack(**fixed, **setting)
            except (TypeError, ValueError) as error:
                raise UserError(f"{where}.{error}") from error
    if rules:
        resolved["decision_rules"] = chosen or [rule for rule in rules if rule != "l2"]
    return resolved


def _set(content: dict[str, Any], override: str) -> None:
    """Write ``a.b=value`` into `content`; a number in the path picks an item of a list."""
    path, equals, value = override.partition("=")
    *parents, last = (int(part) if part.isdecimal() else part for part in path.split("."))
    place: Any = content
    try:
        parsed = yaml.safe_load(value)
        for part in parents:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        place[last] = parsed
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML") from error
    except (LookupError, TypeError) as error:
        raise UserError(f"--set {override}: the spec has no {path}") from error
    if not equals:
        raise UserError(f"--set {override}: must be path=value, such as images.count=10")
