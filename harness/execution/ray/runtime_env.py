"""The code that a cluster's workers are sent: this project, and what a spec names by import path."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import eadbench
from eadbench.harness.spec.schema import Spec

_IMPORT_PATH = re.compile(r"([A-Za-z_]\w*)[\w.]*:[A-Za-z_]\w*")


def code_for(spec: Spec) -> list[str]:
    """The packages and modules to send: those of the user's that are not installed, such as in the working folder."""
    found = {str(Path(eadbench.__file__).parent): None}
    for name in _modules_in(spec.model_dump(mode="json")):
        module = find_spec(name)
        if module is not None:
            place = next(iter(module.submodule_search_locations or ()), module.origin)
            if place is not None and "site-packages" not in Path(place).parts:
                found[place] = None
    return list(found)


def _modules_in(content: Any) -> Iterator[str]:
    """The outermost packages of all import paths in a spec."""
    if isinstance(content, str) and (path := _IMPORT_PATH.fullmatch(content)):
        yield path[1]
    elif isinstance(content, dict):
        for item in (*content, *content.values()):
            yield from _modules_in(item)
    elif isinstance(content, list):
        for item in content:
            yield from _modules_in(item)
