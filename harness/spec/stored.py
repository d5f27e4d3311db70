"""Entries of a resolved spec that name the user's own code, read without importing it.

The results store the facts of that code (:class:`eadbench.harness.registry.Facts`), so that its rows are readable where
it is not installed, and so that nobody runs code by looking at results.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.registry import ATTACKS, DEFENSES, DETECTORS, Facts, Registry
from eadbench.harness.spec.parameters import listed
from eadbench.harness.spec.resolved import AttackEntry, DatasetEntry, DefenseEntry

__all__ = ["facts_named_in", "remember_facts", "stored_attack", "stored_dataset", "stored_defense", "texts_in"]


_KINDS = {"attacks": ATTACKS, "defenses": DEFENSES, "detectors": DETECTORS}


def facts_named_in(written: Mapping[str, Any]) -> dict[str, dict[str, Facts]]:
    """Return the facts of the code that a written spec names anywhere, by kind and name."""
    texts = set(texts_in(written))
    return {
        kind: {name: facts for name, facts in registry.facts.items() if name in texts}
        for kind, registry in _KINDS.items()
    }


def remember_facts(stored: Mapping[str, Mapping[str, Facts]]) -> None:
    """Give the registries the facts that results have stored; what is built in stays as it is."""
    for kind, facts in stored.items():
        _KINDS[kind].facts.update({name: each for name, each in facts.items() if _KINDS[kind].is_own(name)})


def texts_in(content: object) -> Iterator[str]:
    """Yield every text in mappings and lists, keys too."""
    if isinstance(content, Mapping):
        content = [*content, *content.values()]
    if isinstance(content, list):
        for item in content:
            yield from texts_in(item)
    elif isinstance(content, str):
        yield content


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
    for name, kind, right in (
        ("norm", str, "a text"),
        ("beta", int | float, "a number"),
        ("kappa", int | float, "a number"),
    ):
        for value in axes.get(name, [given.get(name)]):
            if value is not None and not isinstance(value, kind):
                raise UserError(f"{where}.{name}: must be {right}; got {shown(value)}")
    return AttackEntry(
        name=given["name"],
        parameters=_without(given, {"name", "decision_rules", *axes}),
        axes=axes,
        decision_rules=rules,
        varying=facts.varying,
        targeted=facts.targeted,
        untargeted=facts.untargeted,
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
    scalars = [name for name in listed(given, facts.scalars) if name not in facts.axes]
    if empty := [name for name in scalars if not given[name]]:
        raise UserError(f"{where}.{empty[0]}: must not be empty")
    return {axis: given[axis] for axis in (*facts.axes, *scalars)}


def _without(given: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in names}
