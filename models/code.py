"""Import paths, `package.module:name`, the names of the user's own code in a spec."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["NO_CODE", "find_in_working_folder", "imported", "refuse_code"]

NO_CODE = "EADBENCH_NO_CODE"
"""The environment variable that refuses all such code unless it is empty. Workers' processes inherit it."""


def refuse_code(name: str) -> None:
    """Refuse a name that is an import path, if :data:`NO_CODE` is set.

    Raises
    ------
    ValueError
        The name is an import path, which the message quotes in one line.
    """
    if ":" in name and os.environ.get(NO_CODE):
        raise ValueError(f"names code ({name}), which --no-code refuses")


def find_in_working_folder() -> None:
    """Put the working folder first on the import path, as `python script.py` does, unless code is refused."""
    folder = os.getcwd()
    if not os.environ.get(NO_CODE) and folder not in sys.path:
        sys.path.insert(0, folder)
        importlib.invalidate_caches()


def imported(path: str) -> Callable[..., Any]:
    """Import the function or class at an import path; modules are found in the working folder too.

    Raises
    ------
    ValueError
        Code is refused, or nothing callable is at that path. The message is one line.
    """
    refuse_code(path)
    find_in_working_folder()
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += "; modules are found in the working folder, in PYTHONPATH, and where packages are installed"
        raise ValueError(f"cannot import {module_name!r}: {reason}") from error
    thing = getattr(module, name, None)
    if not callable(thing):
        raise ValueError(f"module {module_name!r} has no function {name!r}")
    return thing  # type: ignore[no-any-return]
