"""Entries of a spec with every default filled in, known to be right: each value of their axes is tried."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from itertools import product
from typing import Any

from eadbench.attacks import ATTACKS
from eadbench.defenses import DEFENSES, AdversarialTraining
from eadbench.harness.errors import UserError
from eadbench.harness.spec.parameters import AXES, look_up, named, parameters_of, validated
from eadbench.harness.spec.yaml import shown
from eadbench.models import Training

DEFENSE_AXES = ("temperature", "epsilon")
"""Parameters of a defence that a spec may give as a list: each value makes a victim of its own."""


def resolved_training(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A victim's training with its defaults."""
    training = validated(parameters_of(Training), given, where).model_dump(mode="json")
    try:
        Training(**training)
    except ValueError as error:
        raise UserError(f"{where.removesuffix('.training')}.{error}") from error
    return training


def resolved_defense(given: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    """A defence with its defaults, known to be right: each value of its axes is tried on its class."""
    named_so = {given: {}} if isinstance(given, str) else dict(given)
    if len(named_so) != 1:
        right = "must name one defence, such as {distillation: {temperature: 100}}"
        raise UserError(f"{where}: {right}; got {shown(given)}")
    [(name, parameters)] = named_so.items()
    try:
        defense = look_up(name, DEFENSES, "defence")
        _check_class(defense, name)
        model = parameters_of(defense, axes=DEFENSE_AXES)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    where = f"{where}.{name}"
    if not isinstance(parameters, dict):
        raise UserError(f"{where}: must be a mapping of its parameters, got {shown(parameters)}")
    resolved = validated(model, parameters, where).model_dump(mode="json")
    if issubclass(defense, AdversarialTraining):
        resolved["attacks"] = [resolved_attack(a, f"{where}.attacks[{i}]") for i, a in enumerate(resolved["attacks"])]
    for parameters in combinations(resolved):
        try:
            defense(**parameters)
        except ValueError as error:
            raise UserError(f"{where}.{error}") from error
    return {name: resolved}


def combinations(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A defence's parameters with one value of each axis, for every combination."""
    axes = [name for name in DEFENSE_AXES if name in parameters]
    return [
        {**parameters, **dict(zip(axes, values, strict=True))}
        for values in product(*(parameters[name] for name in axes))
    ]


def resolved_attack(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """An attack with its defaults, known to be right: each value of its axes is tried on its class."""
    entry = dict(entry)
    chosen = entry.pop("decision_rules", None)
    resolved = named(entry, ATTACKS, "attack", where, leave_out=("targeted",))
    attack = look_up(resolved["name"], ATTACKS, "attack")
    try:
        _check_class(attack, resolved["name"])
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    rules = getattr(attack, "RULES", ())
    if chosen is not None and not (isinstance(chosen, list) and chosen and all(rule in rules for rule in chosen)):
        right = f"a list from {', '.join(rules)}" if rules else f"left out: {resolved['name']} has none"
        raise UserError(f"{where}.decision_rules: must be {right}; got {shown(chosen)}")

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


def _check_class(thing: object, name: str) -> None:
    if not (isinstance(thing, type) and is_dataclass(thing)):
        raise UserError(f"{name} must be a dataclass of its parameters")
