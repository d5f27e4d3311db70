"""From a spec's victims to recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from eadbench.attacks.engine.precision import Precision
from eadbench.defenses import Defense
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.labels import value_text
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.plan.class_maps import class_map_of
from eadbench.harness.registry import DEFENSES
from eadbench.harness.spec import Spec, VictimEntry
from eadbench.harness.storage import located
from eadbench.models import Recipe, Training, pin, sha256_of_file

__all__ = ["Planned", "defense_of", "needs_of", "planned"]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A victim of a spec."""

    recipe: Recipe
    name: str | None
    """Its name in the spec, with the values of its axes if the entry makes several victims."""
    where: str
    """The path of its entry in the spec."""
    weights: str | None
    """The user's weights file, as the spec names it."""
    strict: bool
    """Whether that file may hold no weights that the architecture lacks."""
    attacked: bool
    evaluated_on: Sequence[str]
    """Digests of the other victims that its examples are tested on."""
    detectors: Sequence[Mapping[str, Any]] = ()
    """The resolved entries of its detectors."""
    members: "Sequence[Planned]" = ()
    """The members of an ensemble."""


def planned(spec: Spec, data: DataSet) -> list[Planned]:
    """Return the victims of a spec: one for every combination of the axes of its defence and its training.

    The users' weights files are read, because their content is part of a recipe.

    Raises
    ------
    UserError
        A weights file is missing, or two entries describe the same victim.
    """
    places = [f"victims[{i}]" for i in range(len(spec.victims))]
    single = [
        [] if victim.ensemble else _entry(victim, where, data, spec.precision)
        for victim, where in zip(spec.victims, places, strict=True)
    ]
    named = {victim.name: of_entry for victim, of_entry in zip(spec.victims, single, strict=True) if victim.name}
    entries = [
        of_entry or [_ensemble(victim, where, named, data, spec.precision)]
        for victim, where, of_entry in zip(spec.victims, places, single, strict=True)
    ]
    digests = [[each.recipe.digest for each in of_entry] for of_entry in entries]
    every = [digest for of_entry in digests for digest in of_entry]
    by_name = {victim.name: of_entry for victim, of_entry in zip(spec.victims, digests, strict=True)}
    victims: dict[str, Planned] = {}
    for victim, of_entry in zip(spec.victims, entries, strict=True):
        others = every if victim.evaluated_on == "all" else [d for name in victim.evaluated_on for d in by_name[name]]
        for each in of_entry:
            digest = each.recipe.digest
            if digest in victims:
                raise UserError(f"{each.where}: is the same as another victim ({digest}); leave one out")
            victims[digest] = replace(each, evaluated_on=[other for other in dict.fromkeys(others) if other != digest])
    return list(victims.values())


def _entry(victim: VictimEntry, where: str, data: DataSet, precision: Precision) -> list[Planned]:
    """Return the victims of an entry, one for every combination of its axes."""
    return [
        Planned(
            recipe=recipe,
            name=_name(victim, recipe),
            where=where,
            weights=victim.weights,
            strict=victim.strict,
            attacked=victim.attacked,
            evaluated_on=(),
            detectors=victim.detectors,
        )
        for recipe in _recipes(victim, where, data, precision)
    ]


def _ensemble(
    victim: VictimEntry, where: str, named: Mapping[str, Sequence[Planned]], data: DataSet, precision: Precision
) -> Planned:
    """Return an ensemble with its members: victims of the spec by name, all of an entry's, or entries of its own."""
    members: list[Planned] = []
    for i, member in enumerate(victim.ensemble):
        if isinstance(member, str):
            members += named[member]
        else:
            members += _entry(member, f"{where}.ensemble[{i}]", data, precision)
    recipe = _recipe(
        where,
        arch=victim.arch,
        parameters={},
        num_classes=data.classes,
        trained_on=data.identity,
        defense={"name": victim.defense.name},
        training=None,
        members=[member.recipe.to_json() for member in members],
    )
    return Planned(
        recipe=recipe,
        name=victim.name,
        where=where,
        weights=None,
        strict=True,
        attacked=victim.attacked,
        evaluated_on=(),
        detectors=victim.detectors,
        members=members,
    )


def _name(victim: VictimEntry, recipe: Recipe) -> str | None:
    """Return the victim's name, with the value of every axis that has several."""
    parameters = {**victim.defense.later, **recipe.defense}
    values = {axis: parameters[axis] for axis, values in victim.defense.axes.items() if len(values) > 1}
    if victim.training is not None:
        axes = [axis for axis, values in victim.training.axes.items() if len(values) > 1]
        values |= {axis: getattr(recipe.training, axis) for axis in axes}
    if victim.name is None or not values:
        return victim.name
    return ", ".join([victim.name, *(f"{axis} {value_text(value)}" for axis, value in values.items())])


def _recipes(victim: VictimEntry, where: str, data: DataSet, precision: Precision) -> list[Recipe]:
    """Return the recipes of a victim's entry at a path of the spec."""
    weights = None if victim.weights is None else _weights_file(victim.weights, f"{where}.weights")
    hub = _hub_facts(victim, where)
    trainings: Sequence[Training | None] = [None] if victim.training is None else victim.training.combinations()
    class_map = victim.class_map
    mapped = None if class_map is None else class_map_of(class_map, data.class_names, f"{where}.class_map")
    recipes = [
        _recipe(
            where,
            arch=victim.arch,
            parameters=victim.parameters,
            num_classes=data.classes,
            trained_on=data.identity,
            defense={"name": victim.defense.name, **values},
            training=training,
            weights=None if weights is None else sha256_of_file(weights),
            outputs=victim.outputs,
            normalise=_normalise(victim, data, where),
            class_map=mapped,
            network_classes=victim.network_classes,
            hub=hub,
        )
        for values, training in product(victim.defense.combinations(), trainings)
    ]
    return [_crafted_in(precision, recipe) for recipe in recipes]


def _normalise(victim: VictimEntry, data: DataSet, where: str) -> Mapping[str, Any] | None:
    """Return a victim's normalisation, if it fits the channels of the data set; grey images fit any."""
    channels = data.shape[0]
    if victim.normalise is not None and channels > 1 and len(victim.normalise["mean"]) not in (1, channels):
        raise UserError(f"{where}.normalise: must have a number for each of {channels} channels, or one for all")
    return victim.normalise


def _hub_facts(victim: VictimEntry, where: str) -> Mapping[str, Any] | None:
    """Return what a hub says about a victim's network; None if it is not of a hub."""
    trained = victim.training is not None or victim.weights is not None
    try:
        return pin(victim.arch, victim.parameters, trained=trained)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _recipe(where: str, **fields: Any) -> Recipe:
    """Return a recipe; a mistake in its fields names the spec's entry."""
    try:
        return Recipe(**fields)
    except ValueError as error:
        raise UserError(f"{where}: {str(error).removeprefix('recipe: ').removeprefix('recipe.')}") from error


def _weights_file(text: str, where: str) -> Path:
    """Return the weights file that a spec names at `where`.

    Raises
    ------
    UserError
        There is no such file, or it cannot be read.
    """
    refuse_elsewhere(text, where)
    try:
        file = located(text)
        exists = file.is_file()
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    except OSError as error:
        raise UserError(f"{where}: {text} cannot be read: {error.strerror or error}") from error
    if not exists:
        raise UserError(f"{where}: there is no file {text}")
    return file


def defense_of(recipe: Recipe) -> Defense:
    """Return a recipe's defence with its parameters."""
    defense: Defense = DEFENSES.look_up(recipe.defense["name"])(**recipe.defense_parameters)
    return defense


def needs_of(recipe: Recipe) -> Mapping[str, Recipe]:
    """Return the models that a recipe is trained from or, an ensemble, has for members, by their parts."""
    if recipe.members is not None:
        return {f"member {number}": member for number, member in enumerate(recipe.member_recipes())}
    if recipe.training is None:
        return {}
    needs = defense_of(recipe).needs(recipe)
    return {part: _crafted_in(recipe.precision, needed) for part, needed in needs.items()}


def _crafted_in(precision: Precision, recipe: Recipe) -> Recipe:
    """Return the recipe with the precision of its attacks, if it or a model that it needs learns from their examples.

    The weights of other models do not depend on the precision, and their digests must not.
    """
    return replace(recipe, precision=precision if _needs_examples(recipe) else "float32")


def _needs_examples(recipe: Recipe) -> bool:
    """Return whether a recipe, or one that it needs, is trained on adversarial examples crafted beforehand."""
    if recipe.training is None:
        return False
    defense = defense_of(recipe)
    return defense.crafts() is not None or any(map(_needs_examples, defense.needs(recipe).values()))
