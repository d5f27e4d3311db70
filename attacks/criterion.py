"""When an example succeeds, and the attack loss (Chen et al. 2018, equations 3 and 6).

Shapes: B rows, K classes.
"""

import torch
from torch import Tensor


def margin(logits: Tensor, labels: Tensor, *, targeted: bool) -> Tensor:
    """The lead of the target's logit over every other, or of any other logit over the true class's.

    Parameters
    ----------
    logits : Tensor
        (B, K), of any sign.
    labels : Tensor
        (B,) integers: target classes if `targeted`, else true classes.

    Returns
    -------
    Tensor
        (B,): Z_t - max_{j != t} Z_j if `targeted`, else max_{j != t} Z_j - Z_t.
    """
    index = labels.unsqueeze(1)
    own = logits.gather(1, index).squeeze(1)
    others = logits.scatter(1, index, -torch.inf).max(dim=1).values
    return own - others if targeted else others - own


def succeeds(margin: Tensor, kappa: Tensor) -> Tensor:
    """(B,) bool: the margin is at least κ, strictly positive (a tie is no lead) and finite."""
    return (margin >= kappa) & (margin > 0) & margin.isfinite()


def attack_loss(margin: Tensor, kappa: Tensor) -> Tensor:
    """(B,) f = max(-margin, -κ): equation 3 for a targeted margin, equation 6 for an untargeted one."""
    return torch.maximum(-margin, -kappa)
