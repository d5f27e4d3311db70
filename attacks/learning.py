"""Attacks that learn something of a victim before they attack it, from images of the training split.

Such an attack has fields `images`, how many it learns from, and `seed`; a method `learn(model, images)` that returns
tensors by name; and a method `adding(learnt)` that returns the attack. A sweep calls `learn` once for a victim, and
stores the tensors. Those without a dimension are figures, which reports show.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from eadbench.attacks.budgeted import Budgeted

__all__ = ["learner", "with_learnt"]


def learner(attack: Any) -> Any | None:
    """Return the attack that learns, also if it is on a budget; None if it does not learn."""
    inner = attack.attack if isinstance(attack, Budgeted) else attack
    return inner if hasattr(inner, "learn") else None


def with_learnt(attack: Any, learnt: Mapping[str, Tensor]) -> Any:
    """Return the attack that uses what it has learnt, on its budget if it has one."""
    used = learner(attack).adding(learnt)  # type: ignore[union-attr]
    return replace(attack, attack=used) if isinstance(attack, Budgeted) else used
