"""Changes of a spec before it is checked: those of one of its scales, and those of a command's ``--set``."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.spec.yaml import parsed, shown


def apply_scale(content: dict[str, Any], scale: str | None) -> None:
    """Take `scales` out of a spec's content, and apply the overrides of one of them.

    Raises
    ------
    UserError
        There is no such scale, or no place for one of its overrides.
    """
    scales = content.pop("scales", {})
    if not isinstance(scales, dict) or not all(isinstance(overrides, dict) for overrides in scales.values()):
        raise UserError(f"scales: must be a mapping such as {{tiny: {{images.count: 10}}}}; got {shown(scales)}")
    if scale in (None, "full"):
        return
    if scale not in scales:
        raise UserError(f"--scale {scale}: the spec has {', '.join(['full', *scales])}")
    for path, value in scales[scale].items():
        put(content, path, value, f"scales.{scale}: the spec has no {path}")


def apply_override(content: dict[str, Any], override: str) -> None:
    """Apply ``a.b=value``, whose value is YAML.

    Raises
    ------
    UserError
        It is no such text, or there is no place for it.
    """
    path, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: must be path=value, such as images.count=10")
    try:
        put(content, path, parsed(value), f"the spec has no {path}")
    except UserError as error:
        raise UserError(f"--set {override}: {error}") from error


def put(content: Any, path: str, value: Any, missing: str) -> None:
    """Write a value at ``a.b`` in `content`; a number in the path picks an item of a list, ``*`` every item.

    Raises
    ------
    UserError
        With the text `missing`: there is no such place.
    """
    part, dot, rest = path.partition(".")
    for place in _places(content, part, missing):
        if not dot:
            content[place] = deepcopy(value)
        else:
            put(content.setdefault(place, {}) if isinstance(content, dict) else content[place], rest, value, missing)


def _places(content: Any, part: str, missing: str) -> Sequence[Any]:
    """The keys or indices that a part of a path names."""
    if isinstance(content, dict):
        return [part]
    if isinstance(content, list):
        if part == "*":
            return range(len(content))
        if part in map(str, range(len(content))):
            return [int(part)]
    raise UserError(missing)
