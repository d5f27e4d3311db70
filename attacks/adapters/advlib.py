"""Attacks of adv-lib: ``advlib:pdpgd``.

adv-lib 0.2.8 imports visdom when it is imported, whose build needs setuptools below 81. `eadbench` does not install it.
"""

from typing import ClassVar

from eadbench.attacks.adapters.function import FunctionPeer, function_attack
from eadbench.attacks.adapters.peer import Peer


class AdvlibPeer(FunctionPeer):
    """A function of adv-lib."""

    LIBRARY: ClassVar[str] = "adv-lib"


def adapted(name: str) -> type[Peer]:
    """Return the attack called `name` as a class of ours."""
    from adv_lib import attacks

    function = getattr(attacks, name, None)
    if function is None or isinstance(function, type) or not callable(function):
        raise ValueError(f"adv-lib has no attack {name!r}")
    return function_attack(function, AdvlibPeer)
