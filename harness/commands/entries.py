"""What listings say of the things that a spec can name.

Built-in entries are read from `entries.json`, which this module writes, so that a listing imports neither torch nor the
attacks: ``python -m eadbench.harness.commands.entries``.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eadbench.harness.registry import Registry

__all__ = ["built_in", "described", "every_built_in"]

_FILE = resources.files(__package__) / "entries.json"
_LEFT_OUT: Mapping[str, Sequence[str]] = {"attacks": ("targeted",), "models": ("num_classes",)}
"""Parameters that the harness gives, by command."""


def built_in(command: str) -> Mapping[str, Sequence[str]]:
    """Return the built-in entries that a command lists: the lines of each, by its name."""
    entries: Mapping[str, Mapping[str, Sequence[str]]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return entries[command]


def described(command: str, name: str) -> Sequence[str]:
    """Return an entry's lines: its summary, its parameters with their defaults and axes, and its decision rules.

    Raises
    ------
    UserError
        Nothing has that name, or it cannot be imported.
    """
    from eadbench.harness.spec.parameters import parameters_of

    thing = _registries()[command].look_up(name)
    lines = [(thing.__doc__ or "").strip().partition("\n")[0]]
    axes = getattr(thing, "AXES", ())
    for parameter, field in parameters_of(thing, leave_out=_LEFT_OUT.get(command, ())).model_fields.items():
        default = "needed" if field.is_required() else repr(field.default)
        lines.append(f"{parameter}: {default}{'  (may be a list)' if parameter in axes else ''}")
    if rules := getattr(thing, "RULES", ()):
        default_rules = ", ".join(getattr(thing, "DEFAULT_RULES", rules))
        lines.append(f"decision_rules: {', '.join(rules)}; by default {default_rules}")
    return lines


def every_built_in() -> Mapping[str, Mapping[str, Sequence[str]]]:
    """Return what `entries.json` must hold."""
    return {
        command: {name: described(command, name) for name in registry.table}
        for command, registry in _registries().items()
    }


def _registries() -> Mapping[str, "Registry"]:
    from eadbench.harness.datasets import DATASETS
    from eadbench.harness.registry import ATTACKS, DEFENSES, DETECTORS, MODELS

    return {
        "attacks": ATTACKS,
        "datasets": DATASETS,
        "defenses": DEFENSES,
        "detectors": DETECTORS,
        "models": MODELS,
    }


if __name__ == "__main__":
    with resources.as_file(_FILE) as path:
        path.write_text(json.dumps(every_built_in(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
