"""Read YAML as plain data, and check the limits that hold for every field of a spec."""

import re
from typing import Any

import yaml
from yaml.composer import ComposerError

from eadbench.harness.errors import UserError
from eadbench.harness.messages import NUMBER, at, fits, one_line, redact, shown

MAX_VALUES = 100_000
MAX_DEPTH = 12
MAX_LENGTH = 4096
"""Limit of characters of a text; a path cannot be longer."""

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def parsed(text: str) -> Any:
    """Parse a YAML document.

    Raises
    ------
    UserError
        The document is not valid YAML: one line with the reason.
    """
    loader: Any = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        _refuse_repeated_keys(node, set())
        return None if node is None else loader.construct_document(node)
    # PyYAML's constructors raise other errors on values such as !!int x or !!bool maybe.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        if isinstance(error, RecursionError) or "maximum nesting depth" in str(error):
            raise UserError("not valid YAML: it is nested too deeply") from error
        raise UserError(f"not valid YAML: {one_line(error)}") from error
    finally:
        if loader is not None:
            loader.dispose()


def plain(content: object) -> Any:
    """Return a copy of `content` in JSON's types, without shared parts.

    Raises
    ------
    UserError
        One line with the path of a value that a spec cannot hold: a type that JSON lacks, a text too long, a URI with a
        password, or a value nested too deep, such as an anchor within itself.
    """
    count = 0

    def copy(value: object, where: str, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > MAX_VALUES:
            raise UserError(f"{where}: must end here, as a spec has at most {MAX_VALUES:,} values")
        if depth > MAX_DEPTH:
            raise UserError(f"{where}: must not be nested more than {MAX_DEPTH} deep")
        if isinstance(value, dict):
            return {_key(key, where): copy(item, at(where, _key(key, where)), depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [copy(item, at(where, index), depth + 1) for index, item in enumerate(value)]
        _check_value(value, where)
        return value

    return copy(content, "", 0)


def _key(key: object, where: str) -> str:
    """Return a key of the mapping at `where`, after a check."""
    if not isinstance(key, str):
        raise UserError(f"{where or 'keys'}: a key must be text, got {_type_and_value(key)}")
    _check_value(key, at(where, key))
    return key


def _check_value(value: object, where: str) -> None:
    """Refuse a value that is no number, text, truth value or null within the limits."""
    if not fits(value):
        raise UserError(f"{where}: must be {NUMBER}; got {shown(value)}")
    if isinstance(value, str):
        _check_text(value, where)
    elif not (value is None or isinstance(value, bool | int | float)):
        raise UserError(
            f"{where}: must be a number, text, true, false, null, a list or a mapping, got {_type_and_value(value)}"
        )


def _check_text(text: str, where: str) -> None:
    """Refuse a text that is too long, or holds control characters or secrets."""
    if len(text) > MAX_LENGTH:
        raise UserError(f"{where}: must have at most {MAX_LENGTH} characters, got {len(text)}")
    if _CONTROL.search(text):
        raise UserError(f"{where}: must not hold control characters, got {shown(text)}")
    if redact(text) != text:
        raise UserError(
            f"{where}: must not hold a user, a password or a token, which would be stored with the results, "
            f"got {shown(redact(text))}; give them as the settings of the store or server itself"
        )


def _type_and_value(value: object) -> str:
    """Return a value with its type, for messages."""
    return "null" if value is None else f"a {type(value).__name__}: {shown(value)} (text stands in quotes)"


class _Loader(yaml.CSafeLoader):
    """Read plain values as YAML 1.2 does, with libyaml's parser.

    YAML 1.1, which PyYAML follows, takes 1e-3 for a text, `no` for false, 010 for 8, 1:30 for 90, and has dates.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0

    def resolve(self, *arguments: Any) -> Any:
        """Return the tag of a node; stop where the document has more nodes than a spec can have."""
        self._nodes += 1
        if self._nodes > 2 * MAX_VALUES + 1:  # keys are nodes too
            raise UserError(f"a spec has at most {MAX_VALUES:,} values")
        return super().resolve(*arguments)  # type: ignore[no-untyped-call]


class _Dumper(yaml.SafeDumper):
    """Put a text into quotes that the loader, or one of YAML 1.1, would take for something else."""


_Loader.yaml_implicit_resolvers = {}
_FLOAT = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
for _kind, _pattern, _begins in (
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", "<<", "<"),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), list(_begins))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    return int(text, 16 if text.startswith("0x") else 10)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def dumped(content: object) -> str:
    """Return plain data as a YAML document."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _refuse_repeated_keys(node: yaml.Node | None, seen: set[int]) -> None:
    """Refuse a mapping, in a node or below it, that has a key twice. `seen` are the ids of nodes that were checked."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
        return
    seen.add(id(node))
    first: set[str] = set()
    for item in node.value:
        for part in item if isinstance(item, tuple) else (item,):
            _refuse_repeated_keys(part, seen)
        if isinstance(item, tuple) and isinstance(key := item[0], yaml.ScalarNode):
            if key.value in first:
                raise ComposerError(None, None, f"the key {shown(key.value)} is given twice", key.start_mark)
            first.add(key.value)
