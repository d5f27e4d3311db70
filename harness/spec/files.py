"""Specs as YAML: read from a file at one of its scales, and written as resolved."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.spec.overrides import apply_override, apply_scale
from eadbench.harness.spec.parameters import validated
from eadbench.harness.spec.resolve import resolved
from eadbench.harness.spec.resolved import Spec, VictimEntry
from eadbench.harness.spec.schema import SpecFile
from eadbench.harness.spec.yaml import dumped, parsed, plain
from eadbench.harness.storage import read_at_most

MOST_BYTES = 2**24
"""Bytes of a spec that are read."""

__all__ = ["dump", "load", "name_of", "parse", "written"]


def load(path: Path, overrides: Sequence[str] = (), *, scale: str | None = None, code: bool = True) -> Spec:
    """Read the spec in the file at `path`, at one of its scales, with overrides.

    Parameters
    ----------
    overrides
        Such as ``images.count=10`` or ``attacks.0.beta=[1e-3]``.
    scale
        A key of the file's mapping `scales`, whose values are overrides of their own:
        ``scales: {tiny: {images.count: 10}}``. Unless given, or "full", the spec as it stands.
    code
        Whether to import the user's own code that it names; see :func:`eadbench.harness.spec.resolve.resolved`.

    Raises
    ------
    UserError
        The file is missing, is no YAML, or describes what cannot be: one line with the field's path.
    """
    try:
        text = read_at_most(path, MOST_BYTES).decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: it is no text: {error}") from error
    try:
        return parse(parsed(text), overrides, scale=scale, code=code)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def name_of(path: Path) -> str | None:
    """Return the name in the spec at `path`, without reading the rest; None if there is none."""
    try:
        content = parsed(read_at_most(path, MOST_BYTES).decode())
    except (FileNotFoundError, UnicodeDecodeError, UserError):
        return None
    name = content.get("name") if isinstance(content, dict) else None
    return name if isinstance(name, str) else None


def parse(content: object, overrides: Sequence[str] = (), *, scale: str | None = None, code: bool = True) -> Spec:
    """Return the spec that a document describes at one of its scales, with overrides.

    Raises
    ------
    UserError
        One line: the field's path, what was given, what would be right.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"must be a mapping with the keys {', '.join(SpecFile.model_fields)}")
    fields: dict[str, Any] = plain(dict(content))
    apply_scale(fields, scale)
    for override in overrides:
        apply_override(fields, override)
    return resolved(validated(SpecFile, plain(fields)), code=code)


def dump(spec: Spec) -> str:
    """Return the resolved spec as YAML; :func:`load` reads an equal spec from it."""
    return dumped(written(spec))


def written(spec: Spec) -> dict[str, Any]:
    """Return the spec as a file has it, of JSON's own types."""
    targets = [each if isinstance(each, str) else each.model_dump(mode="json") for each in spec.targets]
    return {
        "name": spec.name,
        "seed": spec.seed,
        "dataset": spec.dataset.written(),
        "images": _images(spec),
        "targets": targets if len(targets) > 1 else targets[0],
        "evaluated": spec.evaluated,
        "victims": [_victim(victim) for victim in spec.victims],
        "attacks": [attack.written() for attack in spec.attacks],
        "save_images": spec.save_images,
        "shard_size": spec.shard_size,
        "batch_size": spec.batch_size,
        "precision": spec.precision,
        "confirmations": spec.confirmations,
        "resources": spec.resources.model_dump(mode="json"),
    }


def _images(spec: Spec) -> dict[str, Any]:
    """Return the images, without the key of chosen ones if there are none."""
    images: dict[str, Any] = spec.images.model_dump(mode="json")
    return {name: value for name, value in images.items() if name != "indices" or value is not None}


def _victim(victim: VictimEntry) -> dict[str, Any]:
    if victim.ensemble:
        members = [member if isinstance(member, str) else _victim(member) for member in victim.ensemble]
        return {"name": victim.name, "ensemble": members, **_tests(victim)}
    return {
        "name": victim.name,
        "arch": victim.arch,
        "parameters": dict(victim.parameters),
        "defense": victim.defense.written(),
        "training": None if victim.training is None else victim.training.written(),
        "weights": victim.weights,
        **_adaptation(victim),
        **_tests(victim),
    }


def _tests(victim: VictimEntry) -> dict[str, Any]:
    """Return a victim's detectors, whether it is attacked, and on which others its examples are tested."""
    others = victim.evaluated_on if isinstance(victim.evaluated_on, str) else list(victim.evaluated_on)
    detectors = {"detectors": [dict(each) for each in victim.detectors]} if victim.detectors else {}
    return {**detectors, "attacked": victim.attacked, "evaluated_on": others}


def _adaptation(victim: VictimEntry) -> dict[str, Any]:
    """Return how a network is fitted to the data set, without what most networks do not need."""
    fields = {
        "strict": (victim.strict, True),
        "outputs": (victim.outputs, "logits"),
        "normalise": (victim.normalise, None),
        "class_map": (victim.class_map, None),
        "network_classes": (victim.network_classes, None),
    }
    return {name: value for name, (value, default) in fields.items() if value != default}
