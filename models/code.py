"""Import paths, `package.module:name`, by which a spec names code of its user's."""

import importlib
import os
from collections.abc import Callable
from typing import Any

__all__ = ["NO_CODE", "imported", "refuse_code"]

NO_CODE = "EADBENCH_NO_CODE"
"""The environment variable that, unless empty, refuses all such code; the processes of workers inherit it."""


def refuse_code(name: str) -> None:
    """Refuse an import path where :data:`NO_CODE` is set; any other name is nothing to it.

    Raises
    ------
    ValueError
        In one line, with the import path.
    """
    if ":" in name and os.environ.get(NO_CODE):
        raise ValueError(f"names code ({name}), which --no-code refuses")


def imported(path: str) -> Callable[..., Any]:
    """The function or class at an import path.

    Raises
    ------
    ValueError
        Code is refused, or there is none at that path; in one line.
    """
    refuse_code(path)
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module may fail with anything while it is imported
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"cannot import {module_name!r}: {reason}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"module {module_name!r} has no function {name!r}")
    return found  # type: ignore[no-any-return]
