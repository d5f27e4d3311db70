"""Write texts, and read the JSON files of a results folder."""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from eadbench.harness.errors import DamagedResults
from eadbench.harness.storage import read_at_most
from eadbench.models import replace_file

__all__ = ["stored_json", "write_text"]

MOST_BYTES = 2**28
"""Bytes of a JSON file that are read."""


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, and create its folder."""
    replace_file(path, text.encode())


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the parser of a type. Building one takes longer than reading a file with it."""
    return TypeAdapter(kind)


def stored_json(path: Path, kind: Any, remedy: str = "delete it and run again; finished work is kept") -> Any:
    """Read a JSON file as an object of type `kind`.

    Raises
    ------
    DamagedResults
        The file has other content. The message ends with the remedy.
    """
    try:
        return _adapter(kind).validate_json(read_at_most(path, MOST_BYTES))
    except ValidationError as error:
        problem = error.errors()[0]
        reason = ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
        raise DamagedResults(f"{path}: not as a sweep wrote it ({reason}); {remedy}") from error
