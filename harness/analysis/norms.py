"""The norms that attacks minimise."""

from typing import Any

from eadbench.harness.registry import ATTACKS

__all__ = ["NORMS", "minimised"]

NORMS = ("l0", "l1", "l2", "linf")


def minimised(attack: str, norm: Any, decision_rule: Any) -> tuple[str, ...]:
    """Return the norms that an attack of a sweep minimises; none if that is not known."""
    for name in (norm, decision_rule):
        if isinstance(name, str) and name in NORMS:
            return (name,)
    return tuple(getattr(ATTACKS.table.get(attack), "NORMS", ()))
