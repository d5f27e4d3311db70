"""Class maps: the network's class for each class of a data set that has fewer classes than the network."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.places import refuse_elsewhere
from eadbench.harness.storage import located

__all__ = ["class_map_of"]


def class_map_of(
    given: Sequence[int] | Mapping[str, int] | str, class_names: Sequence[str], where: str
) -> tuple[int, ...]:
    """Return the network's class of each class of a data set.

    Parameters
    ----------
    given
        Classes of the network in the data set's order, a mapping by class name, or the path of a file of either: JSON,
        or text with a line per class, `name number` (a comma may stand between) or a number.
    class_names
        Names of the data set's classes.
    where
        Field of the spec, for messages.

    Raises
    ------
    UserError
        The file cannot be read, or a class of the data set is missing.
    """
    if isinstance(given, str):
        where, given = f"{where}: {given}", _read(given, where)
    if isinstance(given, Mapping):
        missing = [name for name in class_names if name not in given]
        if missing:
            raise UserError(f"{where}: lacks the class {shown(missing[0])}; give each class of the data set a number")
        given = [given[name] for name in class_names]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise UserError(f"{where}: must be a list or a mapping of class numbers, got {shown(given)}")
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in given):
        raise UserError(f"{where}: must give each class a whole number")
    if len(given) != len(class_names):
        raise UserError(f"{where}: has {len(given)} classes, while the data set has {len(class_names)}")
    return tuple(given)


def _read(text: str, where: str) -> Any:
    """Read a class map from a file."""
    refuse_elsewhere(text, where)
    path = located(text).expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {text} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        if path.suffix == ".json":
            return json.loads(content)
        lines = [line.replace(",", " ").rsplit(maxsplit=1) for line in content.splitlines() if line.strip()]
        if all(len(line) == 1 for line in lines):
            return [int(number) for (number,) in lines]
        names = [name for name, _ in lines]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise UserError(f"{where}: {text} has the class {shown(repeated[0])} twice; leave out one")
        return {name: int(number) for name, number in lines}
    except ValueError as error:
        right = "a line for each class, such as 'cat 281', or JSON in a file that ends in .json"
        raise UserError(f"{where}: {text} must have {right} ({error})") from error
