"""Images that leave the box: a success outside of [0, 1] is none, since no camera or file can hold it."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eadbench.attacks import Adversarial

__all__ = ["Outside", "in_box"]

Outside = Mapping[str | None, Tensor]
"""By decision rule, (N,) bool: whether an attack claims a success with a value outside of [0, 1], or not finite."""


def in_box(
    rules: Mapping[str | None, Adversarial], originals: Tensor
) -> tuple[dict[str | None, Adversarial], dict[str | None, Tensor]]:
    """Return what each rule keeps, with failures for successes outside the box; and which rows these are.

    Our attacks test this themselves; other people's classes may not.
    """
    outside = {
        rule: kept.success & ~((kept.images >= 0) & (kept.images <= 1)).flatten(1).all(1)
        for rule, kept in rules.items()
    }
    return {rule: _failed(kept, outside[rule], originals) for rule, kept in rules.items()}, outside


def _failed(kept: Adversarial, rows: Tensor, originals: Tensor) -> Adversarial:
    """Return examples some rows (N,) of which are failures."""
    if not rows.any():
        return kept
    figures = {
        name: getattr(kept, name).masked_fill(rows, torch.nan)
        for name in ("l0", "l1", "l2", "linf", "margin", "const", "epsilon")
    }
    return replace(
        kept,
        images=torch.where(rows[:, None, None, None], originals, kept.images),
        success=kept.success & ~rows,
        unconfirmed=kept.unconfirmed | rows,
        **figures,
    )
