"""Import paths, `package.module:name`, the names of the user's own code in a spec."""

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

__all__ = ["NO_CODE", "find_in_working_folder", "imported", "is_code", "module_hashes", "refuse_code"]

NO_CODE = "EADBENCH_NO_CODE"
"""The environment variable that refuses all such code unless it is empty. Workers' processes inherit it."""

_HUBS_WITHOUT_CODE = ("timm:", "hf:", "robustbench:", "onnx:")
"""Prefixes of architectures that run code of installed packages alone; `torchhub:` runs a repository's."""
_SEARCHED = 500
"""Folders that are searched for a module that a path may mean."""


def is_code(arch: str) -> bool:
    """Return whether an architecture is code: an import path, or a repository of torch.hub."""
    return ":" in arch and not arch.startswith(_HUBS_WITHOUT_CODE)


def refuse_code(arch: str) -> None:
    """Refuse an architecture that is an import path, or is of torch.hub, if :data:`NO_CODE` is set.

    Raises
    ------
    ValueError
        The architecture is code, which the message quotes in one line.
    """
    if is_code(arch):
        _refuse_import_path(arch)


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
    _refuse_import_path(path)
    find_in_working_folder()
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a module may raise anything while it is imported
        reason = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += _where_modules_are_found(module_name, error.name or "")
        raise ValueError(f"cannot import {module_name!r}: {' '.join(reason.split())}") from error
    thing = getattr(module, name, None)
    if not callable(thing):
        file = getattr(module, "__file__", None)
        raise ValueError(f"module {module_name!r} has no function {name!r}" + (f"; it is {file}" if file else ""))
    return thing  # type: ignore[no-any-return]


def module_hashes(texts: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the file of every module that a text names by an import path, by the module's name.

    Nothing but a package around the module is imported. Files that the module imports do not count, and texts that
    name no module are passed over.
    """
    names = {text.partition(":")[0] for text in texts if is_code(text)}
    files = {name: _module_file(name) for name in sorted(names)}
    return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items() if file is not None}


def _module_file(name: str) -> Path | None:
    """Return the file of a module that can be imported; None if there is no such module, or it has no file."""
    find_in_working_folder()
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # no such package, or a name such as "https"
        return None
    return None if found is None or not found.has_location or found.origin is None else Path(found.origin)


def _refuse_import_path(path: str) -> None:
    if ":" in path and os.environ.get(NO_CODE):
        raise ValueError(f"names code ({path}), which --no-code refuses")


def _where_modules_are_found(module_name: str, missing: str) -> str:
    """Return what to do about a module that is missing: the one at an import path, or one that it imports."""
    if not f"{module_name}.".startswith(f"{missing}."):
        return f", which {module_name} imports; install it"
    known = "; modules are found in the working folder, in PYTHONPATH, and where packages are installed"
    folder = _folder_with(module_name)
    return known if folder is None else f"{known}; {module_name} is in {folder}, so give PYTHONPATH={folder}"


def _folder_with(module_name: str) -> Path | None:
    """Return a folder inside the working folder that has a module; None if the first few hundred do not."""
    module = Path(*module_name.split("."))
    for folder, inner, _ in islice(os.walk("."), _SEARCHED):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__")) and name != "node_modules")
        files = (Path(folder, module).with_suffix(".py"), Path(folder, module, "__init__.py"))
        if any(file.is_file() for file in files):
            return Path(folder)
    return None
