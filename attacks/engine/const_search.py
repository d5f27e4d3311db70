"""The rule of the search over c, the weight of the attack loss (Carlini & Wagner 2017; Chen et al. 2018, "Experiment
Setup")."""

import torch
from torch import Tensor

UNBOUNDED = 1e10
"""Upper bound of c while no search step has succeeded."""


def const_end(lower: Tensor, upper: Tensor, solved: Tensor) -> Tensor:
    """(B,) int8: at which end of what its steps reach a search ended, from its last bounds.

    -1: every step succeeded; 1: none did; 0: neither, or the example was `solved` (B,) without any change.
    """
    none, every = upper >= UNBOUNDED, lower == 0
    return torch.where(none, 1, torch.where(every, -1, 0)).masked_fill(solved, 0).to(torch.int8)


def next_const(const: Tensor, lower: Tensor, upper: Tensor, success: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The c of each row's next search step: ten times the last until one succeeds, then bisection.

    Parameters
    ----------
    const, lower, upper : Tensor
        (B,) the c of the step that ended, and the bounds known before it.
    success : Tensor
        (B,) bool: whether any iterate of that step succeeded.

    Returns
    -------
    tuple of Tensor
        (const, lower, upper), each (B,).
    """
    upper = torch.where(success, torch.minimum(upper, const), upper)
    lower = torch.where(success, lower, torch.maximum(lower, const))
    const = torch.where(upper < UNBOUNDED, (lower + upper) / 2, const * 10)
    return const, lower, upper
