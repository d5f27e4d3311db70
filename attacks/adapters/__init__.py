"""Attacks of other libraries, as attacks of a spec: ``foolbox:L1FMNAttack``, ``torchattacks:EADL1``, ``advlib:pdpgd``.

A library is imported when one of its attacks is named, and not before.
"""

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

__all__ = ["LIBRARIES", "library_attack"]

LIBRARIES: Mapping[str, str] = {
    "foolbox": "foolbox",
    "torchattacks": "torchattacks",
    "art": "adversarial-robustness-toolbox",
    "advlib": "adv-lib",
}
"""The packages to install, by the prefixes of their attacks' names. Each has a module of that name here."""


def library_attack(name: str) -> Any:
    """Return the attack called ``library:Attack`` as a class of ours, or None if the library is not one of these.

    Raises
    ------
    ValueError
        The library is not installed, or has no such attack. The message is one line.
    """
    library, _, attack = name.partition(":")
    if library not in LIBRARIES:
        return None
    adapter = import_module(f"{__name__}.{library}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the library imports
            return adapter.adapted(attack)
    except ImportError as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{name} needs {LIBRARIES[library]}, which cannot be imported ({why}); install it") from error
