"""The spec described for editors and for readers: JSON Schema, and the page docs/spec.md."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from eadbench.harness.datasets import DATASETS
from eadbench.harness.registry import ATTACKS, DEFENSES, DETECTORS, Registry
from eadbench.harness.spec.parameters import Right, parameters_of, scalars_of
from eadbench.harness.spec.schema import (
    Accounting,
    FileTargets,
    Images,
    Normalise,
    RandomTargets,
    Resources,
    SpecFile,
    VictimFields,
)
from eadbench.models import Training

__all__ = ["json_schema", "markdown"]

_IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_SCALES = "Variants of the spec by name, each a mapping of paths to values: {tiny: {images.count: 10}}."


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file, with the parameters of everything that it can name."""
    schema = SpecFile.model_json_schema()
    schema |= {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "eadbench spec"}
    properties = schema["properties"]
    properties["dataset"] |= _named(DATASETS)
    attack, evaluation = _named(ATTACKS, leave_out=("targeted",), extra=_keys_of_attacks), _evaluation()
    for key, kinds in (("attacks", [_several(attack)]), ("evaluate", [evaluation, _several(evaluation)])):
        properties[key] = {"description": properties[key]["description"], "anyOf": kinds}
    properties["scales"] = {
        "type": "object",
        "description": _SCALES,
        "additionalProperties": {"type": "object"},
    }
    schema |= {**_COUNT, "anyOf": [{"required": ["attacks"]}, {"required": ["evaluate"]}]}
    schema["$defs"]["VictimFields"]["anyOf"] = [{"required": ["arch"]}, {"required": ["ensemble"]}]
    victim = schema["$defs"]["VictimFields"]["properties"]
    victim["defense"] = {"description": victim["defense"]["description"], **_defense()}
    detector = {"anyOf": [{"enum": list(DETECTORS.table)}, {"pattern": _IMPORT_PATH}], "type": "string"}
    victim["detectors"]["items"] = {"anyOf": [detector, _named(DETECTORS, lists=False)]}
    victim["training"] = {"description": victim["training"]["description"], "anyOf": [_inline(Training), _NULL]}
    return schema


_NULL = {"type": "null"}
_FILE = {"type": "object", "required": ["file"]}
_WITH_FILE = {"anyOf": [_FILE, {"type": "array", "contains": _FILE}]}
_FROM_FILE = {"required": ["targets"], "properties": {"targets": _WITH_FILE}}
_CHOSEN = {"anyOf": [{"required": ["count"]}, {"required": ["indices"]}]}
_COUNTED = {"required": ["images"], "properties": {"images": _CHOSEN}}
_COUNT = {"if": _FROM_FILE, "else": _COUNTED}
"""Only with chosen images, or with targets from a file, may the number of images be left out."""


def _named(
    registry: Registry,
    *,
    leave_out: Sequence[str] = (),
    extra: Callable[[Any], dict[str, Any]] | None = None,
    lists: bool = True,
) -> dict[str, Any]:
    """Return the schema of an entry `{name: …, parameter: …}` of a registry; `lists` as for :func:`_inline`."""
    entries = []
    for name, thing in _variants(registry):
        fields = _inline(thing, leave_out=leave_out, lists=lists)
        own = extra(thing) if extra else {}
        properties = {"name": {"const": name, "description": _first_line(thing)}, **fields["properties"], **own}
        entries.append({**fields, "properties": properties, "required": ["name", *fields.get("required", [])]})
    outsider = {"type": "object", "properties": {"name": {"type": "string", "pattern": _IMPORT_PATH}}}
    return {"anyOf": [*entries, {**outsider, "required": ["name"]}]}


def _variants(registry: Registry) -> Iterator[tuple[str, Any]]:
    """Yield every thing of a registry by its name, and behind it its variant for a budget, if it has one."""
    for name, thing in registry.table.items():
        yield name, thing
        if (variant := getattr(thing, "WITHIN", None)) is not None:
            yield name, variant


def _defense() -> dict[str, Any]:
    """Return the schema of a defence: a name, or a mapping of one name to its parameters."""
    names = {"type": "string", "anyOf": [{"enum": list(DEFENSES.table)}, {"pattern": _IMPORT_PATH}]}
    mapping = {
        "type": "object",
        "properties": {name: _inline(defense) for name, defense in DEFENSES.table.items()},
        "patternProperties": {_IMPORT_PATH: {"type": "object"}},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [names, mapping]}


def _several(item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a list of at least one item."""
    return {"type": "array", "minItems": 1, "items": item}


def _evaluation() -> dict[str, Any]:
    """Return the schema of a mapping of `evaluate`: the hyperparameters of its attack."""
    fields = _inline(ATTACKS.table["autoattack"], leave_out=("targeted",))
    return {**fields, "properties": {**fields["properties"], **_keys_of_attacks(ATTACKS.table["autoattack"])}}


def _keys_of_attacks(attack: Any) -> dict[str, Any]:
    """Return the schema of an attack's keys that are no hyperparameters: its budget, and its decision rules if any."""
    accounting: dict[str, Any] = Accounting.model_json_schema()["properties"]
    rules = list(getattr(attack, "RULES", ()))
    if not rules:
        return accounting
    return {**accounting, "decision_rules": {"type": "array", "items": {"enum": rules}, "minItems": 1}}


def _inline(thing: Any, *, leave_out: Sequence[str] = (), lists: bool = True) -> dict[str, Any]:
    """Return the schema of a thing's keyword parameters; an axis is a value or, with `lists`, a list of values."""
    schema = parameters_of(thing, leave_out=leave_out).model_json_schema()
    for axis in dict.fromkeys([*getattr(thing, "AXES", ()), *scalars_of(thing)]) if lists else ():
        if axis in leave_out:
            continue
        one = schema["properties"][axis]
        schema["properties"][axis] = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
    return {name: schema[name] for name in ("type", "properties", "required", "additionalProperties") if name in schema}


def _first_line(thing: Any) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class _Part:
    """A mapping of the spec: its heading, and the model of its keys."""

    heading: str
    model: type[BaseModel]


_PARTS = (
    _Part("The spec", SpecFile),
    _Part("`images`", Images),
    _Part("`targets: {random: …}`", RandomTargets),
    _Part("`targets: {file: …}`", FileTargets),
    _Part("A victim", VictimFields),
    _Part("`normalise` of a victim", Normalise),
    _Part("`training` of a victim", parameters_of(Training)),
    _Part("`resources`", Resources),
    _Part("Every attack", Accounting),
)

_INTRODUCTION = """# The spec

<!-- Made by `eadbench schema --markdown`; a test compares it with the models. -->

A spec is a YAML file that describes one sweep. `eadbench schema > spec.schema.json` writes its JSON Schema, and an
editor completes and checks specs with it (in VS Code's YAML extension:
`# yaml-language-server: $schema=spec.schema.json`).

- **Names.** Data sets, attacks, defences and architectures are named as the listings below have them, or by an import
  path `package.module:Name` of your own code; the working folder is on the import path ([extending.md](extending.md)).
- **Lists.** Any parameter of an attack, a defence or a training that holds one number, text or truth may be a list,
  such as `steps: [40, 80]` or `seed: [0, 1, 2]`, in the order of the spec. The grid is the product of an attack's
  lists; every combination of a victim's lists is a victim. An attack may search the values of an *axis* in one batch.
  `targets` may be a list too.
- **Norms and fractions.** A norm may be written `2`, `inf`, `L2` or `l2`, and a number as a fraction: `8/255`.
- **Scales.** `scales` has variants of the spec by name, each a mapping of paths to values:
  `scales: {tiny: {images.count: 10}}`. `eadbench run SPEC --scale tiny` applies one.
- **Paths.** In `scales` and in `--set PATH=VALUE`, a path joins keys by dots, a number picks an item of a list, and `*`
  every item: `attacks.0.beta`, `victims.*.training.epochs`.
"""


def markdown() -> str:
    """Return the page docs/spec.md."""
    parts = [_INTRODUCTION, *(_model_table(part) for part in _PARTS)]
    shared = {name: text for thing in DATASETS.table.values() for name, text in _meanings(thing).items()}
    for heading, registry, meanings in (
        ("Data sets", DATASETS, shared),
        ("Attacks", ATTACKS, {}),
        ("Defences", DEFENSES, {}),
        ("Detectors", DETECTORS, {}),
    ):
        parts.append(f"## {heading}\n")
        parts += [
            _thing_table(
                f"`{name}`" if thing is registry.table[name] else f"`{name}` on a budget",
                thing,
                meanings | _meanings(thing),
            )
            for name, thing in _variants(registry)
        ]
    return "\n".join(parts)


def _model_table(part: _Part) -> str:
    lines = [f"## {part.heading}\n", "| key | default | meaning |", "| --- | --- | --- |"]
    meanings = _meanings(Training)
    for name, field in part.model.model_fields.items():
        default = "needed" if field.is_required() else _default(field.get_default(call_default_factory=True))
        right = next((each.text for each in field.metadata if isinstance(each, Right)), None)
        meaning = " ".join((field.description or meanings.get(name, "")).split())
        lines.append(
            f"| `{name}` | {default} | {_cell(' '.join(filter(None, [meaning, right and f'Give {right}.'])))} |"
        )
    return "\n".join(lines) + "\n"


def _thing_table(heading: str, thing: Any, meanings: Mapping[str, str]) -> str:
    lines = [f"### {heading}\n", _first_line(thing), ""]
    fields: Mapping[str, Any] = parameters_of(thing, leave_out=("targeted",)).model_fields
    axes = getattr(thing, "AXES", ())
    if rules := getattr(thing, "RULES", ()):
        default_rules = ", ".join(getattr(thing, "DEFAULT_RULES", rules))
        lines += [f"`decision_rules`: {', '.join(rules)}; by default {default_rules}.", ""]
    if fields:
        lines += ["| parameter | default | meaning |", "| --- | --- | --- |"]
    for parameter, field in fields.items():
        default = "needed" if field.is_required() else _default(field.default)
        axis = "*Axis.* " if parameter in axes else ""
        lines.append(f"| `{parameter}` | {default} | {_cell(axis + meanings.get(parameter, ''))} |")
    return "\n".join(lines) + "\n"


def _meanings(thing: Any) -> dict[str, str]:
    """Return what the docstring's section "Parameters" says of each parameter."""
    section = re.search(r"Parameters\n-+\n(.*?)(?=\n\w+\n-+\n|\Z)", inspect.getdoc(thing) or "", re.DOTALL)
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        for name in names if line.startswith(" ") else ():
            meanings[name] = f"{meanings.get(name, '')} {line.strip()}".strip()
    return meanings


def _default(value: object) -> str:
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{_yaml(value)}`"


def _yaml(value: object) -> str:
    constants = {None: "null", True: "true", False: "false"}
    return constants[value] if value is None or isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
