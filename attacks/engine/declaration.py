"""Checks of what a class declares, for attacks and defences alike; nothing is run."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any, Final

MISSING: Final = object()
"""What :func:`member` returns if no class defines the member."""


def dataclass_breaches(thing: object) -> list[str]:
    """List why `thing` is no frozen keyword-only dataclass, one line each."""
    if not (isinstance(thing, type) and is_dataclass(thing)):
        return ["must be a dataclass of its parameters"]
    problems = []
    if not thing.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        problems.append("must be frozen: write @dataclass(frozen=True, kw_only=True)")
    if positional := [field.name for field in fields(thing) if field.init and not field.kw_only]:
        problems.append(f"must take keywords only, but not for {', '.join(positional)}: write @dataclass(kw_only=True)")
    return problems


def member(thing: type, name: str) -> Any:
    """The member as the first class of the method resolution order defines it, or MISSING; properties are not run."""
    return next((vars(base)[name] for base in thing.__mro__ if name in vars(base)), MISSING)


def unknown_fields(thing: Any, names: Iterable[str]) -> list[str]:
    """The names that are no fields of a dataclass."""
    known = {field.name for field in fields(thing)}
    return [name for name in names if name not in known]


def wrong_names(thing: type, variable: str, must: str) -> str | None:
    """A line that begins with `must` if a class variable is set, but is not a tuple of texts."""
    value = getattr(thing, variable, ())
    if isinstance(value, tuple) and all(isinstance(name, str) for name in value):
        return None
    return f'{must} as a tuple of texts, such as ("beta",), got {value!r}'
