"""Entries of a resolved spec that name the user's own code, read without importing it.

The results store the facts of that code (:class:`eadbench.harness.registry.Facts`), so that its rows are readable where
it is not installed, and so that nobody runs code by looking at results.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.registry import ATTACKS, DEFENSES, Facts, Registry
from eadbench.harness.spec.resolved import AttackEntry, DatasetEntry, DefenseEntry

__all__ = ["stored_attack", "stored_dataset", "stored_defense"]


def stored_attack(given: Mapping[str, Any], where: str) -> AttackEntry:
    """Return the entry of an attack.

    Raises
    ------
    UserError
        The registry has no facts of it, or the entry is not as a sweep wrote it.
    """
    facts = _facts(ATTACKS, given["name"], f"{where}.name")
    axes, rules = _axes(given, facts, where), given.get("decision_rules", [])
    if not (isinstance(rules, list) and all(isinstance(rule, str) for rule in rules)):
        raise UserError(f"{where}.decision_rules: must be a list of texts; got {shown(rules)}")
    return AttackEntry(
        name=given["name"],
        parameters=_without(given, {"name", "decision_rules", *axes}),
        axes=axes,
        decision_rules=rules,
        varying=facts.varying,
    )


def stored_defense(name: str, parameters: object, where: str) -> DefenseEntry:
    """Return the entry of a defence; the errors are those of :func:`stored_attack`."""
    facts = _facts(DEFENSES, name, where)
    if not isinstance(parameters, dict):
        raise UserError(f"{where}.{name}: must be a mapping of its parameters, got {shown(parameters)}")
    axes = _axes(parameters, facts, f"{where}.{name}")
    return DefenseEntry(name=name, parameters=_without(parameters, set(axes)), axes=axes)


def stored_dataset(given: Mapping[str, Any]) -> DatasetEntry:
    """Return the entry of a data set."""
    return DatasetEntry(name=given["name"], parameters=_without(given, {"name"}))


def _facts(registry: Registry, name: str, where: str) -> Facts:
    if name not in registry.facts:
        raise UserError(f"{where}: the results lack the facts of {name}, which is code; --allow-code imports it")
    return registry.facts[name]


def _axes(given: Mapping[str, Any], facts: Facts, where: str) -> dict[str, Sequence[Any]]:
    for axis in facts.axes:
        if not (isinstance(given.get(axis), list) and given[axis]):
            raise UserError(f"{where}.{axis}: must be a list of at least one value; got {shown(given.get(axis))}")
    return {axis: given[axis] for axis in facts.axes}


def _without(given: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in names}
