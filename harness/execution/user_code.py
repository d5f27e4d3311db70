"""The code that is sent to a cluster's workers: this project, and the user's own code that a spec names."""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eadbench.harness.errors import UserError
from eadbench.harness.spec import Spec
from eadbench.models.code import find_in_working_folder

_IMPORT_PATH = re.compile(r"([A-Za-z_]\w*)[\w.]*:[A-Za-z_]\w*")


def code_for(spec: Spec) -> list[str]:
    """Return the paths of the packages and modules to send: those of the user's that are not installed.

    Raises
    ------
    UserError
        The spec names something of the script that runs, which workers cannot import.
    """
    find_in_working_folder()
    paths = {str(Path(__file__).parents[2]): None}
    for name in _modules_in(asdict(spec)):
        if name == "__main__":
            raise UserError("__main__: workers cannot import from the script that runs; put the code into a module")
        if name in sys.stdlib_module_names:
            continue
        module = find_spec(name)
        if module is not None:
            path = next(iter(module.submodule_search_locations or ()), module.origin)
            if path is not None and "site-packages" not in Path(path).parts:
                paths[path] = None
    return list(paths)


def _modules_in(content: Any) -> Iterator[str]:
    """Yield the top-level package of every import path in a spec."""
    if isinstance(content, str) and (path := _IMPORT_PATH.fullmatch(content)):
        yield path[1]
    elif isinstance(content, Mapping):
        for item in (*content, *content.values()):
            yield from _modules_in(item)
    elif isinstance(content, list | tuple):
        for item in content:
            yield from _modules_in(item)
