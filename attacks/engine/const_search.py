"""The rule of the search over c, the weight of the attack loss (Carlini & Wagner 2017; Chen et al. 2018, "Experiment
Setup")."""

import torch
from torch import Tensor

UNBOUNDED = 1e10
"""Upper bound of c while no search step has succeeded."""


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
