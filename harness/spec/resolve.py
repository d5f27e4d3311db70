"""From the spec as written to the spec as resolved: names are looked up, defaults filled in, every value tried."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from functools import partial
from itertools import product
from typing import Any

from eadbench.attacks.attack import breaches as attack_breaches
from eadbench.attacks.attack import instance_breaches, traits_of
from eadbench.attacks.budgeted import class_within, defaults_within, with_budget
from eadbench.defenses.defense import Crafting
from eadbench.defenses.defense import breaches as defense_breaches
from eadbench.harness.datasets import DATASETS
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.registry import ATTACKS, DEFENSES, Registry
from eadbench.harness.spec.detectors import adaptive_detector, check_adaptive
from eadbench.harness.spec.index_file import with_indices
from eadbench.harness.spec.parameters import each_made, listed, parameters_of, scalars_of, takes_tensor, validated
from eadbench.harness.spec.resolved import AttackEntry, DatasetEntry, DefenseEntry, Spec, VictimEntry, target_text
from eadbench.harness.spec.schema import Accounting, FileTargets, SpecFile, Targets
from eadbench.harness.spec.stored import stored_attack, stored_dataset, stored_defense
from eadbench.harness.spec.target_file import with_rows
from eadbench.harness.spec.victims import victim_entries

__all__ = ["resolved", "resolved_attack"]


def resolved(file: SpecFile, *, code: bool = True) -> Spec:
    """Resolve a spec.

    Parameters
    ----------
    code
        Whether to import the user's own code that it names. Otherwise the spec must be a resolved one, and the
        registries must have the facts of that code.

    Raises
    ------
    UserError
        One line: the field's path, what was given, what would be right.
    """
    if not (file.attacks or file.evaluate):
        raise UserError("attacks: is missing; give attacks, or evaluate with a norm and an epsilon")
    targets = _targets(file, code)
    if file.images.count is None and file.images.indices is None and not any(map(_from_file, targets)):
        raise UserError("images.count: is missing")
    modes = list(dict.fromkeys(each != "untargeted" for each in targets))
    transfers = any(victim.evaluated_on for victim in file.victims)
    victims = victim_entries(file, partial(_defense, code=code), code=code)
    spec = Spec(
        name=file.name,
        seed=file.seed,
        dataset=_dataset(file.dataset, code),
        images=with_indices(file.images, code=code),
        targets=targets,
        evaluated=file.evaluated,
        victims=victims,
        attacks=[
            resolved_attack(_accounted(entry, file, code), where, code=code, modes=modes, victims=victims)
            for where, entry in _attacks(file)
        ],
        save_images=file.save_images or ("successes" if transfers else "none"),
        shard_size=file.shard_size,
        batch_size=file.batch_size,
        precision=file.precision,
        confirmations=file.confirmations,
        resources=file.resources,
    )
    places = [where for where, _ in _attacks(file)]
    _check_modes(spec, places)
    _check_distinct(spec.attacks, places)
    check_adaptive(spec.attacks, spec.victims)
    return spec


def _attacks(file: SpecFile) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the attacks as written, each with its place in the spec; the evaluations at a fixed ε come last."""
    for i, entry in enumerate(file.attacks or ()):
        yield f"attacks[{i}]", entry
    several = isinstance(file.evaluate, list)
    for i, entry in enumerate(file.evaluate if isinstance(file.evaluate, list) else filter(None, [file.evaluate])):
        where = f"evaluate[{i}]" if several else "evaluate"
        if "name" in entry:
            raise UserError(f"{where}.name: unknown key; to evaluate by other attacks, give them as attacks")
        yield where, {"name": "autoattack", **entry}


def _targets(file: SpecFile, code: bool) -> list[Targets]:
    """Return the choices of targets, a file with its rows; refuse one that is there twice, and a second file."""
    given = file.targets if isinstance(file.targets, list) else [file.targets]
    if file.evaluate and "targets" not in file.model_fields_set:
        given = ["untargeted"]
    if twice := [each for i, each in enumerate(given) if each in given[:i]]:
        raise UserError(f"targets: has {target_text(twice[0])} twice; leave out one")
    if sum(map(_from_file, given)) > 1:
        raise UserError("targets: must name one file at most; run a sweep for each, or put their rows in one file")
    return [with_rows(each, code=code) if isinstance(each, FileTargets) else each for each in given]


def _from_file(targets: Targets) -> bool:
    return isinstance(targets, FileTargets)


def _accounted(entry: Mapping[str, Any], file: SpecFile, code: bool) -> Mapping[str, Any]:
    """Return an attack's entry with the sweep's budget, unless it has its own."""
    if not code:
        return entry
    shared = {
        "budget": file.budget,
        "best_queried": file.best_queried or None,
        "quantised": file.quantised or None,
    }
    return {**{key: value for key, value in shared.items() if value is not None}, **entry}


def resolved_attack(
    given: Mapping[str, Any],
    where: str,
    *,
    code: bool = True,
    modes: Sequence[bool] = (True,),
    victims: Sequence[VictimEntry] = (),
) -> AttackEntry:
    """Resolve an entry `{name: …, hyperparameter: …}`; each value of its axes is tried on the attack's class.

    Parameters
    ----------
    modes
        The values of `targeted` that the sweep has; the attack is tried with those that it supports.
    victims
        Those whose detectors an adaptive attack may name.
    """
    if not code and ATTACKS.is_own(given.get("name")):
        return stored_attack(given, where)
    attack, name, rest = _looked_up(given, ATTACKS, where)
    for breach in attack_breaches(attack):
        raise UserError(f"{where}.name: {name} {breach}")
    chosen = rest.pop("decision_rules", None)
    accounting = _accounting(rest, where)
    if (known := accounting.get("adaptive")) is not None:
        if "budget" in accounting or "best_queried" in accounting:
            raise UserError(f"{where}.adaptive: must be left out on a budget, and with best_queried")
        accounting["adaptive"] = adaptive_detector(known, attack, victims, f"{where}.adaptive", code=code)
    elif "adaptive_weight" in accounting:
        raise UserError(f"{where}.adaptive_weight: needs adaptive, a detector")
    published, attack = attack, class_within(attack, accounting)
    if accounting.get("published") and not ("budget" in accounting and hasattr(published, "WITHIN")):
        raise UserError(f"{where}.published: must be left out but with ead or cw on a budget; got true")
    if chosen is not None and attack is not published:
        raise UserError(f"{where}.decision_rules: must be left out on a budget, unless it is published: true")
    own, scalars = traits_of(attack).axes, scalars_of(attack)
    axes = list(dict.fromkeys([*own, *listed(rest, scalars)]))
    try:
        model = parameters_of(attack, axes=axes, leave_out=("targeted",))
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error
    rest = {**defaults_within(attack, accounting.get("budget")), **rest}
    values = validated(model, rest, where).model_dump(mode="json")
    unwritten = getattr(attack, "UNWRITTEN", {}).items()
    values = {key: value for key, value in values.items() if (key, value) not in unwritten}
    entry = AttackEntry(
        name=name,
        parameters={key: value for key, value in values.items() if key not in axes} | accounting,
        axes={key: values[key] for key in axes},
        decision_rules=_rules(attack, chosen, name, where),
        varying=[axis for axis in axes if takes_tensor(attack, axis)],
        targeted=traits_of(attack).targeted,
        untargeted=traits_of(attack).untargeted,
    )
    ATTACKS.remember(
        name,
        attack,
        axes=own,
        varying=entry.varying,
        scalars=scalars,
        targeted=entry.targeted,
        untargeted=entry.untargeted,
    )
    fields = {key: value for key, value in entry.parameters.items() if key not in accounting}
    supported = [mode for mode, has in ((True, entry.targeted), (False, entry.untargeted)) if has]
    for mode in [mode for mode in supported if mode in modes] or supported[:1]:
        for instance in each_made(attack, {**fields, "targeted": mode}, entry.axes, where):
            for breach in instance_breaches(instance):
                raise UserError(f"{where}: {name} {breach}")
            try:
                with_budget(instance, accounting)
            except ValueError as error:
                raise UserError(f"{where}.{error}") from error
    return entry


def _accounting(rest: dict[str, Any], where: str) -> dict[str, Any]:
    """Take the keys of :class:`Accounting` out of an attack's entry; return those that have an effect."""
    given = {key: rest.pop(key) for key in Accounting.model_fields if key in rest}
    values = validated(Accounting, given, where).model_dump()
    return {key: value for key, value in values.items() if value}


def _rules(attack: Any, chosen: object, name: str, where: str) -> Sequence[str]:
    """Return the decision rules that are kept: those chosen, or the attack's defaults."""
    traits = traits_of(attack)
    rules = traits.rules
    if chosen is None:
        return list(traits.default_rules)
    if not (isinstance(chosen, list) and chosen and all(rule in rules for rule in chosen)):
        right = f"a list from {', '.join(rules)}" if rules else f"left out: {name} has none"
        raise UserError(f"{where}.decision_rules: must be {right}; got {shown(chosen)}")
    return list(dict.fromkeys(chosen))


def _defense(given: str | Mapping[str, Any], where: str, *, code: bool) -> DefenseEntry:
    """Resolve a defence; each combination of its axes is tried on the defence's class."""
    mapping = {given: {}} if isinstance(given, str) else dict(given)
    if len(mapping) != 1:
        right = "must name one defence, such as {distillation: {temperature: 100}}"
        raise UserError(f"{where}: {right}; got {shown(given)}")
    [(name, parameters)] = mapping.items()
    if not code and DEFENSES.is_own(name):
        return stored_defense(name, parameters, where)
    try:
        defense = DEFENSES.look_up(name)
        for breach in defense_breaches(defense):
            raise UserError(f"{name} {breach}")
        own: Sequence[str] = getattr(defense, "AXES", ())
        scalars = scalars_of(defense)
        names = list(dict.fromkeys([*own, *listed(parameters if isinstance(parameters, dict) else {}, scalars)]))
        model = parameters_of(defense, axes=names)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    DEFENSES.remember(name, defense, axes=own, scalars=scalars)
    where = f"{where}.{name}"
    if not isinstance(parameters, dict):
        raise UserError(f"{where}: must be a mapping of its parameters, got {shown(parameters)}")
    values = validated(model, parameters, where).model_dump(mode="json")
    if "attacks" in values:  # the examples that the defence learns from
        values["attacks"] = [
            resolved_attack(attack, f"{where}.attacks[{i}]", code=code).written()
            for i, attack in enumerate(values["attacks"])
        ]
    later: Sequence[str] = getattr(defense, "LATER", ())
    entry = DefenseEntry(
        name=name,
        parameters={key: value for key, value in values.items() if key not in names},
        axes={key: values[key] for key in names},
        later={field.name: field.default for field in fields(defense) if field.name in later},
    )
    for instance in each_made(defense, entry.parameters, entry.axes, where):
        _check_crafting(instance, where, code)
    return entry


def _check_crafting(defense: Any, where: str, code: bool) -> None:
    """Check the examples that a defence asks for."""
    crafting = defense.crafts()
    if crafting is None:
        return
    if not isinstance(crafting, Crafting):
        raise UserError(f"{where}: crafts() must return a Crafting or None, got {shown(crafting)}")
    for i, attack in enumerate(crafting.attacks):
        entry = resolved_attack(attack, f"{where}.attacks[{i}]", code=code)
        if not code and ATTACKS.is_own(entry.name):
            continue
        if not traits_of(ATTACKS.look_up(entry.name)).targeted:
            raise UserError(
                f"{where}.attacks[{i}].name: {entry.name} is untargeted only; examples are crafted to targets"
            )


def _dataset(given: Mapping[str, Any], code: bool) -> DatasetEntry:
    if not code and DATASETS.is_own(given.get("name")):
        return stored_dataset(given)
    loader, name, rest = _looked_up(given, DATASETS, "dataset")
    try:
        model = parameters_of(loader)
    except UserError as error:
        raise UserError(f"dataset.name: {error}") from error
    return DatasetEntry(name=name, parameters=validated(model, rest, "dataset").model_dump(mode="json"))


def _looked_up(given: Mapping[str, Any], registry: Registry, where: str) -> tuple[Any, str, dict[str, Any]]:
    """Return the thing that an entry names, its name, and the entry's other keys."""
    rest = dict(given)
    name = rest.pop("name", None)
    try:
        return registry.look_up(name), str(name), rest
    except UserError as error:
        raise UserError(f"{where}.name: {error}") from error


def _check_modes(spec: Spec, places: Sequence[str]) -> None:
    """Refuse attacks that run with none of the choices of targets."""
    for where, entry in zip(places, spec.attacks, strict=True):
        if not any(map(entry.takes, spec.targets)):
            only, right = ("untargeted", "untargeted") if entry.untargeted else ("targeted", "all")
            also = ", or add it to the list" if len(spec.targets) > 1 else ""
            raise UserError(f"{where}.name: {entry.name} is {only} only; give the spec targets: {right}{also}")


def _check_distinct(attacks: Sequence[AttackEntry], places: Sequence[str]) -> None:
    """Refuse two entries that share a cell: the same attack, hyperparameters, axes and decision rule."""
    first: dict[str, int] = {}
    for i, entry in enumerate(attacks):
        for *values, rule in product(*entry.axes.values(), entry.decision_rules or [""]):
            parameters = {**entry.parameters, **dict(zip(entry.axes, values, strict=True))}
            cell = repr((entry.name, sorted(parameters.items()), rule))
            if first.setdefault(cell, i) != i:
                raise UserError(f"{places[i]}: has a cell of {places[first[cell]]} again; leave out one of them")
