"""The victims of a spec, from the entries as written to the entries as resolved."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.spec.detectors import resolved_detectors
from eadbench.harness.spec.parameters import each_made, listed, parameters_of, scalars_of, validated
from eadbench.harness.spec.resolved import DefenseEntry, TrainingEntry, VictimEntry
from eadbench.harness.spec.schema import SpecFile, VictimFields
from eadbench.models import Training, default_init, is_hub
from eadbench.models.code import refuse_code

__all__ = ["victim_entries"]

Resolve = Callable[[str | Mapping[str, Any], str], DefenseEntry]
"""Resolves a defence at a path of the spec."""


def victim_entries(file: SpecFile, defense: Resolve, *, code: bool) -> list[VictimEntry]:
    """Return the victims of a spec, each checked by itself and against the names of the others."""
    _check_names(file)
    return [_victim(victim, f"victims[{i}]", defense, code) for i, victim in enumerate(file.victims)]


def _victim(given: VictimFields, where: str, resolve: Resolve, code: bool) -> VictimEntry:
    if given.ensemble is not None:
        return _ensemble(given, where, resolve, code)
    if given.arch is None:
        raise UserError(f"{where}.arch: is missing")
    try:
        if code:
            refuse_code(given.arch)
    except ValueError as error:
        raise UserError(f"{where}.arch: {error}") from error
    if is_hub(given.arch):
        _refuse_elsewhere(given, where)
    defense = resolve(given.defense, f"{where}.defense")
    if given.training is None and not (given.weights or _is_published(given)):
        raise UserError(f"{where}: needs training (such as {{epochs: 10}}) or weights (a file)")
    if given.training is not None and given.weights:
        raise UserError(f"{where}: has training and weights; given weights are not trained further, leave out one")
    if given.network_classes is not None and given.class_map is None:
        raise UserError(f"{where}.network_classes: needs class_map, which picks the data set's classes among them")
    return VictimEntry(
        name=given.name,
        arch=given.arch,
        parameters=given.parameters,
        defense=defense,
        training=None if given.training is None else _training(given.training, given.arch, where),
        weights=given.weights,
        strict=given.strict,
        outputs=given.outputs,
        normalise=None if given.normalise is None else given.normalise.model_dump(),
        class_map=given.class_map,
        network_classes=given.network_classes,
        attacked=given.attacked,
        evaluated_on=given.evaluated_on,
        detectors=_detectors(given, where, code),
    )


def _detectors(given: VictimFields, where: str, code: bool) -> Sequence[Mapping[str, Any]]:
    if given.detectors and not given.attacked:
        raise UserError(f"{where}.detectors: has no examples to judge, as attacked is false; leave out one")
    return resolved_detectors(given.detectors, f"{where}.detectors", code=code)


def _ensemble(given: VictimFields, where: str, resolve: Resolve, code: bool) -> VictimEntry:
    """Resolve an ensemble, whose members are names of other victims, or entries of their own."""
    allowed = {"name", "ensemble", "attacked", "evaluated_on", "detectors"}
    if others := sorted(given.model_fields_set - allowed):
        raise UserError(f"{where}.{others[0]}: an ensemble has members alone; give it to them, or leave it out")
    members: list[str | VictimEntry] = []
    for i, member in enumerate(given.ensemble or ()):
        place = f"{where}.ensemble[{i}]"
        if isinstance(member, str):
            members.append(member)
            continue
        fields = validated(VictimFields, member, place)
        if fields.ensemble is not None:
            raise UserError(f"{place}: must not be an ensemble itself; name its members instead")
        members.append(_victim(fields, place, resolve, code))
    none = DefenseEntry(name="none", parameters={}, axes={})
    return VictimEntry(
        name=given.name,
        arch="ensemble",
        parameters={},
        defense=none,
        training=None,
        weights=None,
        strict=True,
        outputs="logits",
        normalise=None,
        class_map=None,
        network_classes=None,
        attacked=given.attacked,
        evaluated_on=given.evaluated_on,
        detectors=_detectors(given, where, code),
        ensemble=members,
    )


def _is_published(given: VictimFields) -> bool:
    """Return whether an entry names published weights: torchvision's, or a hub's."""
    if is_hub(given.arch or ""):
        return given.parameters.get("pretrained", True) is not False
    return given.parameters.get("weights") is not None


def _refuse_elsewhere(given: VictimFields, where: str) -> None:
    """Refuse a network of a hub that lies in a folder of this machine, if a stranger's spec may not name it."""
    place = (given.arch or "").rpartition(":")[2]
    if place.startswith(("/", "~", ".")):
        refuse_elsewhere(place, f"{where}.arch")
    if isinstance(folder := given.parameters.get("folder"), str):
        refuse_elsewhere(folder, f"{where}.parameters.folder")


def _training(given: Mapping[str, Any], arch: str, where: str) -> TrainingEntry:
    """Resolve a training; each value of its lists is tried."""
    where = f"{where}.training"
    axes = listed(given, scalars_of(Training))
    values = validated(parameters_of(Training, axes=axes), given, where).model_dump(mode="json")
    if "init" not in axes and not values["init"]:
        values["init"] = default_init(arch)
    entry = TrainingEntry(
        parameters={name: value for name, value in values.items() if name not in axes},
        axes={
            name: [value or default_init(arch) for value in values[name]] if name == "init" else values[name]
            for name in axes
        },
    )
    list(each_made(_made_training, entry.parameters, entry.axes, where))
    return entry


def _made_training(**fields: Any) -> Training:
    try:
        return Training(**fields)
    except ValueError as error:
        raise ValueError(str(error).removeprefix("training.")) from error


def _check_names(file: SpecFile) -> None:
    """Refuse victims to test on, and members of ensembles, that do not exist; and names that two victims share."""
    names = [victim.name for victim in file.victims if victim.name is not None]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"victims: two of them are called {shown(twice)}; give each its own name")
    for i, victim in enumerate(file.victims):
        unknown = [name for name in victim.evaluated_on if name not in names] if victim.evaluated_on != "all" else []
        if unknown:
            known = ", ".join(names) or "none: give the victim a name"
            raise UserError(f"victims[{i}].evaluated_on: no victim is called {shown(unknown[0])}; there are {known}")
        _check_members(file, i)
        if victim.evaluated_on and not victim.attacked:
            raise UserError(f"victims[{i}].evaluated_on: has no examples, as attacked is false; leave out one")
        if victim.evaluated_on and file.save_images == "none":
            raise UserError(f"save_images: must be successes, as victims[{i}] has evaluated_on; got none")
    if not any(victim.attacked for victim in file.victims):
        raise UserError("victims: at least one must be attacked")


def _check_members(file: SpecFile, i: int) -> None:
    """Refuse names of members that no single victim has."""
    single = [victim.name for victim in file.victims if victim.name is not None and victim.ensemble is None]
    for j, member in enumerate(file.victims[i].ensemble or ()):
        if isinstance(member, str) and member not in single:
            known = ", ".join(single) or "none: give the victim a name"
            where = f"victims[{i}].ensemble[{j}]"
            raise UserError(f"{where}: no single victim is called {shown(member)}; there are {known}")
