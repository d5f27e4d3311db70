"""Change the content of a spec before it is checked: by a scale, or by a command's ``--set``."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.spec.yaml import parsed


def apply_scale(content: dict[str, Any], scale: str | None) -> None:
    """Remove `scales` from a spec's content, and apply the overrides of one scale.

    Raises
    ------
    UserError
        The scale is unknown, or the spec lacks the path of an override.
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
    """Apply an override ``a.b=value``, with the value as YAML.

    Raises
    ------
    UserError
        The override has another form, or the spec lacks its path.
    """
    path, equals, value = override.partition("=")
    if not equals:
        raise UserError(f"--set {override}: must be path=value, such as images.count=10")
    try:
        put(content, path, parsed(value), f"the spec has no {path}")
    except UserError as error:
        raise UserError(f"--set {override}: {error}") from error


def put(content: Any, path: str, value: Any, missing: str) -> None:
    """Write a value at a path ``a.b`` of `content`. A number selects an item of a list, ``*`` every item.

    Raises
    ------
    UserError
        `content` lacks the path; the message is `missing`.
    """
    part, dot, rest = path.partition(".")
    for key in _keys(content, part, missing):
        if not dot:
            content[key] = deepcopy(value)
        else:
            put(content.setdefault(key, {}) if isinstance(content, dict) else content[key], rest, value, missing)


def _keys(content: Any, part: str, missing: str) -> Sequence[Any]:
    """Return the keys or indices that a part of a path selects."""
    if isinstance(content, dict):
        return [part]
    if isinstance(content, list):
        if part == "*":
            return range(len(content))
        if part in map(str, range(len(content))):
            return [int(part)]
    raise UserError(missing)
