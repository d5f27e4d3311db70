"""YAML as plain data: what a spec may hold, whatever its fields are."""

import math
import re
import reprlib
from typing import Any

import yaml
from yaml.composer import ComposerError

from eadbench.harness.errors import UserError
from eadbench.harness.tracking_uri import redact

MOST_VALUES = 100_000
DEEPEST = 12
LONGEST = 4096
"""Characters of a text; a path cannot be longer."""
NUMBER = "a finite number, and an integer one of at most 64 bits"

_WORD = re.compile(r"[\w.*-]{1,80}")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class _Repr(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if fits(x) else f"an integer of {x.bit_length()} bits"


_SHORT = _Repr()
_SHORT.maxstring = _SHORT.maxother = 80
_SHORT.maxlevel = 3


def shown(value: object) -> str:
    """A value in a message: its repr, a long one without its middle."""
    return _SHORT.repr(value)


def fits(value: object) -> bool:
    """Whether a value is no number, or one that JSON and 64 bits hold."""
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return not isinstance(value, float) or math.isfinite(value)


def at(where: str, part: str | int) -> str:
    """The path of an item or a key of what is at `where`: ``attacks[0].beta``."""
    if isinstance(part, int):
        return f"{where}[{part}]"
    return f"{where}.{part if _WORD.fullmatch(part) else shown(part)}".removeprefix(".")


def parsed(text: str) -> Any:
    """The content of a YAML document.

    Raises
    ------
    UserError
        In one line, why it is none.
    """
    try:
        return yaml.load(text, _Loader)
    # PyYAML lets through what its constructors fail with on such values as 0x_, 2024-13-01 or !!bool maybe.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise UserError(f"not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError("not valid YAML: it is nested too deeply") from error


def plain(content: object) -> Any:
    """A copy of `content` in which no part is shared with another, made of JSON's own types.

    Raises
    ------
    UserError
        One line with the path of a value that a spec cannot hold: one that JSON has no type for, that is too long or
        too deeply nested (an anchor within itself is, without end), or a URI with a password in it.
    """
    seen = 0

    def copy(value: object, where: str, depth: int) -> Any:
        nonlocal seen
        seen += 1
        if seen > MOST_VALUES:
            raise UserError(f"{where}: must end here, as a spec has at most {MOST_VALUES:,} values")
        if depth > DEEPEST:
            raise UserError(f"{where}: must not be nested more than {DEEPEST} deep")
        if isinstance(value, dict):
            return {_key(key, where): copy(item, at(where, _key(key, where)), depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [copy(item, at(where, index), depth + 1) for index, item in enumerate(value)]
        _check_value(value, where)
        return value

    return copy(content, "", 0)


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise UserError(f"{where or 'keys'}: a key must be text, got {_described(key)}")
    _check_value(key, at(where, key))
    return key


def _check_value(value: object, where: str) -> None:
    if not fits(value):
        raise UserError(f"{where}: must be {NUMBER}; got {shown(value)}")
    if isinstance(value, str):
        _check_text(value, where)
    elif not (value is None or isinstance(value, bool | int | float)):
        raise UserError(
            f"{where}: must be a number, text, true, false, null, a list or a mapping, got {_described(value)}"
        )


def _check_text(text: str, where: str) -> None:
    if len(text) > LONGEST:
        raise UserError(f"{where}: must have at most {LONGEST} characters, got {len(text)}")
    if _CONTROL.search(text):
        raise UserError(f"{where}: must not hold control characters, got {shown(text)}")
    if redact(text) != text:
        raise UserError(
            f"{where}: must not hold a user, a password or a token, which would be stored with the results, "
            f"got {shown(redact(text))}; give them as the settings of the store or server itself"
        )


def _described(value: object) -> str:
    return "null" if value is None else f"a {type(value).__name__}: {shown(value)} (text stands in quotes)"


class _Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice, of which YAML would keep the last."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node: Any = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        first: dict[str, yaml.ScalarNode] = {}
        for key in keys:
            if first.setdefault(key.value, key) is not key:
                raise ComposerError(None, None, f"the key {shown(key.value)} is given twice", key.start_mark)
        return node
